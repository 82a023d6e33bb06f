"""Images on a grid that is turned or stretched, written with the operations that there are; floats out of integers."""

from __future__ import annotations

from collections.abc import Callable

from compiler.front.catalogue.entry import Context, Value
from compiler.ir.dims import product
from compiler.ir.types import DType

# The range of integers that are clipped to it; wider ones are as good as never left.
_RANGES = {DType.U8: (0.0, 255.0), DType.I8: (-128.0, 127.0)}


def on_floats(c: Context, x: Value, change: Callable[[Value], Value]) -> Value:
    """``change(x)``. Integers are changed as f32, rounded to the nearest one and kept in the range of their type."""
    dtype = x.type.dtype
    if dtype.is_float:
        return change(x)
    b = c.b
    changed = b.round(change(b.cast(x, DType.F32)))
    return b.cast(b.clip(changed, *_RANGES[dtype]) if dtype in _RANGES else changed, dtype)


def similarity(c: Context, x: Value, along: Value, across: Value | None, mode: str, value: float) -> Value:
    """Images whose pixel at (dy, dx) from the middle is that of x at (along·dy + across·dx, along·dx - across·dy).

    x is [N, C, H, W], ``along`` and ``across`` are f32 [N]; no ``across`` is as good as 0. With ``mode`` "linear" a
    place between pixels is interpolated, with "nearest" it is the nearest pixel; outside of x is ``value``.
    """
    b = c.b
    samples, _, height, width = x.type.shape
    # An edge of one pixel all around: whatever lies further out is clipped to it.
    whole = b.pad(x, (0, 0, 1, 1), (0, 0, 1, 1), value)
    middles = [b.div(b.sub(b.size(dim, DType.F32), 1.0), 2.0) for dim in (height, width)]
    rows = b.reshape(b.sub(b.arange(height, DType.F32), middles[0]), (1, 1, height, 1))
    columns = b.reshape(b.sub(b.arange(width, DType.F32), middles[1]), (1, 1, 1, width))
    p = b.reshape(along, (samples, 1, 1, 1))
    down, right = b.mul(p, rows), b.mul(p, columns)
    if across is not None:
        q = b.reshape(across, (samples, 1, 1, 1))
        down, right = b.add(down, b.mul(q, columns)), b.sub(right, b.mul(q, rows))
    # Places in the image with the edge, where the first pixel of x is at 1.
    places = [b.add(place, b.add(middle, 1.0)) for place, middle in zip((down, right), middles, strict=True)]
    if mode == "nearest":
        y, z = (
            _within(c, b.round(place), b.size(dim + 1, DType.F32))
            for place, dim in zip(places, (height, width), strict=True)
        )
        return _pixels(c, whole, y, z, [(0, 0)])[0]
    return on_floats(c, whole, lambda floats: _interpolated(c, floats, places))


def _within(c: Context, place: Value, last: Value) -> Value:
    return c.b.minimum(c.b.maximum(place, 0.0), last)


def _interpolated(c: Context, x: Value, places: list[Value]) -> Value:
    """The floats of x [N, C, H, W] at places (rows, columns) between its pixels."""
    b = c.b
    firsts, weights = [], []
    for place, dim in zip(places, x.type.shape[2:], strict=True):
        inside = _within(c, place, b.size(dim - 1, DType.F32))
        first = b.minimum(b.floor(inside), b.size(dim - 2, DType.F32))
        firsts.append(first)
        weights.append(b.cast(b.sub(inside, first), x.type.dtype))
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    upper_left, upper_right, lower_left, lower_right = _pixels(c, x, firsts[0], firsts[1], corners)
    upper = b.add(upper_left, b.mul(weights[1], b.sub(upper_right, upper_left)))
    lower = b.add(lower_left, b.mul(weights[1], b.sub(lower_right, lower_left)))
    return b.add(upper, b.mul(weights[0], b.sub(lower, upper)))


def _pixels(c: Context, x: Value, row: Value, column: Value, steps: list[tuple[int, int]]) -> list[Value]:
    """The pixels of x [N, C, H, W] at (row, column), whole f32 that broadcast to [N, 1, h, w], and so many steps beside
    them."""
    b = c.b
    samples, channels, height, width = x.type.shape
    flat = b.reshape(x, (samples, channels, height * width))
    y, z = b.cast(row, DType.I64), b.cast(column, DType.I64)
    within = b.add(b.mul(y, b.size(width)), z)
    shape = within.type.shape[2:]
    line = b.reshape(within, (samples, 1, product(shape)))
    first = b.expand(line, (samples, channels, product(shape)))
    found = []
    for down, right in steps:
        places = first if (down, right) == (0, 0) else b.add(first, b.size(down * width + right))
        found.append(b.reshape(b.take_along(flat, places, 2), (samples, channels, *shape)))
    return found
