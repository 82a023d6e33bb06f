"""NumPy statements for windows that reduce what they meet, axis by axis: as many steps as a window is long, instead of
as many as it has cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compiler.ir.dims import Dim, product
from compiler.ir.types import TensorType
from compiler.ops.base import NumpyLowering
from compiler.ops.samples import Image, Samples
from compiler.ops.window import Window


def reduce_windows(
    c: NumpyLowering, loop: Samples, image: Image, window: Window, ufunc: str, result: TensorType
) -> None:
    """Fill the first result, for the samples of the turn, with ``ufunc`` over the cells of the window at each place.

    ``loop`` has not been entered, and is inside afterwards.
    """
    places = result.shape[2:]
    axes = [axis for axis in range(window.rank) if (window.kernel[axis], window.strides[axis]) != (1, 1)]
    steps = []
    sizes = list(image.sizes)
    for axis in axes[:-1]:
        sizes[axis] = places[axis]
        work = c.scratch(result.with_shape((loop.count, result.shape[1], *sizes)), c.gives_channels_last)
        steps.append((axis, work))
    loop.enter()
    image.load()
    source = image.part(image.array)
    for axis, work in steps:
        _reduce_axis(c, loop, source, window, ufunc, axis, places[axis], loop.work(work))
        source = loop.work(work)
    out = loop.of(c.outputs[0])
    if axes:
        _reduce_axis(c, loop, source, window, ufunc, axes[-1], places[axes[-1]], out)
    else:
        loop.line(f"np.copyto({out}, {source})")


def _reduce_axis(
    c: NumpyLowering, loop: Samples, source: str, window: Window, ufunc: str, axis: int, places: Dim, out: str
) -> None:
    first, *others = (f"{source}[{index}]" for index in axis_ranges(c, window, axis, places))
    if not others:
        loop.line(f"np.copyto({out}, {first})")
    for other in others:
        loop.line(f"np.{ufunc}({first}, {other}, out={out})")
        first = out


def axis_ranges(c: NumpyLowering, window: Window, axis: int, places: Dim) -> Iterator[str]:
    """For each cell of the window along one spatial axis, the text of the index of what it meets at each place."""
    stride, behind = window.strides[axis], [":"] * (window.rank - 1 - axis)
    for cell in range(window.kernel[axis]):
        start = cell * window.dilations[axis]
        stop = start + (places - 1) * stride + 1
        part = f"{c.dim(start)}:{c.dim(stop)}" + (f":{stride}" if stride > 1 else "")
        yield ", ".join(["...", part, *behind])


def spread_windows(
    c: NumpyLowering, loop: Samples, source: str, window: Window, places: Sequence[Dim], target: str, type: TensorType
) -> None:
    """Add what stands at each place up in every cell that the window meets there: the inverse of summing.

    ``target``, a work array or the result, has the padding of the window; ``source`` is what stands at the places, for
    the samples of the turn. Inside the loop.
    """
    axes = [axis for axis in range(window.rank) if (window.kernel[axis], window.strides[axis]) != (1, 1)]
    sizes, whole = list(places), window.around(type.shape[2:])
    for axis in axes:
        sizes[axis] = whole[axis]
        out = target
        if axis != axes[-1]:
            work = c.scratch(type.with_shape((loop.count, type.shape[1], *sizes)), c.gives_channels_last)
            out = loop.work(work)
        apart = window.strides[axis] >= window.reach[axis]
        covered = window.kernel[axis] == window.strides[axis] and places[axis] * window.strides[axis] == sizes[axis]
        if not (apart and covered):
            loop.line(f"{out}.fill(0)")
        for index in axis_ranges(c, window, axis, places[axis]):
            cell = f"{out}[{index}]"
            loop.line(f"np.copyto({cell}, {source})" if apart else f"np.add({cell}, {source}, out={cell})")
        source = out
    if not axes:
        loop.line(f"np.copyto({target}, {source})")


def pool_loop(c: NumpyLowering, x: TensorType, window: Window) -> Samples:
    """A loop over the samples of x, so that one with its padding and what is made of it stay in the cache."""
    elements = 2 * x.shape[1] * product(window.around(x.shape[2:])) if x.rank > 1 else 1
    return Samples(c, x.shape[0], elements * x.dtype.bytes)
