"""Picking and placing elements by index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from compiler.ir.dims import Dim, equal, product
from compiler.ir.graph import Value
from compiler.ir.types import DType
from compiler.ops.emit import Emit
from compiler.targets.onnx.read.node import Node, normal, reads
from compiler.targets.onnx.read.tensors import Unsupported


def _indices(n: Node, index: int, size: Dim) -> Value:
    """Indices counted from 0; those that are not known may count from the end."""
    if n.is_known(index):
        array = n.known(index, "indices")
        if isinstance(size, int) or not (array < 0).any():
            found = np.where(array < 0, array + (size if isinstance(size, int) else 0), array).astype(array.dtype)
            if isinstance(size, int) and ((found < 0) | (found >= size)).any():
                raise Unsupported(f"an index is out of range: there are {size} elements")
            return n.b.constant(found)
    return _from_start(n.b, n.value(index), size)


def _from_start(b: Emit, indices: Value, size: Dim) -> Value:
    return b.select(b.less(indices, 0), b.add(indices, b.size(size, indices.type.dtype)), indices)


@reads("Gather")
def gather(n: Node) -> Value:
    x = n.value(0)
    axis = normal(n.attribute("axis", 0), x.type.rank)
    return n.b.gather(x, _indices(n, 1, x.type.shape[axis]), axis)


@reads("GatherElements")
def gather_elements(n: Node) -> Value:
    """Along the other axes the operand may be longer than the indices."""
    x = n.value(0)
    axis = normal(n.attribute("axis", 0), x.type.rank)
    indices = _indices(n, 1, x.type.shape[axis])
    stops = [size if place == axis else indices.type.shape[place] for place, size in enumerate(x.type.shape)]
    return n.b.take_along(n.b.slice(x, [0] * x.type.rank, stops), indices, axis)


def _flat_places(b: Emit, indices: Value, sizes: Sequence[Dim], batch: Dim) -> Value:
    """The places of index vectors [batch, M, k] in the row-major order of [batch, *sizes]: [batch * M]."""
    count = indices.type.shape[1]
    split = b.split(indices, [1] * len(sizes), 2) if len(sizes) > 1 else (indices,)
    found: Value | None = None
    for part, size in zip(split, sizes, strict=True):
        part = _from_start(b, b.cast(part, DType.I64), size)
        found = part if found is None else b.add(b.mul(found, b.size(size)), part)
    assert found is not None
    if batch != 1:
        first = b.reshape(b.mul(b.arange(batch), b.size(product(sizes))), (batch, 1, 1))
        found = b.add(found, first)
    return b.reshape(found, (batch * count,))


@reads("GatherND")
def gather_nd(n: Node) -> Value:
    x, indices = n.value(0), n.value(1)
    outer = n.attribute("batch_dims", 0)
    parts = indices.type.shape[-1]
    if not isinstance(parts, int):
        raise Unsupported("the length of its index vectors is not known")
    sizes, rest = x.type.shape[outer : outer + parts], x.type.shape[outer + parts :]
    batch = product(x.type.shape[:outer])
    kept = indices.type.shape[outer:-1]
    places = _flat_places(n.b, n.b.reshape(indices, (batch, product(kept), parts)), sizes, batch)
    rows = n.b.reshape(x, (batch * product(sizes), *rest))
    return n.b.reshape(n.b.gather(rows, places, 0), (*x.type.shape[:outer], *kept, *rest))


@reads("ScatterElements", "Scatter")
def scatter_elements(n: Node) -> Value:
    x, updates = n.value(0), n.value(2)
    axis = normal(n.attribute("axis", 0), x.type.rank)
    indices = _indices(n, 1, x.type.shape[axis])
    # What is padded adds nothing to the elements at index 0.
    none = [0] * x.type.rank
    more = [
        0 if place == axis else a - z for place, (a, z) in enumerate(zip(x.type.shape, updates.type.shape, strict=True))
    ]
    ones = n.b.expand(n.b.scalar(1, DType.F32), updates.type.shape)
    indices, updates, ones = (n.b.pad(value, none, more) for value in (indices, updates, ones))
    added = n.b.scatter_along(x.type.shape, indices, updates, axis)
    return _placed(n, x, added, lambda: n.b.scatter_along(x.type.shape, indices, ones, axis))


def _placed(n: Node, x: Value, added: Value, hits: Callable[[], Value]) -> Value:
    """``x`` with what was scattered, in place of its elements or added to them."""
    how = n.attribute("reduction", "none")
    if how == "add":
        return n.b.add(x, added)
    if how != "none":
        raise Unsupported(f"it puts elements together by {how}")
    return n.b.select(n.b.greater(hits(), 0), added, x)


@reads("ScatterND")
def scatter_nd(n: Node) -> Value:
    x, indices, updates = n.value(0), n.value(1), n.value(2)
    parts = indices.type.shape[-1]
    if not isinstance(parts, int) or not parts:
        raise Unsupported("the length of its index vectors is not known")
    sizes, rest = x.type.shape[:parts], x.type.shape[parts:]
    count = product(indices.type.shape[:-1])
    places = _flat_places(n.b, n.b.reshape(indices, (1, count, parts)), sizes, 1)
    shape = (product(sizes), *rest)
    added = n.b.reshape(n.b.scatter_add(shape, places, n.b.reshape(updates, (count, *rest))), x.type.shape)
    ones = n.b.expand(n.b.scalar(1, DType.F32), (count, *rest))
    return _placed(n, x, added, lambda: n.b.reshape(n.b.scatter_add(shape, places, ones), x.type.shape))


@reads("OneHot")
def one_hot(n: Node) -> Value:
    indices, depth = n.value(0), n.integers(1, "depth")[0]
    off, on = n.b.split(n.value(2), (1, 1), 0)
    places = _from_start(n.b, n.b.cast(indices, DType.I64), depth)
    rank = indices.type.rank + 1
    axis = normal(n.attribute("axis", -1), rank)
    shape = list(indices.type.shape)
    shape.insert(axis, 1)
    numbers = n.b.reshape(n.b.arange(depth), [depth if place == axis else 1 for place in range(rank)])
    hit = n.b.equal(n.b.reshape(places, shape), numbers)
    return n.b.select(hit, n.b.reshape(on, ()), n.b.reshape(off, ()))


@reads("Compress")
def compress(n: Node) -> Value:
    x = n.value(0)
    chosen = np.flatnonzero(n.known(1, "condition"))
    axis = n.attribute("axis")
    if axis is None:
        x, axis = n.b.reshape(x, (x.type.size,)), 0
    axis = normal(axis, x.type.rank)
    if len(chosen) and equal(x.type.shape[axis], int(chosen.max()) + 1) is None:
        raise Unsupported(f"whether its condition fits {x.type.shape[axis]} is not known")
    return n.b.gather(x, n.b.constant(chosen.astype(np.int64)), axis)


@reads("ReverseSequence")
def reverse_sequence(n: Node) -> Value:
    x, lengths = n.value(0), n.value(1)
    time, batch = n.attribute("time_axis", 0), n.attribute("batch_axis", 1)
    rank, steps = x.type.rank, x.type.shape[time]
    ends = n.b.reshape(lengths, [x.type.shape[batch] if place == batch else 1 for place in range(rank)])
    places = n.b.reshape(n.b.arange(steps), [steps if place == time else 1 for place in range(rank)])
    turned = n.b.sub(n.b.sub(ends, places), 1)
    chosen = n.b.select(n.b.less(places, ends), turned, places)
    return n.b.take_along(x, n.b.expand(chosen, x.type.shape), time)


@reads("TopK")
def top(n: Node) -> list[Value]:
    """The largest one, or the smallest."""
    count = n.attribute("k") if n.opset < 10 else n.integers(1, "number of elements")[0]
    x = n.value(0)
    if count != 1:
        raise Unsupported(f"the largest {count} elements are not sorted out")
    if not x.type.dtype.is_float:
        raise Unsupported(f"it sorts whole numbers of type {x.type.dtype}")
    axis = normal(n.attribute("axis", -1), x.type.rank)
    looked = x if n.attribute("largest", 1) else n.b.neg(x)
    kept = [1 if place == axis else dim for place, dim in enumerate(x.type.shape)]
    place = n.b.reshape(n.b.argmax(looked, axis), kept)
    return [n.b.take_along(x, place, axis), place]
