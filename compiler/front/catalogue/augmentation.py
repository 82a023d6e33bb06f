"""Images: what changes their geometry. Each sample of a batch gets a change of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

from compiler.front.catalogue.entry import ArgumentError, Context, Dim, Each, Factors, Value, entry
from compiler.front.catalogue.warping import on_floats, similarity
from compiler.ir.dims import floor_divide, less_equal
from compiler.ir.types import DType, TypeMismatch
from compiler.ops.each import CropEach, FlipEach

Outside: TypeAlias = Literal["constant", "edge", "reflect"]


def images(c: Context, x: Value, what: str) -> Value:
    """x as [N, C, H, W]: images without channels, [N, H, W], get one. TypeMismatch for anything else."""
    if x.type.rank not in (3, 4) or x.type.dtype is DType.BOOL:
        raise TypeMismatch(
            "E0301",
            f"{what} takes images [N, height, width] or [N, channels, height, width], not {x.type}",
            f"this is {x.type}",
        )
    samples, *sizes = x.type.shape
    return x if x.type.rank == 4 else c.b.reshape(x, (samples, 1, *sizes))


def as_given(c: Context, changed: Value, x: Value) -> Value:
    """What was made of :func:`images`, with channels only where x has them."""
    samples, channels, *sizes = changed.type.shape
    return c.b.reshape(changed, (samples, *((channels,) if x.type.rank == 4 else ()), *sizes))


def per_sample(c: Context, x: Value, low: float = 0.0, high: float = 1.0) -> Value:
    """A random f32 for each sample, from ``low`` up to ``high``."""
    return c.b.uniform(x.type.shape[:1], *c.random(), low, high)


def chosen(c: Context, x: Value, chance: float, what: str) -> Value:
    """A truth value for each sample, true with this probability."""
    if not 0.0 <= chance <= 1.0:
        raise ArgumentError("chance", f"the chance of {what} is a probability from 0 to 1, not {chance:g}")
    return c.b.less(per_sample(c, x), chance)


def _start(c: Context, x: Value, room: Dim) -> Value:
    """For each sample a random whole number from 0 to ``room``, both included."""
    b = c.b
    # A float below 1 has at most 24 bits: times a whole number below 2**24 it stays below that number.
    places = b.mul(per_sample(c, x), b.add(b.size(room, DType.F32), 1.0))
    return b.cast(places, DType.I64)


def _pair(amount: Each | Factors, argument: str, what: str) -> tuple[float, float]:
    """An amount for rows and one for columns, neither of them negative."""
    both = amount if isinstance(amount, tuple) else (amount, amount)
    if len(both) != 2:
        raise ArgumentError(argument, f"{what} takes one amount, or one for height and width, not {len(both)}")
    if min(both) < 0:
        raise ArgumentError(argument, f"{what} takes an amount of at least 0, not {min(both):g}")
    return both[0], both[1]


def _padded(c: Context, x: Value, edges: Sequence[int], outside: Outside, value: float) -> Value:
    amounts = (0, 0, *edges)
    if outside == "constant":
        return c.b.pad(x, amounts, amounts, value)
    if value != 0.0:
        raise ArgumentError("value", f"outside={outside} takes its values from the image")
    return c.b.extend(x, amounts, amounts, outside)


@entry("augmentation")
def random_flip(
    c: Context, x: Value, *, axis: Literal["horizontal", "vertical"] = "horizontal", chance: float = 0.5
) -> Value:
    """Turns images around, left to right or upside down, each with the probability ``chance``."""
    whole = images(c, x, "random_flip")
    turned = chosen(c, x, chance, "random_flip") if c.training else None
    if turned is None or chance == 0.0:
        return x
    return as_given(c, c.b.add(FlipEach(3 if axis == "horizontal" else 2), whole, turned), x)


@entry("augmentation")
def random_shift(c: Context, x: Value, pixels: Each, *, outside: Outside = "constant", value: float = 0.0) -> Value:
    """Moves images by whole pixels, up to ``pixels`` in each direction, or up to one number of rows and one of columns.

    What comes in from outside is the constant ``value``, or with ``outside=edge`` the edge repeated, with
    ``outside=reflect`` the image mirrored.
    """
    rows, columns = map(int, _pair(pixels, "pixels", "random_shift"))
    whole = images(c, x, "random_shift")
    padded = _padded(c, whole, (rows, columns), outside, value)
    if not c.training or not (rows or columns):
        return x
    height, width = whole.type.shape[2:]
    cropped = c.b.add(CropEach((height, width)), padded, _start(c, x, 2 * rows), _start(c, x, 2 * columns))
    return as_given(c, cropped, x)


@entry("augmentation")
def random_crop(
    c: Context, x: Value, size: Each, *, pad: int = 0, outside: Outside = "constant", value: float = 0.0
) -> Value:
    """Cuts a window of ``size`` (one number, or height and width) at a random place of each image, after ``pad`` cells
    were put around it. In evaluation it is the window in the middle.

    ``random_crop(32, pad=4)`` of images 32 by 32 is what is usual for CIFAR, and leaves them as they are in evaluation.
    """
    height, width = map(int, _pair(size, "size", "random_crop"))
    whole = images(c, x, "random_crop")
    if pad < 0:
        raise ArgumentError("pad", f"random_crop takes an amount of at least 0, not {pad}")
    padded = _padded(c, whole, (pad, pad), outside, value)
    _check_window(whole, padded, (height, width), pad)
    room = [whole - part for whole, part in zip(padded.type.shape[2:], (height, width), strict=True)]
    if c.training:
        cropped = c.b.add(CropEach((height, width)), padded, _start(c, x, room[0]), _start(c, x, room[1]))
        return as_given(c, cropped, x)
    first = [floor_divide(amount, 2) for amount in room]
    if first == [pad, pad] and list(whole.type.shape[2:]) == [height, width]:
        return x
    starts, stops = (0, 0, *first), (*whole.type.shape[:2], first[0] + height, first[1] + width)
    return as_given(c, c.b.slice(padded, starts, stops), x)


def _check_window(x: Value, padded: Value, size: tuple[int, int], pad: int) -> None:
    for dim, part in zip(padded.type.shape[2:], size, strict=True):
        if part < 1:
            raise ArgumentError("size", f"a window has a size of at least 1, not {part}")
        if less_equal(part, dim) is not True:
            room = f"{x.type.shape[2]} x {x.type.shape[3]}{f' with an edge of {pad}' * (pad > 0)}"
            title = f"random_crop cannot cut windows {size[0]} x {size[1]} out of images {room}"
            raise ArgumentError(
                "size", title, f"whether {part} fits into {dim} is not known" if less_equal(part, dim) is None else ""
            )


@entry("augmentation")
def random_rotate(
    c: Context,
    x: Value,
    degrees: float,
    *,
    mode: Literal["linear", "nearest"] = "linear",
    value: float = 0.0,
) -> Value:
    """Turns images around their middle by up to ``degrees`` in either direction.

    ``linear`` interpolates between pixels, ``nearest`` takes the nearest one; outside of the image is ``value``.
    """
    if not 0.0 <= degrees <= 180.0:
        raise ArgumentError("degrees", f"random_rotate takes degrees from 0 to 180, not {degrees:g}")
    whole = images(c, x, "random_rotate")
    if not c.training or degrees == 0.0:
        return x
    angle = per_sample(c, x, -math.radians(degrees), math.radians(degrees))
    return as_given(c, similarity(c, whole, c.b.cos(angle), c.b.sin(angle), mode, value), x)


@entry("augmentation")
def random_scale(
    c: Context,
    x: Value,
    low: float = 0.8,
    high: float = 1.2,
    *,
    mode: Literal["linear", "nearest"] = "linear",
    value: float = 0.0,
) -> Value:
    """Enlarges images around their middle by a factor from ``low`` to ``high``; a factor below 1 makes them smaller.

    ``mode`` and ``value`` are those of ``random_rotate``. The size of the images stays the same.
    """
    if not 0.0 < low <= high:
        raise ArgumentError(
            "low", f"random_scale takes factors above 0, the smaller one first, not {low:g} and {high:g}"
        )
    whole = images(c, x, "random_scale")
    if not c.training or low == high == 1.0:
        return x
    step = c.b.reciprocal(per_sample(c, x, low, high))
    return as_given(c, similarity(c, whole, step, None, mode, value), x)


@entry("augmentation")
def cutout(c: Context, x: Value, size: int, *, value: float = 0.0) -> Value:
    """Fills a square of ``size`` at a random place of each image with ``value``.

    The middle of the square is any pixel, so that a part of it may lie outside. DeVries and Taylor, Improved
    regularization of convolutional neural networks with cutout, 2017.
    """
    if size < 1:
        raise ArgumentError("size", f"cutout takes a size of at least 1, not {size}")
    whole = images(c, x, "cutout")
    if not c.training:
        return x
    b = c.b
    samples, _, *sizes = whole.type.shape
    inside = []
    for axis, dim in enumerate(sizes, 2):
        first = b.sub(_start(c, x, dim - 1), size // 2)
        from_first = b.sub(b.arange(dim), b.reshape(first, (samples, 1)))
        within = b.logical_and(b.greater_equal(from_first, 0), b.less(from_first, size))
        inside.append(b.reshape(within, (samples, 1, *((dim, 1) if axis == 2 else (1, dim)))))
    return as_given(c, b.select(b.logical_and(*inside), b.scalar(value, x.type.dtype), whole), x)


__all__ = ["as_given", "images", "on_floats", "per_sample"]
