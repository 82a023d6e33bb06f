"""Pooling: what stands under a window, or in a whole image, becomes one number for each channel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler.front.catalogue.entry import ArgumentError, Context, Each, Pads, Value, entry
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.spatial import each, make_window, spatial_rank
from compiler.ir.types import TypeMismatch
from compiler.ops.window import Window, ceil_padding


def _pool_window(
    x: Value, size: Each, stride: Each | None, pad: Pads, dilation: Each, ceil_mode: bool, layer: str
) -> Window:
    """The window of a pooling. ArgumentError where it could lie in the padding alone."""
    need_float(x, layer)
    spatial_rank(x, layer)
    window = make_window(x, size, size if stride is None else stride, pad, dilation, "size")
    for before, after, reach in zip(window.before, window.after, window.reach, strict=True):
        if max(before if isinstance(before, int) else 0, after if isinstance(after, int) else 0) >= reach:
            raise ArgumentError("pad", f"a window of {reach} would see nothing but padding where pad is {pad}")
    window.check(layer, x.type)
    return _rounded_up(x, window, pad) if ceil_mode else window


def _rounded_up(x: Value, window: Window, pad: Pads) -> Window:
    """The window with padding for one more place where it would leave cells out."""
    if pad == "same":
        raise ArgumentError("ceil_mode", "pad=same leaves out no cells that ceil_mode could take in")
    after = []
    axes = zip(x.type.shape[2:], window.reach, window.strides, window.before, window.after, strict=True)
    for size, reach, stride, *ends in axes:
        padding = ceil_padding(size, reach, stride, *ends)
        if padding is None:
            raise TypeMismatch(
                "E0302",
                f"ceil_mode of a window of {reach} with a stride of {stride} depends on {size}, which is not known",
                f"this is {x.type}",
                ("give that dimension a number in the signature, or leave ceil_mode out",),
            )
        after.append(padding)
    return replace(window, after=tuple(after))


@entry("layer")
def max_pool(
    c: Context,
    x: Value,
    size: Each,
    *,
    stride: Each | None = None,
    pad: Pads = 0,
    dilation: Each = 1,
    ceil_mode: bool = False,
) -> Value:
    """The largest element under a window of ``size`` that slides over the input, channel by channel.

    Takes ``[N, channels, …]`` with one to three spatial dimensions. The window moves by its own size unless ``stride``
    says otherwise; ``pad`` is as in ``conv``, and what is padded is never the largest. Sizes are rounded down, as in
    PyTorch and Keras: cells that no window reaches are left out, unless ``ceil_mode=true`` has one more begin on them.
    """
    return c.b.max_pool(x, _pool_window(x, size, stride, pad, dilation, ceil_mode, "max_pool"))


@entry("layer")
def avg_pool(
    c: Context,
    x: Value,
    size: Each,
    *,
    stride: Each | None = None,
    pad: Pads = 0,
    count_pad: bool = True,
    ceil_mode: bool = False,
) -> Value:
    """The mean under a window of ``size`` that slides over the input, channel by channel.

    Takes ``[N, channels, …]`` with one to three spatial dimensions. The window moves by its own size unless ``stride``
    says otherwise; ``pad`` is as in ``conv``. Padding counts as zeros, as in PyTorch; with ``count_pad=false`` the mean
    is over the input's own cells alone, as in Keras. ``ceil_mode`` is that of ``max_pool``; what its last windows have
    beyond the padding never counts, as in PyTorch.
    """
    window = _pool_window(x, size, stride, pad, 1, ceil_mode, "avg_pool")
    if ceil_mode and count_pad:
        # The zeros that count become a part of the image, so that those behind them can be told apart.
        given = make_window(x, size, 1, pad, 1, "size")
        x = c.b.pad(x, (0, 0, *given.before), (0, 0, *given.after))
        after = tuple(all - some for all, some in zip(window.after, given.after, strict=True))
        return c.b.avg_pool(x, replace(window, before=(0,) * window.rank, after=after), False)
    return c.b.avg_pool(x, window, count_pad)


@entry("layer")
def global_avg_pool(c: Context, x: Value, *, keep: bool = False) -> Value:
    """The mean over all places: ``[N, channels, …]`` becomes ``[N, channels]``.

    ``keep=true`` keeps the spatial dimensions with size 1. Lin et al., Network in network, 2013.
    """
    need_float(x, "global_avg_pool")
    spatial_rank(x, "global_avg_pool")
    return c.b.mean(x, range(2, x.type.rank), keep)


@entry("layer")
def global_max_pool(c: Context, x: Value, *, keep: bool = False) -> Value:
    """The largest element over all places: ``[N, channels, …]`` becomes ``[N, channels]``.

    ``keep=true`` keeps the spatial dimensions with size 1.
    """
    need_float(x, "global_max_pool")
    spatial_rank(x, "global_max_pool")
    return c.b.max(x, range(2, x.type.rank), keep)


@entry("layer")
def adaptive_avg_pool(c: Context, x: Value, size: Each) -> Value:
    """The means of equal parts, as many along each dimension as ``size`` says, whatever the size of the input.

    Takes ``[N, channels, …]`` of known sizes. Part i of n begins at ``floor(i * length / n)`` and ends before
    ``ceil((i + 1) * length / n)``, as in PyTorch, so that parts overlap where the length is no multiple of n.
    """
    wanted = _parts(x, size, "adaptive_avg_pool")
    if set(wanted) == {1}:
        return c.b.mean(x, range(2, x.type.rank), True)
    lengths = _known(x, "avg")
    if window := _equal_parts(x, lengths, wanted):
        return c.b.avg_pool(x, window)
    return _by_matrices(c, x, lengths, wanted)


@entry("layer")
def adaptive_max_pool(c: Context, x: Value, size: Each) -> Value:
    """The largest elements of equal parts, as many along each dimension as ``size`` says.

    Takes ``[N, channels, …]`` of known sizes; the parts are those of ``adaptive_avg_pool``.
    """
    wanted = _parts(x, size, "adaptive_max_pool")
    if set(wanted) == {1}:
        return c.b.max(x, range(2, x.type.rank), True)
    lengths = _known(x, "max")
    if window := _equal_parts(x, lengths, wanted):
        return c.b.max_pool(x, window)
    for axis, (length, parts) in enumerate(zip(lengths, wanted, strict=True), 2):
        x = c.b.concat([c.b.max(part, (axis,), True) for part in _slices(c, x, axis, length, parts)], axis)
    return x


def _parts(x: Value, size: Each, layer: str) -> tuple[int, ...]:
    """Into how many parts each dimension is divided."""
    need_float(x, layer)
    spatial_rank(x, layer)
    return each("size", size, x)


def _known(x: Value, kind: str) -> list[int]:
    """The spatial sizes. TypeMismatch where one of them is a symbol."""
    for axis, dim in enumerate(x.type.shape[2:], 2):
        if not isinstance(dim, int):
            raise TypeMismatch(
                "E0302",
                f"adaptive_{kind}_pool needs known sizes, but dimension {axis} of {x.type} is {dim}",
                f"the parts of {dim} cells depend on how many there are",
                (f"give that dimension a number in the signature, or take global_{kind}_pool, which takes any size",),
            )
    return [dim for dim in x.type.shape[2:] if isinstance(dim, int)]


def _equal_parts(x: Value, lengths: list[int], wanted: tuple[int, ...]) -> Window | None:
    """The window of a pooling where all parts are equal. ArgumentError where there are more parts than cells."""
    for length, parts in zip(lengths, wanted, strict=True):
        if parts > length:
            raise ArgumentError("size", f"{length} cells can't be divided into {parts} parts", f"x is {x.type}")
    if any(length % parts for length, parts in zip(lengths, wanted, strict=True)):
        return None
    kernel = tuple(length // parts for length, parts in zip(lengths, wanted, strict=True))
    nothing = (0,) * len(kernel)
    return Window(kernel, kernel, (1,) * len(kernel), nothing, nothing)


def _ends(length: int, parts: int) -> list[tuple[int, int]]:
    """Where each part begins and ends."""
    return [(part * length // parts, -(-(part + 1) * length // parts)) for part in range(parts)]


def _slices(c: Context, x: Value, axis: int, length: int, parts: int) -> list[Value]:
    """The parts of one dimension."""
    found = []
    for start, stop in _ends(length, parts):
        starts, stops = [0] * x.type.rank, list(x.type.shape)
        starts[axis], stops[axis] = start, stop
        found.append(c.b.slice(x, starts, stops))
    return found


def _by_matrices(c: Context, x: Value, lengths: list[int], wanted: tuple[int, ...]) -> Value:
    """Each dimension in turn brought to the end and multiplied by a matrix of means."""
    rank = x.type.rank
    for axis, (length, parts) in enumerate(zip(lengths, wanted, strict=True), 2):
        matrix = np.zeros((length, parts), x.type.dtype.numpy)
        for part, (start, stop) in enumerate(_ends(length, parts)):
            matrix[start:stop, part] = 1 / (stop - start)
        last = (*(place for place in range(rank) if place != axis), axis)
        back = tuple(last.index(place) for place in range(rank))
        x = c.b.transpose(c.b.matmul(c.b.transpose(x, last), c.b.constant(matrix)), back)
    return x
