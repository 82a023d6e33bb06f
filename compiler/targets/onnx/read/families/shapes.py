"""Shapes: what moves, cuts, repeats and joins elements, and what makes tensors of nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx

from compiler.ir.dims import Dim, Poly, as_symbol, ceil_divide, equal, floor_divide, less_equal, product
from compiler.ir.graph import Value
from compiler.ops.base import Array
from compiler.ops.emit import Emit
from compiler.targets.onnx.read.known import fold_sizes
from compiler.targets.onnx.read.node import Node, Results, normal, reads
from compiler.targets.onnx.read.tensors import Unbounded, Unsupported, dtype_of, dtype_of_array


@reads("Shape", "Size")
def sizes(n: Node) -> Results:
    found = fold_sizes(n)
    assert found is not None
    return found


@reads("Constant")
def constant(n: Node) -> Array:
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        if (number := n.attribute(name)) is not None:
            return np.array(number, dtype)
    for name, dtype in (("value_floats", np.float32), ("value_ints", np.int64)):
        if (numbers := n.attribute(name)) is not None:
            return np.array(numbers, dtype)
    tensor = n.attribute("value")
    if tensor is None:
        raise Unsupported("it is a text or a sparse tensor")
    dtype_of(tensor.data_type)
    return np.asarray(onnx.numpy_helper.to_array(tensor))


@reads("ConstantOfShape")
def constant_of_shape(n: Node) -> Value:
    tensor = n.attribute("value")
    fill = np.zeros(1, np.float32) if tensor is None else onnx.numpy_helper.to_array(tensor)
    dtype_of_array(fill)
    return n.b.expand(n.b.constant(np.asarray(fill).reshape(())), n.dims(0, "shape"))


@reads("Reshape")
def reshape(n: Node) -> Value:
    x = n.value(0)
    wanted = n.dims(1, "shape") if n.opset >= 5 else list(n.attribute("shape"))
    zero = bool(n.attribute("allowzero", 0))
    shape = [x.type.shape[place] if dim == 0 and not zero else dim for place, dim in enumerate(wanted)]
    open_places = [place for place, dim in enumerate(shape) if dim == -1]
    for place in open_places:
        rest = product(dim for other, dim in enumerate(shape) if other != place)
        if rest == 0:
            raise Unsupported("a size is left open where another is 0")
        shape[place] = floor_divide(x.type.size, rest)
    return n.b.reshape(x, shape)


@reads("Flatten")
def flatten(n: Node) -> Value:
    x = n.value(0)
    axis = n.attribute("axis", 1)
    axis = axis + x.type.rank if axis < 0 else axis
    return n.b.reshape(x, (product(x.type.shape[:axis]), product(x.type.shape[axis:])))


@reads("Squeeze")
def squeeze(n: Node) -> Value:
    x = n.value(0)
    axes = n.axes(1, 13)
    shape = x.type.shape
    gone = [k for k, dim in enumerate(shape) if dim == 1] if axes is None else [normal(a, len(shape)) for a in axes]
    if any(equal(shape[axis], 1) is not True for axis in gone):
        raise Unsupported(f"it takes away axes of {x.type} that are not of size 1")
    return n.b.reshape(x, [dim for axis, dim in enumerate(shape) if axis not in gone])


@reads("Unsqueeze")
def unsqueeze(n: Node) -> Value:
    x = n.value(0)
    axes = n.axes(1, 13) or []
    rank = x.type.rank + len(axes)
    new = {normal(axis, rank) for axis in axes}
    rest = iter(x.type.shape)
    return n.b.reshape(x, [1 if place in new else next(rest) for place in range(rank)])


@reads("Transpose")
def transpose(n: Node) -> Value:
    x = n.value(0)
    return n.b.transpose(x, n.attribute("perm", list(range(x.type.rank))[::-1]))


@reads("Expand")
def expand(n: Node) -> Value:
    """By the rule of broadcasting in both directions."""
    x = n.value(0)
    wanted = n.dims(1, "shape")
    rank = max(len(wanted), x.type.rank)
    have = [1] * (rank - x.type.rank) + list(x.type.shape)
    asked = [1] * (rank - len(wanted)) + wanted
    return n.b.expand(x, [a if b == 1 else b for a, b in zip(have, asked, strict=True)])


@reads("Tile")
def tile(n: Node) -> Value:
    x = n.value(0)
    repeats = n.dims(1, "repeats")
    shape = x.type.shape
    apart = [part for dim in shape for part in (1, dim)]
    wide = [part for times, dim in zip(repeats, shape, strict=True) for part in (times, dim)]
    found = n.b.expand(n.b.reshape(x, apart), wide)
    return n.b.reshape(found, [times * dim for times, dim in zip(repeats, shape, strict=True)])


@reads("Concat")
def concat(n: Node) -> Value:
    values = n.values()
    return n.b.concat(values, normal(n.attribute("axis", 1), values[0].type.rank))


@reads("Split")
def split(n: Node) -> Results:
    """The sizes are an attribute before opset 13; without any the parts are equal, the last one the smaller."""
    x = n.value(0)
    axis = normal(n.attribute("axis", 0), x.type.rank)
    size = x.type.shape[axis]
    given: list[Dim] | None = n.attribute("split") if n.opset < 13 else (n.dims(1, "sizes") if n.has(1) else None)
    if given is None:
        parts = n.attribute("num_outputs", n.results)
        each = ceil_divide(size, parts)
        given = [each] * (parts - 1) + [size - each * (parts - 1)]
    return n.b.split(x, given, axis)


@reads("Slice")
def slice_(n: Node) -> Value:
    """Starts, ends, axes and steps are attributes before opset 10."""
    x = n.value(0)
    rank = x.type.rank
    if n.opset < 10:
        starts, ends = list(n.attribute("starts")), list(n.attribute("ends"))
        axes, steps = n.attribute("axes"), None
    else:
        starts, ends = n.dims(1, "starts"), n.dims(2, "ends")
        axes = n.integers(3, "axes") if n.has(3) else None
        steps = n.integers(4, "steps") if n.has(4) else None
    first: list[Dim] = [0] * rank
    last: list[Dim] = list(x.type.shape)
    strides = [1] * rank
    for place, given in enumerate(axes if axes is not None else range(len(starts))):
        axis = normal(given, rank)
        step = steps[place] if steps else 1
        size = x.type.shape[axis]
        if step < 0:
            x = _reversed_slice(n.b, x, axis, starts[place], ends[place], step)
            last[axis] = x.type.shape[axis]
            continue
        first[axis] = _bound(starts[place], size)
        last[axis] = _bound(ends[place], size)
        strides[axis] = step
        if less_equal(first[axis], last[axis]) is False:
            last[axis] = first[axis]
    return n.b.slice(x, first, last, strides)


def _bound(place: Dim, size: Dim) -> Dim:
    """A start or an end within the axis; from the end where it is negative."""
    if isinstance(place, int) and place <= -(2**31):
        return 0
    if isinstance(place, int) and place >= 2**31 - 1:
        return size
    inside = less_equal(0, place)
    if inside is None:
        raise Unsupported(f"whether its bound {place} counts from the end depends on the sizes of the inputs")
    if not inside:
        place = size + place
        if less_equal(0, place) is False:
            return 0
    fits = less_equal(place, size)
    symbol = as_symbol(place)
    if fits is None and symbol is not None and isinstance(size, int):
        raise Unbounded(symbol, size)
    if fits is None:
        raise Unsupported(f"whether its bound {place} lies within {size} depends on the sizes of the inputs")
    return place if fits else size


def _reversed_slice(b: Emit, x: Value, axis: int, start: Dim, end: Dim, step: int) -> Value:
    size = x.type.shape[axis]
    if not isinstance(size, int) or isinstance(start, Poly) or isinstance(end, Poly):
        raise Unsupported("it goes backwards over a size that is not known")
    chosen = range(size)[slice(start, None if end < -size else end, step)]
    return b.gather(x, b.constant(np.array(chosen, np.int64)), axis)


@reads("Pad")
def pad(n: Node) -> Value:
    """Amounts and the value are attributes before opset 11; negative amounts cut off."""
    x = n.value(0)
    rank = x.type.rank
    mode = n.attribute("mode", "constant")
    if n.opset < 11:
        amounts: list[Dim] = list(n.attribute("pads"))
        fill: float = n.attribute("value", 0.0)
        axes = list(range(rank))
    else:
        amounts = n.dims(1, "amounts")
        fill = n.known(2, "value").reshape(-1)[0].item() if n.has(2) else 0
        axes = [normal(a, rank) for a in n.integers(3, "axes")] if n.has(3) else list(range(rank))
    before: list[Dim] = [0] * rank
    after: list[Dim] = [0] * rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = amounts[place], amounts[place + len(axes)]
    x = _cut(n.b, x, before, after)
    before, after = ([0 if isinstance(a, int) and a < 0 else a for a in ends] for ends in (before, after))
    if mode == "constant":
        return n.b.pad(x, before, after, fill)
    if mode == "wrap":
        return _wrapped(n.b, x, before, after)
    numbers = [[a for a in ends if isinstance(a, int)] for ends in (before, after)]
    if any(len(ends) != rank for ends in numbers):
        raise Unsupported(f"the amounts of its mode {mode} depend on the sizes of the inputs")
    return n.b.extend(x, numbers[0], numbers[1], mode)


def _cut(b: Emit, x: Value, before: Sequence[Dim], after: Sequence[Dim]) -> Value:
    starts = [-a if isinstance(a, int) and a < 0 else 0 for a in before]
    stops = [s + a if isinstance(a, int) and a < 0 else s for s, a in zip(x.type.shape, after, strict=True)]
    return b.slice(x, starts, stops)


def _wrapped(b: Emit, x: Value, before: Sequence[Dim], after: Sequence[Dim]) -> Value:
    for axis, size in enumerate(x.type.shape):
        a, z = before[axis], after[axis]
        if (a, z) == (0, 0):
            continue
        if not isinstance(size, int) or not isinstance(a, int) or not isinstance(z, int) or not size:
            raise Unsupported("it wraps around a size that is not known")
        places = np.arange(-a, size + z) % size
        x = b.gather(x, b.constant(places.astype(np.int64)), axis)
    return x


@reads("DepthToSpace", "SpaceToDepth")
def blocks(n: Node) -> Value:
    x, k = n.value(0), n.attribute("blocksize")
    samples, channels, height, width = x.type.shape
    if n.kind == "SpaceToDepth":
        x = n.b.reshape(x, (samples, channels, floor_divide(height, k), k, floor_divide(width, k), k))
        shape = (samples, channels * k * k, floor_divide(height, k), floor_divide(width, k))
        return n.b.reshape(n.b.transpose(x, (0, 3, 5, 1, 2, 4)), shape)
    depth = floor_divide(channels, k * k)
    if n.attribute("mode", "DCR") == "DCR":
        x = n.b.transpose(n.b.reshape(x, (samples, k, k, depth, height, width)), (0, 3, 4, 1, 5, 2))
    else:
        x = n.b.transpose(n.b.reshape(x, (samples, depth, k, k, height, width)), (0, 1, 4, 2, 5, 3))
    return n.b.reshape(x, (samples, depth, height * k, width * k))


@reads("Range")
def range_(n: Node) -> Value:
    """Known, or from 0 in steps of 1 to a size."""
    start, limit, step = (n.content(place, what) for place, what in enumerate(("start", "limit", "delta")))
    if object in (start.dtype, limit.dtype, step.dtype):
        ((from_,), (to,), (by,)) = (n.dims(place, "bounds") for place in range(3))
        if by != 1:
            raise Unsupported("its number of elements depends on a size and a step")
        counted = n.b.arange(to - from_)
        return counted if from_ == 0 else n.b.add(counted, n.b.size(from_))
    first, last, by = (part.reshape(-1)[0].item() for part in (start, limit, step))
    count = max(math.ceil((last - first) / by), 0)
    if count > 2**24:
        raise Unsupported(f"it has {count} elements")
    return n.b.constant((first + np.arange(count) * by).astype(start.dtype))


@reads("EyeLike")
def eye_like(n: Node) -> Value:
    x = n.type(0)
    rows, columns = x.shape
    dtype = n.dtype("dtype", x.dtype)
    return n.b.cast(n.b.equal(_diagonal(n.b, rows, columns), n.attribute("k", 0)), dtype)


def _diagonal(b: Emit, rows: Dim, columns: Dim) -> Value:
    """[rows, columns]: how far each place is above the diagonal."""
    return b.sub(b.reshape(b.arange(columns), (1, columns)), b.reshape(b.arange(rows), (rows, 1)))


@reads("Trilu")
def triangle(n: Node) -> Value:
    x = n.value(0)
    k = n.integers(1, "diagonal")[0] if n.has(1) else 0
    above = _diagonal(n.b, *x.type.shape[-2:])
    kept = n.b.greater_equal(above, k) if n.attribute("upper", 1) else n.b.less_equal(above, k)
    return n.b.select(kept, x, n.b.constant(np.zeros((), x.type.dtype.numpy)))


@reads("Loop", "SequenceMap")
def control_flow(n: Node) -> Value:
    raise Unsupported("loops that are left to the running network are not brought into a graph")
