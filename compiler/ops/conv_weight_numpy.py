"""How the gradient of a convolution to its kernels becomes NumPy statements: a few samples at a time.

What the cells of the window meet is put side by side again, as in the convolution: to keep it would take many times
the memory of x, and to copy it costs a fifth of the product.
"""

from __future__ import annotations

from math import prod

from compiler.ir.dims import Dim, product
from compiler.ir.types import TensorType
from compiler.ops.arrays import filled, row_major
from compiler.ops.base import NumpyLowering
from compiler.ops.conv_numpy import Kernels, fixed_shape, shaped
from compiler.ops.samples import Image, Samples, settled, typical, windows
from compiler.ops.window import Window, cell_ranges, ranges


def lower_conv_weight(c: NumpyLowering, window: Window, groups: int) -> None:
    """Write the gradient of a convolution to its kernels: operands x and gradient."""
    places = product(c.input_types[1].shape[2:])
    kernels = Kernels(c.outputs[0], fixed_shape(c.output_types[0]), True, groups)
    if kernels.is_depthwise:
        _by_cells(c, window, kernels)
    elif kernels.groups > 1 or kernels.terms < typical(places):
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
    how = f"reshape({c.shape((samples, *kernels.lead, kernels.outputs_each, area))}).swapaxes(-1, -2)"
    given = settled(c, c.view(row_major(c, 1), how), "gradients")
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
    turned = c.scratch(x.with_shape((loop.count, *around, channels)))
    image = c.view(turned, f"transpose({(0, rank + 1, *range(1, rank + 1))})")
    side, seen = turned, ""
    if not window.is_point:
        side = c.scratch(x.with_shape((loop.count, *places, *window.kernel, channels)))
        seen = windows(c, image, window.kernel, places, window.strides, window.dilations)
        seen = c.view(seen, f"transpose({(0, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank), 1)})")
    matrix = shaped(c, side, loop.count * area, kernels.terms)
    flat = c.scratch(x.with_shape((loop.count * kernels.outputs * area,)))
    sums = _Sums((kernels.outputs, kernels.terms))
    if window.padded:
        c.line(f"{turned}.fill(0)")
    sums.begin(c, loop, x)
    loop.enter()
    inside = ranges(c, window.before, x.shape[2:], (1,) * rank) if window.padded else ""
    loop.line(f"np.copyto({loop.work(image, inside)}, {loop.of(c.inputs[0])})")
    if seen:
        loop.line(f"np.copyto({loop.work(side)}, {loop.work(seen)})")
    given = loop.joined(flat, (kernels.outputs,), places)
    loop.line(f"np.copyto({given}, {loop.of(c.inputs[1])}.swapaxes(0, 1))")
    terms = f"{matrix}[:{loop.number}*{c.dim(area)}]" if loop.looped else matrix
    loop.line(f"np.matmul({given}.reshape({kernels.outputs}, -1), {terms}, out={sums.turn})")
    order = (0, rank + 1, *range(1, rank + 1))
    how = f"reshape({c.shape((kernels.outputs, *window.kernel, channels))}).transpose({order})"
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
