"""Arithmetic on sizes that depend on symbols: how the shapes that exporters work out become shapes again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from compiler.ir.dims import Dim, Poly, equal, less_equal, product
from compiler.ir.types import DType
from compiler.ops.base import Array
from compiler.targets.onnx.read.node import Node, normal
from compiler.targets.onnx.read.tensors import Unsupported


def fold_sizes(node: Node) -> Array | list[Array] | None:
    """The results of a node on sizes; None where it is not among those that are worked out here."""
    rule = _RULES.get(node.kind)
    try:
        return None if rule is None else rule(node)
    except _Undecided:
        return None


def _objects(node: Node, index: int) -> Array:
    array = node.content(index, "sizes")
    if array.dtype == object:
        return array
    made = np.empty(array.shape, object)
    made[...] = array.astype(object)
    return made


def _elementwise(function: Callable[[Dim, Dim], object]) -> Callable[[Node], Array]:
    def fold(node: Node) -> Array:
        found = _objects(node, 0)
        for index in range(1, node.count):
            pairs = np.broadcast(found, _objects(node, index))
            made = np.empty(pairs.shape, object)
            for place, (a, b) in zip(np.ndindex(pairs.shape), pairs, strict=True):
                made[place] = function(a, b)
            found = made
        return found

    return fold


class _Undecided(Exception):
    """How two sizes compare depends on those of the inputs: it is worked out while the network runs."""


def _truths(function: Callable[[Dim, Dim], bool | None]) -> Callable[[Node], Array]:
    def decide(a: Dim, b: Dim) -> bool:
        found = function(a, b)
        if found is None:
            raise _Undecided
        return found

    fold = _elementwise(decide)
    return lambda node: fold(node).astype(bool)


def _divide(a: Dim, b: Dim) -> Dim:
    if less_equal(0, a) and less_equal(1, b):
        return a // b
    if isinstance(a, int) and isinstance(b, int) and b:
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    raise Unsupported(f"{a} divided by {b} is not rounded in a way that is known")


def _chosen(better: Callable[[Dim, Dim], bool | None]) -> Callable[[Dim, Dim], Dim]:
    def choose(a: Dim, b: Dim) -> Dim:
        first = better(a, b)
        if first is None:
            raise Unsupported(f"which of {a} and {b} is larger depends on the sizes of the inputs")
        return a if first else b

    return choose


def _same(node: Node) -> Array:
    return _objects(node, 0)


def _cast(node: Node) -> Array | None:
    if node.dtype("to", node.type(0).dtype) is not DType.I64:
        return None
    return _objects(node, 0)


def _shape(node: Node) -> Array:
    dims = node.type(0).shape
    rank = len(dims)
    start, end = node.attribute("start", 0), node.attribute("end", rank)
    return _array(dims[slice(*slice(start, end).indices(rank))])


def _array(dims: Sequence[Dim]) -> Array:
    made = np.empty(len(dims), object)
    made[:] = list(dims)
    return made


def _gather(node: Node) -> Array:
    indices = node.known(1, "indices")
    return np.asarray(np.take(_objects(node, 0), indices, node.attribute("axis", 0)), object)


def _unsqueeze(node: Node) -> Array:
    return np.expand_dims(_objects(node, 0), tuple(node.axes(1, 13) or ()))


def _squeeze(node: Node) -> Array:
    axes = node.axes(1, 13)
    return np.asarray(np.squeeze(_objects(node, 0), None if axes is None else tuple(axes)), object)


def _concat(node: Node) -> Array:
    return np.concatenate([_objects(node, index) for index in range(node.count)], node.attribute("axis", 0))


def _slice(node: Node) -> Array | None:
    """None where it is cut at a size: that is left to the program."""
    array = _objects(node, 0)
    if node.opset < 10:
        starts, ends, steps = node.attribute("starts"), node.attribute("ends"), None
        axes = node.attribute("axes")
    elif any(isinstance(dim, Poly) for index in (1, 2) for dim in node.dims(index, "bounds")):
        return None
    else:
        starts, ends = node.integers(1, "starts"), node.integers(2, "ends")
        axes = node.integers(3, "axes") if node.has(3) else None
        steps = node.integers(4, "steps") if node.has(4) else None
    chosen = [slice(None)] * array.ndim
    for place, axis in enumerate(axes if axes is not None else range(len(starts))):
        step = steps[place] if steps else 1
        end: int | None = ends[place]
        if step < 0 and ends[place] <= -(2**31):
            end = None
        chosen[normal(axis, array.ndim)] = slice(starts[place], end, step)
    return array[tuple(chosen)]


def _reshape(node: Node) -> Array:
    return _objects(node, 0).reshape(node.integers(1, "shape"))


def _reduce_product(node: Node) -> Array:
    found = np.empty((), object)
    found[()] = product(_objects(node, 0).reshape(-1))
    return found if not node.attribute("keepdims", 1) else found.reshape(1)


def _size(node: Node) -> Array:
    found = np.empty((), object)
    found[()] = node.type(0).size
    return found


def _where(node: Node) -> Array:
    condition = node.known(0, "condition")
    return np.where(condition, _objects(node, 1), _objects(node, 2))


def _split(node: Node) -> list[Array]:
    array = _objects(node, 0)
    sizes = node.integers(1, "sizes") if node.has(1) else [len(array) // node.results] * node.results
    return np.split(array, list(np.cumsum(sizes[:-1])), node.attribute("axis", 0))


_RULES: dict[str, Callable[[Node], Array | list[Array] | None]] = {
    "Add": _elementwise(lambda a, b: a + b),
    "Cast": _cast,
    "Concat": _concat,
    "Div": _elementwise(_divide),
    "Equal": _truths(equal),
    "Gather": _gather,
    "Greater": _truths(lambda a, b: less_equal(b + 1, a)),
    "GreaterOrEqual": _truths(lambda a, b: less_equal(b, a)),
    "Identity": _same,
    "Less": _truths(lambda a, b: less_equal(a + 1, b)),
    "LessOrEqual": _truths(less_equal),
    "Max": _elementwise(_chosen(lambda a, b: less_equal(b, a))),
    "Min": _elementwise(_chosen(less_equal)),
    "Mul": _elementwise(lambda a, b: a * b),
    "ReduceProd": _reduce_product,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _elementwise(lambda a, b: a - b),
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
