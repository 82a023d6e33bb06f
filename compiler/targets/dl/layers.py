"""Rules for layers with weights, and for those that look at windows."""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose
from typing import Any

import numpy as np

from compiler.ir.dims import equal, less_equal
from compiler.ir.graph import Node, Value
from compiler.ops.base import Array
from compiler.targets.dl.raiser import Raiser, number, numbers, raises
from compiler.targets.dl.step import Argument, Step, flag, plain

_EPS = {"batch_norm": 1e-5, "layer_norm": 1e-5, "group_norm": 1e-5, "rms_norm": 1e-6}


def _fields(node: Node) -> Any:
    return node.operation


# Dense layers.


@raises("add")
def dense_with_bias(r: Raiser, node: Node) -> bool:
    for product, bias in (node.inputs, node.inputs[::-1]):
        array, inner = r.array(bias), r.inner(product, "matmul")
        if array is not None and inner is not None and array.dtype.kind == "f":
            units = product.type.shape[-1]
            flat = array.reshape(-1)
            if flat.size == units and array.shape[-1:] == (units,) and _dense(r, inner, node, flat, bias):
                return True
    return False


@raises("matmul")
def dense(r: Raiser, node: Node) -> bool:
    return _dense(r, node, None, None, None)


def _dense(r: Raiser, node: Node, last: Node | None, bias: Array | None, source: Value | None) -> bool:
    x, weight = node.inputs
    array = r.array(weight)
    if array is None or array.ndim != 2 or x in r.known or x.type.rank < 2:
        return False
    weights = (("weight", array), *((("bias", bias),) if bias is not None else ()))
    arguments = (plain("units", array.shape[1]), *flag("bias", bias is not None, True))
    place = r.path(weight, *([source] if source is not None else []), node=node)
    return r.add(Step("dense", (x,), (last or node).outputs, arguments, weights, place), node, last)


@raises("gather")
def embed(r: Raiser, node: Node) -> bool:
    table, indices = node.inputs
    array, (rows,) = r.array(table), node.outputs
    if array is None or array.ndim not in (1, 2) or array.dtype != np.float32 or _fields(node).axis:
        return False
    if indices in r.known:
        return False
    indices, place = _without_wrap(r, indices, len(array)), r.path(table, node=node)
    if array.ndim == 1:
        # Rows of one number, without their axis.
        array, rows = array[:, None], r.value(rows.type.with_shape((*rows.type.shape, 1)))
        r.add(Step("squeeze", (rows,), node.outputs, (plain("axis", rows.type.rank - 1),), path=place))
    arguments = (plain("vocabulary", array.shape[0]), plain("dims", array.shape[1]))
    return r.add(Step("embed", (indices,), (rows,), arguments, (("weight", array),), place), node)


def _without_wrap(r: Raiser, indices: Value, size: int) -> Value:
    """The indices before those below 0 were counted from the end, which embeddings do not need."""
    chosen = r.producer(indices, "select")
    if chosen is None:
        return indices
    condition, then, otherwise = chosen.inputs
    added, compared = r.producer(then, "add"), r.producer(condition, "less")
    if added is None or compared is None or added.inputs[0] is not otherwise or compared.inputs[0] is not otherwise:
        return indices
    wraps = r.scalar(added.inputs[1]) == size and r.scalar(compared.inputs[1]) == 0
    return otherwise if wraps else indices


@raises("add")
def position(r: Raiser, node: Node) -> bool:
    """A row of a table for each step, added."""
    for x, rows in (node.inputs, node.inputs[::-1]):
        if x.type.rank != 3 or x in r.known:
            continue
        if _looked_up(r, node, x, rows):
            return True
        cut = r.inner(rows, "slice")
        table = r.array(cut.inputs[0]) if cut is not None else None
        if cut is None or table is None or table.ndim != 2 or less_equal(x.type.shape[1], len(table)) is not True:
            continue
        attributes = _fields(cut)
        whole = tuple(attributes.starts) == (0, 0) and set(attributes.steps) == {1}
        if whole and attributes.stops[1] == table.shape[1] and equal(attributes.stops[0], x.type.shape[1]) is True:
            place = r.path(cut.inputs[0], node=node)
            step = Step("position", (x,), node.outputs, (plain("length", len(table)),), (("weight", table),), place)
            return r.add(step, node, cut)
    return False


def _looked_up(r: Raiser, node: Node, x: Value, rows: Value) -> bool:
    """A table of which the steps' numbers, from 0 on, name the rows."""
    picked = r.inner(rows, "gather")
    while picked is None and (moved := r.inner(rows, "reshape")) is not None:
        rows, picked = moved.inputs[0], r.inner(moved.inputs[0], "gather")
    table = None if picked is None else r.array(picked.inputs[0])
    if picked is None or table is None or table.ndim != 2 or _fields(picked).axis:
        return False
    if less_equal(x.type.shape[1], len(table)) is not True:
        return False
    steps = _without_wrap(r, picked.inputs[1], len(table))
    while (moved := r.producer(steps, "reshape", "slice")) is not None and steps not in r.known:
        if moved.operation.opcode == "slice" and (any(_fields(moved).starts) or set(_fields(moved).steps) != {1}):
            return False
        steps = moved.inputs[0]
    count, known = r.producer(steps, "arange"), r.array(steps)
    from_zero = count is not None or (known is not None and np.array_equal(known.reshape(-1), np.arange(known.size)))
    flat = [dim for dim in picked.inputs[1].type.shape if dim != 1]
    if not from_zero or len(flat) != 1 or equal(flat[0], x.type.shape[1]) is not True:
        return False
    stored, place = (("weight", table),), r.path(picked.inputs[0], node=node)
    return r.add(Step("position", (x,), node.outputs, (plain("length", len(table)),), stored, place), node, picked)


# Convolutions and what else looks at windows.


@raises("conv")
def conv(r: Raiser, node: Node) -> bool:
    x, weight, *bias = node.inputs
    arrays = [r.array(value) for value in (weight, *bias)]
    if any(array is None for array in arrays) or x in r.known:
        return False
    attributes, array = _fields(node), arrays[0]
    assert array is not None
    kernel = array.shape[2:]
    arguments = [plain("channels", array.shape[0]), plain("kernel", numbers(kernel))]
    arguments += _strides("stride", attributes.strides)
    reach = [dilation * (size - 1) for size, dilation in zip(kernel, attributes.dilations, strict=True)]
    arguments += _pads(attributes.before, attributes.after, reach, attributes.strides)
    arguments += _strides("dilation", attributes.dilations)
    kind = "conv"
    if attributes.groups > 1 and attributes.groups == x.type.shape[1]:
        kind, multiplier = "depthwise_conv", array.shape[0] // attributes.groups
        arguments = arguments[1:] + ([Argument("multiplier", str(multiplier))] if multiplier > 1 else [])
    elif attributes.groups > 1:
        arguments.append(Argument("groups", str(attributes.groups)))
    arguments += flag("bias", bool(bias), True)
    weights = tuple(zip(("weight", "bias"), (array for array in arrays if array is not None), strict=False))
    return r.add(Step(kind, (x,), node.outputs, tuple(arguments), weights, r.path(weight, node=node)), node)


@raises("add")
def conv_transpose_with_bias(r: Raiser, node: Node) -> bool:
    for product, bias in (node.inputs, node.inputs[::-1]):
        array, inner = r.array(bias), r.inner(product, "conv_transpose")
        if inner is None or array is None or array.size != product.type.shape[1]:
            continue
        if array.shape[-(product.type.rank - 1)] == array.size:
            return _conv_transpose(r, inner, node, array.reshape(-1))
    return False


@raises("conv_transpose")
def conv_transpose(r: Raiser, node: Node) -> bool:
    return _conv_transpose(r, node, None, None)


def _conv_transpose(r: Raiser, node: Node, last: Node | None, bias: Array | None) -> bool:
    (x, weight, *added), attributes = node.inputs, _fields(node)
    array, own = r.array(weight), [found for value in added if (found := r.array(value)) is not None]
    if array is None or x in r.known or len(own) < len(added) or (own and bias is not None):
        return False
    bias = own[0].reshape(-1) if own else bias
    sizes = zip(x.type.shape[2:], attributes.size, attributes.strides, array.shape[2:], strict=True)
    # What is left over where sizes are not whole multiples is given as it was in PyTorch.
    left = []
    for (inner, outer, stride, kernel), before, after, dilation in zip(
        sizes, attributes.before, attributes.after, attributes.dilations, strict=True
    ):
        rest = outer - (stride * (inner - 1) + dilation * (kernel - 1) + 1 - before - after)
        if not isinstance(rest, int) or rest < 0:
            return False
        left.append(rest)
    arguments = [
        plain("channels", array.shape[1] * attributes.groups),
        plain("kernel", numbers(array.shape[2:])),
        *_strides("stride", attributes.strides),
        *_pads(attributes.before, attributes.after, (), ()),
        *([Argument("output_pad", numbers(left))] if any(left) else []),
        *_strides("dilation", attributes.dilations),
        *([Argument("groups", str(attributes.groups))] if attributes.groups > 1 else []),
        *flag("bias", bias is not None, True),
    ]
    weights = (("weight", array), *((("bias", bias),) if bias is not None else ()))
    place = r.path(weight, node=node)
    return r.add(Step("conv_transpose", (x,), (last or node).outputs, tuple(arguments), weights, place), node, last)


@raises("max_pool", "avg_pool")
def pool(r: Raiser, node: Node) -> bool:
    attributes, kind = _fields(node), node.operation.opcode
    arguments = [plain("size", numbers(attributes.kernel))]
    if tuple(attributes.strides) != tuple(attributes.kernel):
        arguments += [Argument("stride", numbers(attributes.strides))]
    arguments += _pads(attributes.before, attributes.after, (), ())
    if kind == "max_pool":
        arguments += _strides("dilation", attributes.dilations)
    elif any((*attributes.before, *attributes.after)):
        arguments += flag("count_pad", attributes.count_padding, True)
    return r.add(Step(kind, node.inputs, node.outputs, tuple(arguments), path=r.path(node=node)), node)


def _strides(name: str, numbers_of: Sequence[int]) -> list[Argument]:
    return [Argument(name, numbers(numbers_of))] if set(numbers_of) != {1} else []


def _pads(before: Sequence[int], after: Sequence[int], reach: Sequence[int], strides: Sequence[int]) -> list[Argument]:
    """Padding in the fewest words; ``reach`` is how far a window reaches, where ``same`` may stand for it."""
    if not any((*before, *after)):
        return []
    pairs = list(zip(before, after, strict=True))
    if reach and set(strides) == {1} and pairs == [(total // 2, total - total // 2) for total in reach]:
        return [Argument("pad", "same")]
    if tuple(before) == tuple(after):
        return [Argument("pad", numbers(before))]
    return [Argument("pad", f"({', '.join(f'({a}, {b})' for a, b in pairs)}{',' * (len(pairs) == 1)})")]


# Norms.


@raises("add")
def scaled_batch_norm(r: Raiser, node: Node) -> bool:
    """A norm without a scale of its own, and one for each channel behind it."""
    for product, shift in (node.inputs, node.inputs[::-1]):
        factor = r.inner(product, "mul")
        if factor is None:
            continue
        for normed, scale in (factor.inputs, factor.inputs[::-1]):
            inner = r.inner(normed, "running_norm")
            weight, bias = _of_channels(r, scale, normed), _of_channels(r, shift, normed)
            if inner is None or weight is None or bias is None:
                continue
            known = [array for value in inner.inputs[1:] if (array := r.array(value)) is not None]
            if len(known) < len(inner.inputs) - 1:
                continue
            mean, variance, *affine = known
            if affine:
                weight, bias = weight * affine[0], weight * affine[1] + bias
            stored = (("weight", weight), ("bias", bias), ("running_mean", mean), ("running_var", variance))
            step = Step("batch_norm", inner.inputs[:1], node.outputs, _eps("batch_norm", inner), stored, r.path(scale))
            return r.add(step, node, factor, inner)
    return False


def _of_channels(r: Raiser, value: Value, x: Value) -> Array | None:
    """What is known to be one number for each channel of x, as a vector."""
    if x.type.rank < 2:
        return None
    array, channels = r.array(value), x.type.shape[1]
    wide = (channels, *(1,) * (x.type.rank - 2))
    if array is None or array.size != channels or array.shape[-len(wide) :] != wide:
        return None
    return array.reshape(-1)


@raises("running_norm")
def batch_norm(r: Raiser, node: Node) -> bool:
    x, mean, variance, *affine = node.inputs
    arrays = [r.array(value) for value in (*affine, mean, variance)]
    found = [array for array in arrays if array is not None]
    if len(found) < len(arrays):
        return False
    names = (*(("weight", "bias") if affine else ()), "running_mean", "running_var")
    arguments = (*_eps("batch_norm", node), *flag("affine", bool(affine), True))
    place = r.path(*affine, mean, node=node)
    return r.add(Step("batch_norm", (x,), node.outputs, arguments, tuple(zip(names, found, strict=True)), place), node)


@raises("layer_norm", "rms_norm", "group_norm")
def row_norm(r: Raiser, node: Node) -> bool:
    (x, *affine), kind = node.inputs, node.operation.opcode
    found = [array for value in affine if (array := r.array(value)) is not None]
    if len(found) < len(affine):
        return False
    arguments: list[Argument] = []
    if kind == "group_norm":
        arguments.append(plain("groups", _fields(node).groups))
    elif _fields(node).axis != x.type.rank - 1:
        arguments += [plain(f"axis{axis}", axis) for axis in range(_fields(node).axis, x.type.rank)]
    arguments += [*_eps(kind, node), *flag("affine", bool(affine), True)]
    if kind == "layer_norm" and len(affine) == 1:
        arguments += flag("bias", False, True)
    weights = tuple(zip(("weight", "bias"), found, strict=False))
    return r.add(Step(kind, (x,), node.outputs, tuple(arguments), weights, r.path(*affine, node=node)), node)


def _eps(kind: str, node: Node) -> tuple[Argument, ...]:
    """Epsilon, unless it is that of the layer by default, which f32 does not have exactly."""
    found = float(_fields(node).epsilon)
    if isclose(found, _EPS[kind], rel_tol=1e-5):
        return ()
    return (Argument("eps", number(np.array(found, np.float32))),)


@raises("prelu")
def prelu(r: Raiser, node: Node) -> bool:
    x, slope = node.inputs
    array = r.array(slope)
    if array is None or (array.size > 1 and array.size != x.type.shape[1]):
        return False
    if array.size > 1 and array.shape[-(x.type.rank - 1)] != array.size:
        return False
    weights = (("weight", array.reshape(-1)),)
    arguments = flag("per_channel", array.size > 1, False)
    return r.add(Step("prelu", (x,), node.outputs, arguments, weights, r.path(slope, node=node)), node)
