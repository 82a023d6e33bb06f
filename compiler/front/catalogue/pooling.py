"""Pooling: what stands under a window, or in a whole image, becomes one number for each channel."""

from __future__ import annotations

import numpy as np

from compiler.front.catalogue.entry import ArgumentError, Context, Each, Pads, Value, entry
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.spatial import each, make_window, spatial_rank
from compiler.ir.dims import Dim
from compiler.ir.types import TypeMismatch
from compiler.ops.window import Window


def _pool_window(x: Value, size: Each, stride: Each | None, pad: Pads, dilation: Each, layer: str) -> Window:
    """The window of a pooling. ArgumentError where it could lie in the padding alone."""
    need_float(x, layer)
    spatial_rank(x, layer)
    window = make_window(x, size, size if stride is None else stride, pad, dilation, "size")
    for before, after, reach in zip(window.before, window.after, window.reach, strict=True):
        if max(before if isinstance(before, int) else 0, after if isinstance(after, int) else 0) >= reach:
            raise ArgumentError("pad", f"a window of {reach} would see nothing but padding where pad is {pad}")
    window.check(layer, x.type)
    return window


@entry("layer")
def max_pool(
    c: Context, x: Value, size: Each, *, stride: Each | None = None, pad: Pads = 0, dilation: Each = 1
) -> Value:
    """The largest element under a window of ``size`` that slides over the input, channel by channel.

    Takes ``[N, channels, …]`` with one to three spatial dimensions. The window moves by its own size unless ``stride``
    says otherwise; ``pad`` is as in ``conv``, and what is padded is never the largest. Sizes are rounded down, as in
    PyTorch and Keras: cells that no window reaches are left out.
    """
    return c.b.max_pool(x, _pool_window(x, size, stride, pad, dilation, "max_pool"))


@entry("layer")
def avg_pool(
    c: Context, x: Value, size: Each, *, stride: Each | None = None, pad: Pads = 0, count_pad: bool = True
) -> Value:
    """The mean under a window of ``size`` that slides over the input, channel by channel.

    Takes ``[N, channels, …]`` with one to three spatial dimensions. The window moves by its own size unless ``stride``
    says otherwise; ``pad`` is as in ``conv``. Padding counts as zeros, as in PyTorch; with ``count_pad=false`` the mean
    is over the input's own cells alone, as in Keras.
    """
    return c.b.avg_pool(x, _pool_window(x, size, stride, pad, 1, "avg_pool"), count_pad)


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
    need_float(x, "adaptive_avg_pool")
    spatial_rank(x, "adaptive_avg_pool")
    wanted = each("size", size, x)
    if set(wanted) == {1}:
        return c.b.mean(x, range(2, x.type.rank), True)
    lengths = [_known(x, axis) for axis in range(2, x.type.rank)]
    for length, parts in zip(lengths, wanted, strict=True):
        if parts > length:
            raise ArgumentError("size", f"{length} cells can't be divided into {parts} parts", f"x is {x.type}")
    if all(length % parts == 0 for length, parts in zip(lengths, wanted, strict=True)):
        kernel = tuple(length // parts for length, parts in zip(lengths, wanted, strict=True))
        nothing = (0,) * len(kernel)
        return c.b.avg_pool(x, Window(kernel, kernel, (1,) * len(kernel), nothing, nothing))
    return _by_matrices(c, x, lengths, wanted)


def _known(x: Value, axis: int) -> int:
    dim: Dim = x.type.shape[axis]
    if isinstance(dim, int):
        return dim
    raise TypeMismatch(
        "E0302",
        f"adaptive_avg_pool needs known sizes, but dimension {axis} of {x.type} is {dim}",
        f"the parts of {dim} cells depend on how many there are",
        ("give that dimension a number in the signature, or take global_avg_pool, which takes any size",),
    )


def _by_matrices(c: Context, x: Value, lengths: list[int], wanted: tuple[int, ...]) -> Value:
    """Each dimension in turn brought to the end and multiplied by a matrix of means."""
    rank = x.type.rank
    for axis, (length, parts) in enumerate(zip(lengths, wanted, strict=True), 2):
        matrix = np.zeros((length, parts), x.type.dtype.numpy)
        for part in range(parts):
            start, stop = part * length // parts, -(-(part + 1) * length // parts)
            matrix[start:stop, part] = 1 / (stop - start)
        last = (*(place for place in range(rank) if place != axis), axis)
        back = tuple(last.index(place) for place in range(rank))
        x = c.b.transpose(c.b.matmul(c.b.transpose(x, last), c.b.constant(matrix)), back)
    return x
