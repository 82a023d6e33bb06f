"""How a transposed convolution becomes NumPy statements: a few samples at a time, by matrix products."""

from __future__ import annotations

from dataclasses import replace

from compiler.ir.dims import Dim, less_equal, product
from compiler.ir.types import TensorType
from compiler.ops.arrays import by_channels, row_major
from compiler.ops.base import NumpyLowering
from compiler.ops.conv_last_numpy import FoldLast, many
from compiler.ops.conv_numpy import correlate
from compiler.ops.conv_parts_numpy import Kernels, Rows, add_bias, fixed_shape, row_kernels, shaped
from compiler.ops.conv_phases_numpy import has_phases, lower_phases
from compiler.ops.samples import Samples, settled, typical
from compiler.ops.window import Window, cell_ranges, ranges


def lower_conv_transpose(c: NumpyLowering, window: Window, groups: int) -> None:
    """Write a transposed convolution: operands gradient, kernels and perhaps a bias."""
    gradient, size = c.input_types[0], c.output_types[0].shape[2:]
    kernels = Kernels(c.inputs[1], fixed_shape(c.input_types[1]), c.contiguous(1), groups)
    mirrored = _mirrored(window, gradient.shape[2:], size)
    if mirrored is not None and _is_better(gradient, size, kernels):
        correlate(c, gradient, mirrored, _mirrored_kernels(c, kernels))
    elif groups == 1 and has_phases(window, gradient, c.output_types[0], c.input_types[1]):
        lower_phases(c, window, kernels)
    elif groups == 1 and many(kernels.inputs) and (c.channels_last(0) or c.gives_channels_last):
        FoldLast(c, window, kernels).write()
    else:
        _Fold(c, window, kernels).write()


def _is_better(gradient: TensorType, size: tuple[Dim, ...], kernels: Kernels) -> bool:
    """Whether a convolution is faster than adding up what each cell gives: it makes as many products for each place of
    its result as that does for each place of the gradient, and where there are few channels to make, slowly."""
    few = 4 * kernels.inputs < kernels.outputs_each
    more = 10 * typical(product(size)) > 11 * typical(product(gradient.shape[2:]))
    return kernels.is_depthwise or not (few or more)


def _mirrored(window: Window, places: tuple[Dim, ...], size: tuple[Dim, ...]) -> Window | None:
    """The window of the convolution that a transposed one is where the stride is 1; None where it is none."""
    before = tuple(reach - 1 - amount for reach, amount in zip(window.reach, window.before, strict=True))
    around = zip(size, places, window.reach, before, strict=True)
    after = tuple(whole - place + reach - 1 - amount for whole, place, reach, amount in around)
    if set(window.strides) != {1} or not all(less_equal(0, amount) for amount in (*before, *after)):
        return None
    return replace(window, before=before, after=after)


def _mirrored_kernels(c: NumpyLowering, kernels: Kernels) -> Kernels:
    """The kernels with outputs and inputs in each other's place, and every kernel axis reversed."""
    inner = kernels.shape[2:]
    shape = (kernels.groups * kernels.inputs, kernels.outputs_each, *inner)
    back = ", ".join(["...", *["::-1"] * len(inner)])
    if kernels.groups == 1:
        array = settled(c, c.view(kernels.array, f"swapaxes(0, 1)[{back}]"), "kernels")
        return Kernels(array, shape, False, 1)
    apart = (kernels.groups, kernels.outputs_each, *kernels.shape[1:])
    copied = c.scratch(TensorType(c.input_types[1].dtype, shape))
    target = shaped(c, copied, kernels.groups, kernels.inputs, kernels.outputs_each, *inner)
    c.line(f"np.copyto({target}, {kernels.array}.reshape({c.shape(apart)}).swapaxes(1, 2)[{back}])")
    return Kernels(copied, shape, True, kernels.groups)


# With fewer channels than this it does not pay to have them side by side.
_FEW_CHANNELS = 16


class _Fold:
    """What each cell of the window gives to each of its places, by products with the kernels, added up."""

    def __init__(self, c: NumpyLowering, window: Window, kernels: Kernels) -> None:
        self.c, self.window, self.kernels = c, window, kernels
        self.gradient, self.result = c.input_types[0], c.output_types[0]
        self.places, self.channels = self.gradient.shape[2:], kernels.groups * kernels.inputs
        self.area = product(self.places)
        self.around = window.around(self.result.shape[2:])

    def write(self) -> None:
        if self.window.is_point:
            self._points()
        elif self.kernels.slides(self.window):
            self._rows()
        elif self.kernels.groups == 1 and self.channels >= _FEW_CHANNELS:
            FoldLast(self.c, self.window, self.kernels).write()
        else:
            self._columns()

    def _loop(self, *each: Dim) -> Samples:
        elements = sum(each, 2 * self.channels * product(self.around))
        return Samples(self.c, self.gradient.shape[0], elements * self.gradient.dtype.bytes)

    def _work(self, *sizes: Dim) -> str:
        return self.c.scratch(self.gradient.with_shape(sizes))

    def _given(self) -> str:
        """The operand [N, groups, outputs of each, places]."""
        c, kernels = self.c, self.kernels
        given = by_channels(c, 0)
        if kernels.lead:
            given = shaped(c, given, self.gradient.shape[0], *kernels.lead, kernels.outputs_each, self.area)
        return settled(c, given, "gradients")

    def _matrix(self) -> str:
        """The kernels [groups, terms, outputs of each], as a view."""
        c, kernels = self.c, self.kernels
        shape = c.shape((*kernels.lead, kernels.outputs_each, kernels.terms))
        return settled(c, c.view(row_major(c, 1), f"reshape({shape}).swapaxes(-1, -2)"), "kernels")

    def _points(self) -> None:
        c, kernels = self.c, self.kernels
        given, weight = self._given(), self._matrix()
        result = shaped(c, c.outputs[0], self.result.shape[0], *kernels.lead, kernels.inputs, self.area)
        loop = self._loop()
        loop.enter()
        loop.line(f"np.matmul({weight}, {loop.of(given)}, out={loop.of(result)})")
        add_bias(c, self.window, loop)

    def _columns(self) -> None:
        """One product for all cells."""
        c, kernels, window = self.c, self.kernels, self.window
        loop = self._loop(self.channels * window.cells * self.area)
        given, weight = self._given(), self._matrix()
        columns = self._work(loop.count, self.channels, *window.kernel, *self.places)
        matrix = shaped(c, columns, loop.count, *kernels.lead, kernels.terms, self.area)
        whole = self._whole(loop)
        loop.enter()
        loop.line(f"np.matmul({weight}, {loop.of(given)}, out={loop.work(matrix)})")
        self._add_up(loop, whole, window, self.places, columns)

    def _rows(self) -> None:
        """A product for each row of the window, added up with a shift for all cells of the row at once, and these then
        one by one. Half as much to add up, and most of it contiguous."""
        c, kernels, window = self.c, self.kernels, self.window
        rows = Rows(self.result, window, self.places)
        loop = self._loop(2 * product(rows.shape))
        given, weight = self._given(), row_kernels(c, self.gradient, window, kernels)
        side = self._work(loop.count, *rows.shape)
        terms = kernels.inputs * rows.cells
        flat = shaped(c, side, loop.count, *kernels.lead, terms, rows.count * rows.width)
        part = self._work(loop.count, *kernels.lead, terms, self.area)
        whole, shift = self._whole(loop), c.local("shifted")
        loop.enter()
        loop.line(f"{loop.work(flat)}[..., {c.dim(self.area)}:] = 0")
        for row in range(window.kernel[0]):
            index = rows.index(c, row)
            out = loop.work(part) if row else loop.work(flat, index)
            loop.line(f"np.matmul({weight}[{row}].swapaxes(-1, -2), {loop.of(given)}, out={out})")
            if row:
                loop.line(f"{shift} = {loop.work(flat, index)}")
                loop.line(f"np.add({shift}, {out}, out={shift})")
        self._add_up(loop, whole, window.one_row(), (rows.count, *self.places[1:]), side)

    def _whole(self, loop: Samples) -> str:
        """A work array for the result with its padding; "" where it has none."""
        return self._work(loop.count, self.channels, *self.around) if self.window.padded else ""

    def _add_up(self, loop: Samples, whole: str, window: Window, places: tuple[Dim, ...], columns: str) -> None:
        """Add [N, channels, *kernel, *places] up where each cell meets each place, cut the padding off, and add the
        bias."""
        c, out = self.c, loop.of(self.c.outputs[0])
        target, cell_target = c.local("target"), c.local("cell")
        loop.line(f"{target} = {loop.work(whole) if whole else out}")
        loop.line(f"{target}.fill(0)")
        apart = all(stride >= reach for stride, reach in zip(window.strides, window.reach, strict=True))
        for cell in window.offsets():
            loop.line(f"{cell_target} = {target}[{cell_ranges(c, cell, window, places)}]")
            given = loop.work(columns, ", ".join([":", *map(str, cell)]))
            together = f"copyto({cell_target}, {given})" if apart else f"add({cell_target}, {given}, out={cell_target})"
            loop.line(f"np.{together}")
        if whole:
            inside = ranges(c, self.window.before, self.result.shape[2:], (1,) * window.rank)
            loop.line(f"np.copyto({out}, {target}[{inside}])")
        add_bias(c, self.window, loop)
