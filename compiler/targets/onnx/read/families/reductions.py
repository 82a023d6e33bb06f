"""Reductions over axes, sums along one, and the places of extremes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from compiler.ir.dims import Dim
from compiler.ir.graph import Value
from compiler.ir.types import DType
from compiler.ops.cumsum import CumSum
from compiler.ops.emit import Emit
from compiler.targets.onnx.read.node import Node, normal, reads
from compiler.targets.onnx.read.tensors import Unsupported

_Reduction = Callable[[Emit, Value, Sequence[int], bool], Value]


def _log_sum_exp(b: Emit, x: Value, axes: Sequence[int], keep: bool) -> Value:
    """``max + log(sum(exp(x - max)))``; where the largest is infinite it is the result itself."""
    top = b.max(x, axes, True)
    safe = b.select(b.equal(b.abs(top), float("inf")), 0, top)
    found = b.add(b.log(b.sum(b.exp(b.sub(x, safe)), axes, True)), safe)
    return found if keep else b.reshape(found, b.sum(x, axes).type.shape)


def _average(b: Emit, x: Value, axes: Sequence[int], keep: bool) -> Value:
    if x.type.dtype.is_float:
        return b.mean(x, axes, keep)
    raise Unsupported(f"it is the mean of whole numbers of type {x.type.dtype}")


def _extreme(largest: bool) -> _Reduction:
    def reduce(b: Emit, x: Value, axes: Sequence[int], keep: bool) -> Value:
        if any(x.type.shape[axis] == 0 for axis in axes):
            return _of_nothing(b, x, axes, keep, largest)
        if x.type.dtype is DType.BOOL:
            return b.cast(reduce(b, b.cast(x, DType.I32), axes, keep), DType.BOOL)
        return b.max(x, axes, keep) if largest else b.min(x, axes, keep)

    return reduce


def _of_nothing(b: Emit, x: Value, axes: Sequence[int], keep: bool, largest: bool) -> Value:
    dtype = x.type.dtype
    if dtype is DType.BOOL:
        least: float = not largest
    elif dtype.is_float:
        least = -np.inf if largest else np.inf
    else:
        limits = np.iinfo(dtype.numpy)
        least = limits.min if largest else limits.max
    kept: list[Dim] = []
    for axis, size in enumerate(x.type.shape):
        if axis not in axes:
            kept.append(size)
        elif keep:
            kept.append(1)
    return b.expand(b.scalar(least, dtype), kept)


def _product(b: Emit, x: Value, axes: Sequence[int], keep: bool) -> Value:
    """The product one element after the other, as there is no reduction for it."""
    found, count = x, 1
    for axis in axes:
        size = found.type.shape[axis]
        if not isinstance(size, int) or count * size > 64:
            raise Unsupported("a product over more than 64 elements, or over an unknown number of them")
        if size == 0:
            found = b.expand(b.scalar(1, x.type.dtype), [1 if k == axis else d for k, d in enumerate(found.type.shape)])
            continue
        count *= size
        parts = b.split(found, [1] * size, axis) if size > 1 else (found,)
        found = parts[0]
        for part in parts[1:]:
            found = b.mul(found, part)
    kept = [dim for place, dim in enumerate(found.type.shape) if keep or place not in axes]
    return b.reshape(found, kept)


_KINDS: dict[str, _Reduction] = {
    "ReduceL1": lambda b, x, axes, keep: b.sum(b.abs(x), axes, keep),
    "ReduceL2": lambda b, x, axes, keep: b.sqrt(b.sum(b.square(x), axes, keep)),
    "ReduceLogSum": lambda b, x, axes, keep: b.log(b.sum(x, axes, keep)),
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _extreme(True),
    "ReduceMean": _average,
    "ReduceMin": _extreme(False),
    "ReduceProd": _product,
    "ReduceSum": lambda b, x, axes, keep: b.sum(x, axes, keep),
    "ReduceSumSquare": lambda b, x, axes, keep: b.sum(b.square(x), axes, keep),
}


@reads(*_KINDS)
def reduction(n: Node) -> Value:
    """The axes are an operand since opset 18, of ReduceSum since 13; without any, all or none are reduced."""
    x = n.value(0)
    axes = n.axes(1, 13 if n.kind == "ReduceSum" else 18)
    if not axes:
        axes = [] if n.attribute("noop_with_empty_axes", 0) else list(range(x.type.rank))
    chosen = [normal(axis, x.type.rank) for axis in axes]
    return _KINDS[n.kind](n.b, x, chosen, bool(n.attribute("keepdims", 1)))


@reads("ArgMax", "ArgMin")
def extreme_place(n: Node) -> Value:
    x = n.value(0)
    axis = normal(n.attribute("axis", 0), x.type.rank)
    if n.kind == "ArgMin":
        if x.type.dtype not in (DType.F16, DType.F32, DType.F64):
            raise Unsupported(f"it is the place of the smallest of whole numbers of type {x.type.dtype}")
        x = n.b.neg(x)
    if n.attribute("select_last_index", 0):
        size = x.type.shape[axis]
        found = n.b.sub(n.b.size(size - 1), n.b.argmax(_reversed(n.b, x, axis), axis))
    else:
        found = n.b.argmax(x, axis)
    kept = [1 if place == axis else dim for place, dim in enumerate(x.type.shape)]
    return n.b.reshape(found, kept) if n.attribute("keepdims", 1) else found


def _reversed(b: Emit, x: Value, axis: int) -> Value:
    size = x.type.shape[axis]
    places = b.sub(b.size(size - 1), b.arange(size))
    return b.gather(x, places, axis)


@reads("CumSum")
def cumsum(n: Node) -> Value:
    x = n.value(0)
    axis = normal(int(n.number(1, "axis")), x.type.rank)
    backwards = bool(n.attribute("reverse", 0))
    if n.attribute("exclusive", 0):
        rank, size = x.type.rank, x.type.shape[axis]
        one = [int(place == axis) for place in range(rank)]
        none = [0] * rank
        starts: list[Dim] = [0] * rank
        stops: list[Dim] = list(x.type.shape)
        if backwards:
            starts[axis], stops[axis] = 1, size + 1
        x = n.b.pad(x, none, one) if backwards else n.b.pad(x, one, none)
        x = n.b.slice(x, starts, stops)
    return n.b.add(CumSum(axis, backwards), x)
