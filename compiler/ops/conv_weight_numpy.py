"""How the gradient of a convolution to its kernels becomes NumPy statements: a few samples at a time.

What the cells of the window meet is put side by side again, as in the convolution: to keep it would take many times
the memory of x, and to copy it costs a fifth of the product.
"""

from __future__ import annotations

from math import prod

from compiler.ir.dims import Dim, product
from compiler.ir.types import TensorType
from compiler.ops.arrays import by_channels, filled, row_major, to_first
from compiler.ops.base import NumpyLowering
from compiler.ops.conv_last_numpy import Places, Runs, many
from compiler.ops.conv_parts_numpy import Kernels, fixed_shape, shaped
from compiler.ops.samples import Image, Samples, settled, typical, windows
from compiler.ops.window import Window, cell_ranges


def lower_conv_weight(c: NumpyLowering, window: Window, groups: int) -> None:
    """Write the gradient of a convolution to its kernels: operands x and gradient."""
    places = product(c.input_types[1].shape[2:])
    kernels = Kernels(c.outputs[0], fixed_shape(c.output_types[0]), True, groups)
    if kernels.is_depthwise:
        _by_cells(c, window, kernels)
    elif kernels.groups > 1 or (kernels.terms < typical(places) and not (c.channels_last(0) and many(kernels.inputs))):
        # To add up the kernels of every sample is less than to bring the places of all of them together.
        _by_samples(c, window, kernels)
    else:
        _by_places(c, window, kernels)


def _by_samples(c: NumpyLowering, window: Window, kernels: Kernels) -> None:
    """A product for each sample, and the sum of them."""
    x, gradient = c.input_types
    samples, channels, places = x.shape[0], x.shape[1], gradient.shape[2:]
    area = product(places)
    # With the longer side first, a product is a fifth faster.
    sums = _Sums((*kernels.lead, kernels.terms, kernels.outputs_each))
    loop = Samples(c, samples, x.dtype.bytes * (channels * window.cells * area + prod(sums.shape)))
    columns, first = (row_major(c, 0), samples) if window.is_point else ("", loop.count)
    columns = columns or c.scratch(x.with_shape((loop.count, channels, *window.kernel, *places)))
    matrix = settled(c, shaped(c, columns, first, *kernels.lead, kernels.terms, area), "columns")
    given = by_channels(c, 1)
    if kernels.lead:
        given = shaped(c, given, samples, *kernels.lead, kernels.outputs_each, area)
    given = settled(c, c.view(given, "swapaxes(-1, -2)"), "gradients")
    parts = c.scratch(x.with_shape((loop.count, *sums.shape)))
    image = Image(c, loop, c.inputs[0], x, window)
    seen = "" if window.is_point else _seen(c, image, window, places)
    sums.begin(c, loop, x)
    loop.enter()
    image.load()
    if seen:
        loop.line(f"np.copyto({loop.work(columns)}, {image.part(seen)})")
    side = loop.work(matrix) if seen else loop.of(matrix)
    loop.line(f"np.matmul({side}, {loop.of(given)}, out={loop.work(parts)})")
    loop.line(f"np.add.reduce({loop.work(parts)}, axis=0, out={sums.turn})")
    result = shaped(c, c.outputs[0], *kernels.lead, kernels.outputs_each, kernels.terms)
    sums.end(c, loop, result, "swapaxes(-1, -2)")


def _by_places(c: NumpyLowering, window: Window, kernels: Kernels) -> None:
    """One product over the places of several samples. What the window meets lies with the channels last, [samples,
    *places, *kernel, channels], which takes a third of the time to copy and is the better side of the product."""
    x, gradient = c.input_types
    channels, places, rank = kernels.inputs, gradient.shape[2:], window.rank
    around, area = window.around(x.shape[2:]), product(places)
    each = channels * product(around) + area * (kernels.terms + kernels.outputs)
    loop = Samples(c, x.shape[0], x.dtype.bytes * each)
    runs = Runs(c, loop, window, places)
    last = c.channels_last(1)
    given = Places(c, loop, c.inputs[1], gradient, True) if last else None
    flat = "" if last else c.scratch(x.with_shape((loop.count * kernels.outputs * area,)))
    sums = _Sums((kernels.outputs, kernels.terms))
    sums.begin(c, loop, x)
    loop.enter()
    runs.load()
    if given:
        left = f"{given.rows}.T"
    else:
        joined = loop.joined(flat, (kernels.outputs,), places)
        loop.line(f"np.copyto({joined}, {loop.of(c.inputs[1])}.swapaxes(0, 1))")
        left = f"{joined}.reshape({kernels.outputs}, -1)"
    loop.line(f"np.matmul({left}, {runs.rows}, out={sums.turn})")
    how = f"reshape({c.shape((kernels.outputs, *window.kernel, channels))}).transpose({to_first(rank)})"
    sums.end(c, loop, c.outputs[0], how)


def _seen(c: NumpyLowering, image: Image, window: Window, places: tuple[Dim, ...]) -> str:
    """What each cell of the window meets: [N, channels, *kernel, *places]."""
    return windows(c, image.array, window.kernel, places, window.strides, window.dilations)


class _Sums:
    """The sum of what the turns of a loop give."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.turn = self._total = ""

    def begin(self, c: NumpyLowering, loop: Samples, x: TensorType) -> None:
        """Make the arrays: ``turn`` is to be filled at each turn."""
        self.turn = self._total = c.scratch(x.with_shape(self.shape))
        if loop.looped:
            self._total = c.scratch(x.with_shape(self.shape))
            c.line(f"{self._total}.fill(0)")

    def end(self, c: NumpyLowering, loop: Samples, result: str, how: str) -> None:
        """End the turn, and after the last fill ``result`` with the sum after ``.how``."""
        if loop.looped:
            loop.line(f"np.add({self._total}, {self.turn}, out={self._total})")
        c.line(f"np.copyto({result}, {self._total}.{how})")


def _by_cells(c: NumpyLowering, window: Window, kernels: Kernels) -> None:
    """One cell after the other: each channel has its own kernels, so that there is nothing to multiply as matrices."""
    x, gradient = c.input_types
    samples, places = x.shape[0], gradient.shape[2:]
    each = (kernels.outputs_each,) if kernels.outputs_each > 1 else ()
    shape, area = (kernels.groups, *each), product(places)
    around = product(window.around(x.shape[2:])) * x.shape[1]
    loop = Samples(c, samples, x.dtype.bytes * (around + 2 * kernels.outputs * area))
    part = c.scratch(x.with_shape((loop.count, *shape, *places)))
    flat = shaped(c, part, loop.count, kernels.outputs, area)
    sums = c.scratch(x.with_shape((loop.count, kernels.outputs)))
    total = c.scratch(x.with_shape((kernels.outputs,)))
    result = shaped(c, c.outputs[0], kernels.outputs, window.cells)
    given = settled(c, shaped(c, row_major(c, 1), samples, *shape, *places), "gradients")
    ones = filled(c, area, "1", x.dtype)
    image = Image(c, loop, c.inputs[0], x, window)
    array = settled(c, c.view(image.array, "{}[:, :, None]"), "channels") if each else image.array
    c.line(f"{result}.fill(0)")
    loop.enter()
    image.load()
    for number, cell in enumerate(window.offsets()):
        seen = image.part(array, cell_ranges(c, cell, window, places))
        loop.line(f"np.multiply({seen}, {loop.of(given)}, out={loop.work(part)})")
        loop.line(f"np.dot({loop.work(flat)}, {ones}, out={loop.work(sums)})")
        loop.line(f"np.add.reduce({loop.work(sums)}, axis=0, out={total})")
        loop.line(f"np.add({result}[:, {number}], {total}, out={result}[:, {number}])")
