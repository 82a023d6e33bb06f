"""Grids in other sizes: upsampling, padding, cropping, and channels turned into places."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Literal

from compiler.front.catalogue.entry import ArgumentError, Context, Dim, Each, Factors, Lengths, Pads, Value, entry
from compiler.front.catalogue.norms import channels_of
from compiler.front.catalogue.spatial import each, edges, spatial_rank
from compiler.ir.dims import floor_divide
from compiler.ir.types import TypeMismatch

_RANKS = {"bilinear": 2, "trilinear": 3}


def _mode(x: Value, mode: str, align_corners: bool) -> str:
    """The mode as the operation has it. ArgumentError where it is one for another number of dimensions."""
    rank = x.type.rank - 2
    if _RANKS.get(mode, rank) != rank:
        raise ArgumentError("mode", f"{mode} is for {_RANKS[mode]} spatial dimensions, and {x.type} has {rank}")
    if mode != "nearest":
        return "corners" if align_corners else "linear"
    if align_corners:
        raise ArgumentError(
            "align_corners", "corners are aligned where elements are interpolated, which nearest is not"
        )
    return "nearest"


@entry("layer")
def upsample(
    c: Context,
    x: Value,
    factor: Factors = 2,
    *,
    mode: Literal["nearest", "linear", "bilinear", "trilinear"] = "nearest",
    align_corners: bool = False,
) -> Value:
    """Makes images ``factor`` times as large, without weights.

    Takes ``[N, channels, …]`` and gives the same with each spatial size multiplied by ``factor``, one number or one for
    each, and rounded down. ``nearest`` repeats elements; the others interpolate along each dimension by the half-pixel
    rule, as PyTorch and Keras do, or with ``align_corners=true`` so that the corners of both images meet; ``linear`` is
    for any number of dimensions. A fraction counts only for the size: what is interpolated follows from the sizes
    themselves.
    """
    spatial_rank(x, "upsample")
    sizes: list[Dim] = []
    for size, times in zip(x.type.shape[2:], each("factor", factor, x, 0), strict=True):
        # As it is written in decimals: 0.1 is a tenth here.
        share = Fraction(str(times))
        sizes.append(floor_divide(size * share.numerator, share.denominator))
        if isinstance(sizes[-1], int) and sizes[-1] < 1:
            raise ArgumentError("factor", f"nothing is left of {size} cells with a factor of {times}")
    return c.b.resize(x, sizes, _mode(x, mode, align_corners))


@entry("layer")
def resize(
    c: Context,
    x: Value,
    size: Lengths,
    *,
    mode: Literal["nearest", "linear", "bilinear", "trilinear"] = "nearest",
    align_corners: bool = False,
) -> Value:
    """Images in another ``size``: ``resize(32)``, or ``resize((32, 48))`` for height and width.

    Takes ``[N, channels, …]`` and gives the same with these spatial sizes; the others are those of ``upsample``. It
    does not average where it makes images smaller: ``avg_pool`` and ``adaptive_avg_pool`` do.
    """
    spatial_rank(x, "resize")
    return c.b.resize(x, each("size", size, x), _mode(x, mode, align_corners))


@entry("layer")
def pad(
    c: Context,
    x: Value,
    amount: Pads,
    *,
    mode: Literal["constant", "reflect", "edge"] = "constant",
    value: float = 0.0,
) -> Value:
    """Puts cells around the spatial dimensions of ``[N, channels, …]``.

    ``amount`` is a number for all edges, one for each dimension, or a pair for the two edges of each:
    ``pad(((0, 1), (2, 2)))``. ``constant`` fills them with ``value``, ``edge`` repeats the outermost elements, and
    ``reflect`` mirrors the image at them without repeating them.
    """
    spatial_rank(x, "pad")
    before, after = zip(*((0, 0), (0, 0), *_edges(amount, x)), strict=True)
    if mode == "constant":
        return c.b.pad(x, before, after, value)
    if value != 0.0:
        raise ArgumentError("value", f"the mode {mode} takes its values from the image")
    return c.b.extend(x, before, after, mode)


def _edges(amount: Pads, x: Value) -> tuple[tuple[int, int], ...]:
    if isinstance(amount, str):
        raise ArgumentError("amount", f"there is no window here for which {amount} would say how much to pad")
    return edges("amount", amount, x)


@entry("layer")
def crop(c: Context, x: Value, amount: Pads) -> Value:
    """Cuts cells off the edges of the spatial dimensions of ``[N, channels, …]``.

    ``amount`` is a number for all edges, one for each dimension, or a pair for the two edges of each, as in ``pad``.
    """
    spatial_rank(x, "crop")
    pairs = ((0, 0), (0, 0), *_edges(amount, x))
    for axis, (size, pair) in enumerate(zip(x.type.shape, pairs, strict=True)):
        if isinstance(size, int) and size <= sum(pair):
            raise TypeMismatch(
                "E0301",
                f"crop cuts away all of dimension {axis} of {x.type}",
                f"it has {size} cells, and {sum(pair)} are to be cut off",
            )
    stops = tuple(size - after for size, (_, after) in zip(x.type.shape, pairs, strict=True))
    return c.b.slice(x, tuple(before for before, _ in pairs), stops)


@entry("layer")
def pixel_shuffle(c: Context, x: Value, factor: Each = 2) -> Value:
    """Turns channels into places: ``[N, channels * factor², height, width]`` becomes ``[N, channels, height * factor,
    width * factor]``.

    Each channel of the result takes factor² channels that stand side by side, as in PyTorch; with one or three spatial
    dimensions it works alike. Shi et al., Real-time single image and video super-resolution, 2016.
    """
    rank = spatial_rank(x, "pixel_shuffle")
    channels, factors = channels_of(x, "pixel_shuffle"), each("factor", factor, x)
    if channels % prod(factors):
        raise ArgumentError("factor", f"{channels} channels can't be divided by {prod(factors)}", f"x is {x.type}")
    samples, sizes = x.type.shape[0], x.type.shape[2:]
    apart = c.b.reshape(x, (samples, channels // prod(factors), *factors, *sizes))
    order = [axis for place in range(rank) for axis in (2 + rank + place, 2 + place)]
    larger = tuple(size * times for size, times in zip(sizes, factors, strict=True))
    return c.b.reshape(c.b.transpose(apart, (0, 1, *order)), (samples, channels // prod(factors), *larger))


@entry("layer")
def pixel_unshuffle(c: Context, x: Value, factor: Each = 2) -> Value:
    """Turns places into channels, the inverse of ``pixel_shuffle``: ``[N, channels, height, width]`` becomes
    ``[N, channels * factor², height / factor, width / factor]``."""
    rank = spatial_rank(x, "pixel_unshuffle")
    channels, factors = channels_of(x, "pixel_unshuffle"), each("factor", factor, x)
    samples, sizes = x.type.shape[0], x.type.shape[2:]
    smaller = tuple(floor_divide(size, times) for size, times in zip(sizes, factors, strict=True))
    for size, times, part in zip(sizes, factors, smaller, strict=True):
        if part * times != size:
            raise ArgumentError("factor", f"{size} cells can't be divided into blocks of {times}", f"x is {x.type}")
    apart = [part for pair in zip(smaller, factors, strict=True) for part in pair]
    order = [*range(3, 3 + 2 * rank, 2), *range(2, 2 + 2 * rank, 2)]
    turned = c.b.transpose(c.b.reshape(x, (samples, channels, *apart)), (0, 1, *order))
    return c.b.reshape(turned, (samples, channels * prod(factors), *smaller))
