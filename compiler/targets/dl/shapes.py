"""Rules for what moves elements about: shapes, parts, places along axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compiler.ir.dims import Dim, equal
from compiler.ir.graph import Node
from compiler.targets.dl.functions import add_call, operand, store
from compiler.targets.dl.raiser import Raiser, number, numbers, raises
from compiler.targets.dl.step import Argument, Step, plain


def _fields(node: Node) -> Any:
    return node.operation


def equal_all(one: Sequence[Dim], other: Sequence[Dim]) -> bool:
    return len(one) == len(other) and all(equal(a, b) is True for a, b in zip(one, other, strict=True))


@raises("slice")
def part(r: Raiser, node: Node) -> bool:
    attributes, sizes = _fields(node), node.inputs[0].type.shape
    items = []
    for start, stop, step, size in zip(attributes.starts, attributes.stops, attributes.steps, sizes, strict=True):
        if isinstance(step, int) and step < 1:
            return False
        first = "" if start == 0 else r.dim(start)
        last = "" if equal(stop, size) is True else r.dim(stop)
        items.append(f"{first}:{last}{f':{step}' if step != 1 else ''}")
    while items and items[-1] == ":":
        items.pop()
    arguments = [plain("item", item) for item in items or [":"]]
    return add_call(r, node, "[]", arguments, "index")


@raises("reshape")
def taken_step(r: Raiser, node: Node) -> bool:
    """One place along an axis, which is a slice of one that loses the axis."""
    cut = r.inner(node.inputs[0], "slice")
    if cut is None or cut.inputs[0] in r.known:
        return False
    before, after, attributes = node.inputs[0].type.shape, node.outputs[0].type.shape, _fields(cut)
    dropped = [axis for axis in range(len(before)) if equal_all((*before[:axis], *before[axis + 1 :]), after)]
    axis = next((axis for axis in dropped if before[axis] == 1 and cut.inputs[0].type.shape[axis] != 1), None)
    if axis is None:
        return False
    sizes = cut.inputs[0].type.shape
    items = []
    for place, (start, stop, step, size) in enumerate(
        zip(attributes.starts, attributes.stops, attributes.steps, sizes, strict=True)
    ):
        if place == axis:
            items.append("-1" if equal(start, size - 1) is True else r.dim(start))
        elif (start, step) == (0, 1) and equal(stop, size) is True:
            items.append(":")
        else:
            return False
    while items[-1] == ":":
        items.pop()
    arguments = tuple(plain("item", item) for item in items)
    return r.add(Step("[]", cut.inputs, node.outputs, arguments, (), r.path(node=node), "index"), node, cut)


@raises("expand")
def expand_number(r: Raiser, node: Node) -> bool:
    """A number in every place, which begins as a tensor of one element."""
    array = r.array(node.inputs[0])
    if array is None or array.size != 1:
        return False
    path, sizes = r.path(node=node), tuple(plain("size", r.dim(dim)) for dim in _fields(node).shape)
    one = r.value(node.output.type.with_shape((1,)))
    r.add(Step("expand", (one,), node.outputs, sizes, path=path), node)
    if array.dtype == np.int64 and not array.any():
        return r.add(Step("arange", (), (one,), (plain("length", 1),), path=path))
    return store(r, one, array.reshape(1), path)


@raises("transpose")
def transpose(r: Raiser, node: Node) -> bool:
    axes, rank = tuple(_fields(node).permutation), node.inputs[0].type.rank
    swapped = axes == (*range(rank - 2), rank - 1, rank - 2)
    return add_call(r, node, "transpose", [] if swapped else [plain("axis", axis) for axis in axes])


@raises("concat")
def concat(r: Raiser, node: Node) -> bool:
    axis = _fields(node).axis
    return add_call(r, node, "concat", [] if axis == 1 else [Argument("axis", str(axis))])


@raises("split")
def split(r: Raiser, node: Node) -> bool:
    """Parts along an axis, each as a slice."""
    (x,), attributes, start = node.inputs, _fields(node), 0
    if x in r.known:
        return False
    starts = []
    for size in attributes.sizes:
        starts.append((start, start + size))
        start = start + size
    for (first, last), result in reversed(list(zip(starts, node.outputs, strict=True))):
        if not r.graph.users[result] and result not in r.graph.output_values:
            continue
        text = f"{'' if first == 0 else r.dim(first)}:{'' if last == start else r.dim(last)}"
        items = [plain("item", ":")] * attributes.axis + [plain("item", text)]
        r.add(Step("[]", (x,), (result,), tuple(items), (), r.path(node=node), "index"), node)
    return True


@raises("pad")
def pad(r: Raiser, node: Node) -> bool:
    attributes, amount = _fields(node), _amount(node)
    if amount is None:
        return False
    arguments = [amount]
    if attributes.value:
        arguments.append(Argument("value", number(np.array(attributes.value, np.float32))))
    return add_call(r, node, "pad", arguments)


@raises("extend")
def extend(r: Raiser, node: Node) -> bool:
    amount = _amount(node)
    return amount is not None and add_call(r, node, "pad", [amount, Argument("mode", _fields(node).mode)])


def _amount(node: Node) -> Argument | None:
    """What is added around the axes behind samples and channels; None where these get some too, or are all."""
    attributes = _fields(node)
    edges = list(zip(attributes.before, attributes.after, strict=True))
    return None if any(map(any, edges[:2])) or not edges[2:] else plain("amount", _edges(edges[2:]))


def _edges(edges: Sequence[tuple[int, int]]) -> str:
    if all(a == b for a, b in edges):
        return numbers(a for a, _ in edges)
    return f"({', '.join(f'({a}, {b})' for a, b in edges)}{',' * (len(edges) == 1)})"


@raises("resize")
def resize(r: Raiser, node: Node) -> bool:
    attributes, before = _fields(node), node.inputs[0].type.shape[2:]
    mode = [] if attributes.mode == "nearest" else [Argument("mode", "linear")]
    mode += [Argument("align_corners", "true")] if attributes.mode == "corners" else []
    factors = {_times(old, new) for old, new in zip(before, attributes.size, strict=True)}
    if len(factors) == 1 and None not in factors:
        (factor,) = factors
        return add_call(r, node, "upsample", [*([] if factor == 2 else [plain("factor", factor)]), *mode])
    sizes = [r.dim(size) for size in attributes.size]
    text = sizes[0] if len(set(sizes)) == 1 else f"({', '.join(sizes)})"
    return add_call(r, node, "resize", [plain("size", text), *mode])


def _times(old: Dim, new: Dim) -> int | None:
    return next((factor for factor in range(1, 9) if equal(old * factor, new) is True), None)


@raises("reshape")
def global_pool_flat(r: Raiser, node: Node) -> bool:
    """A mean over all places that keeps their axes, and a reshape that drops them."""
    inner = r.inner(node.inputs[0], "mean")
    if inner is None or inner.inputs[0].type.rank < 3 or inner.inputs[0] in r.known:
        return False
    x, attributes = inner.inputs[0], _fields(inner)
    flat = attributes.keepdims and tuple(attributes.axes) == tuple(range(2, x.type.rank))
    if not flat or not equal_all(node.outputs[0].type.shape, x.type.shape[:2]):
        return False
    return r.add(Step("global_avg_pool", (x,), node.outputs, path=r.path(node=node)), node, inner)


@raises("reshape")
def reshape(r: Raiser, node: Node) -> bool:
    (x,), shape = node.inputs, node.outputs[0].type.shape
    before = x.type.shape
    keeps = bool(before and shape) and equal(before[0], shape[0]) is True
    sizes = tuple(plain("size", r.dim(dim)) for dim in shape[1:])
    path = r.path(node=node)
    if keeps and len(shape) == 2 and len(before) > 2:
        return add_call(r, node, "flatten")
    for axis in range(len(shape)):
        if shape[axis] == 1 and equal_all((*shape[:axis], *shape[axis + 1 :]), before):
            return add_call(r, node, "unsqueeze", [plain("axis", axis)])
    for axis in range(len(before)):
        if before[axis] == 1 and equal_all((*before[:axis], *before[axis + 1 :]), shape):
            return add_call(r, node, "squeeze", [plain("axis", axis)])
    if keeps:
        return add_call(r, node, "reshape", sizes)
    if len(shape) == 1 and len(before) > 1:
        return add_call(r, node, "flatten", [plain("start", 0)])
    # A batch of one, which is what reshape leaves alone.
    one, other = r.value(x.type.with_shape((1, *before))), r.value(x.type.with_shape((1, *shape)))
    r.add(Step("squeeze", (other,), node.outputs, (plain("axis", 0),), path=path), node)
    if shape:
        r.add(Step("reshape", (one,), (other,), tuple(plain("size", r.dim(dim)) for dim in shape), path=path))
    else:
        r.add(Step("reshape", (one,), (other,), (), path=path))
    place = len(r.steps)
    r.add(Step("unsqueeze", (), (one,), (plain("axis", 0),), path=path))
    r.steps[place] = Step("unsqueeze", (operand(r, x),), (one,), (plain("axis", 0),), path=path)
    r.needed.update(r.steps[place].values)
    return True
