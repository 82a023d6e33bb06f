"""How convolutions become NumPy statements where channels lie last in memory, [samples, *places, channels].

What a window meets then lies in runs as long as one of its rows, and the product of that, [places, cells * channels],
with the kernels is the result as it lies: nothing is turned.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from compiler.ir.dims import Dim, product
from compiler.ir.types import TensorType
from compiler.ops.arrays import to_first, to_last
from compiler.ops.base import NumpyLowering
from compiler.ops.conv_parts_numpy import Kernels, Rows, add_bias, shaped
from compiler.ops.samples import Samples, settled, windows
from compiler.ops.window import Window, cell_ranges, ranges

# Of fewer channels than this it does not pay to have them side by side.
FEW_CHANNELS = 8


def many(channels: Dim) -> bool:
    """Whether so many channels are worth to have side by side."""
    return isinstance(channels, int) and channels >= FEW_CHANNELS


class Places:
    """An operand or result [N, C, *spatial] as rows [places, C] of a few samples: as it lies in memory, or by way of a
    work array."""

    def __init__(self, c: NumpyLowering, loop: Samples, array: str, type: TensorType, last: bool) -> None:
        self.array, self._loop, self._own = array, loop, last
        self.area = product(type.shape[2:])
        whole = array
        if not last:
            whole = self.array = c.scratch(type.with_shape((loop.count, *type.shape[1:])), channels_last=True)
        turned = c.view(whole, f"transpose({to_last(type.rank - 2)})")
        self._given, self._rows = array, settled(c, shaped(c, turned, -1, type.shape[1]), "rows")

    def load(self) -> None:
        """Copy an operand into the work array, where there is one."""
        if not self._own:
            self._loop.line(f"np.copyto({self._loop.work(self.array)}, {self._loop.of(self._given)})")

    def store(self) -> None:
        """Copy a result out of the work array, where there is one."""
        if not self._own:
            self._loop.line(f"np.copyto({self._loop.of(self._given)}, {self._loop.work(self.array)})")

    @property
    def rows(self) -> str:
        """The rows of the turn."""
        return self._loop.of_rows(self._rows, self.area) if self._own else self._loop.work_rows(self._rows, self.area)


class Runs:
    """What a window meets of operand 0 [N, C, *spatial], as rows [places, cells * C] of a few samples."""

    def __init__(self, c: NumpyLowering, loop: Samples, window: Window, places: tuple[Dim, ...]) -> None:
        type, rank = c.input_types[0], window.rank
        self._loop, self._x, self._area = loop, c.inputs[0], product(places)
        self._own = c.channels_last(0) and not window.padded
        self._image, self._inside = c.inputs[0], ""
        if not self._own:
            around = (loop.count, type.shape[1], *window.around(type.shape[2:]))
            self._image = c.scratch(type.with_shape(around), channels_last=True)
        if window.padded:
            self._inside = ranges(c, window.before, type.shape[2:], (1,) * rank)
            c.line(f"{self._image}.fill(0)")
        self._columns = self._seen = ""
        if window.is_point:
            rows = shaped(c, c.view(self._image, f"transpose({to_last(rank)})"), -1, type.shape[1])
        else:
            self._columns = c.scratch(type.with_shape((loop.count, *places, *window.kernel, type.shape[1])))
            seen = windows(c, self._image, window.kernel, places, window.strides, window.dilations)
            order = (0, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank), 1)
            self._seen = settled(c, c.view(seen, f"transpose({order})"), "runs")
            rows = shaped(c, self._columns, -1, window.cells * type.shape[1])
        self._rows = settled(c, rows, "rows")

    def load(self) -> None:
        """Put it side by side."""
        loop = self._loop
        if not self._own:
            loop.line(f"np.copyto({loop.work(self._image, self._inside)}, {loop.of(self._x)})")
        if self._seen:
            seen = loop.of(self._seen) if self._own else loop.work(self._seen)
            loop.line(f"np.copyto({loop.work(self._columns)}, {seen})")

    @property
    def rows(self) -> str:
        """The rows of the turn."""
        own = self._own and not self._columns
        return self._loop.of_rows(self._rows, self._area) if own else self._loop.work_rows(self._rows, self._area)


def correlate_last(c: NumpyLowering, window: Window, kernels: Kernels) -> None:
    """Write a convolution of operand 0 into the first result, with operand 2 as the bias if it is there: one product
    for several samples."""
    x, result = c.input_types[0], c.output_types[0]
    places = result.shape[2:]
    around, area = product(window.around(x.shape[2:])), product(places)
    each = around * kernels.inputs + area * (kernels.terms + kernels.outputs)
    loop = Samples(c, x.shape[0], each * x.dtype.bytes)
    weight = _outputs_last(c, window, kernels)
    runs = Runs(c, loop, window, places)
    out = Places(c, loop, c.outputs[0], result, c.gives_channels_last)
    loop.enter()
    runs.load()
    loop.line(f"np.matmul({runs.rows}, {weight}, out={out.rows})")
    out.store()
    add_bias(c, window, loop)


# Bytes apart at which lines of memory are kept in the same places of a cache, and a few elements to keep them apart.
_ALIASES, _APART = 4096, 16


def _outputs_last(c: NumpyLowering, window: Window, kernels: Kernels) -> str:
    """The kernels as a matrix [cells * inputs, outputs]."""
    type, rank = c.input_types[1], window.rank
    weight = shaped(c, c.scratch(type.with_shape((kernels.terms * kernels.outputs,))), -1, kernels.outputs)
    if kernels.terms * type.dtype.bytes % _ALIASES:
        cells = shaped(c, weight, *window.kernel, kernels.inputs, kernels.outputs)
        c.line(f"np.copyto({cells}, {kernels.array}.transpose({(*range(2, rank + 2), 1, 0)}))")
        return weight
    apart = c.view(c.scratch(type.with_shape((kernels.outputs, kernels.terms + _APART))), f"{{}}[:, :{kernels.terms}]")
    cells = shaped(c, apart, kernels.outputs, *window.kernel, kernels.inputs)
    c.line(f"np.copyto({cells}, {kernels.array}.transpose({to_last(rank)}))")
    c.line(f"np.copyto({weight}, {c.view(apart, 'T')})")
    return weight


class FoldLast:
    """A transposed convolution, of operands gradient, kernels and perhaps a bias: what each cell of the window gives to
    each of its places, by products with the kernels, added up in runs of channels."""

    def __init__(self, c: NumpyLowering, window: Window, kernels: Kernels) -> None:
        self.c, self.window, self.kernels = c, window, kernels
        self.gradient, self.result = c.input_types[0], c.output_types[0]
        self.places, self.channels = self.gradient.shape[2:], kernels.inputs
        self.area = product(self.places)
        self.around = window.around(self.result.shape[2:])

    def write(self) -> None:
        c, window = self.c, self.window
        rows = Rows(self.result, window, self.places) if self.kernels.slides(window) else None
        columns = window.cells * self.area * self.channels
        columns = product(rows.shape) + rows.cells * self.area * self.channels if rows else columns
        each = columns + self.area * self.kernels.outputs + product(self.around) * self.channels
        loop = Samples(c, self.gradient.shape[0], each * self.gradient.dtype.bytes)
        given = Places(c, loop, c.inputs[0], self.gradient, c.channels_last(0))
        if window.is_point:
            self._point(loop, given)
        elif rows:
            self._rows(loop, given, rows)
        else:
            self._cells(loop, given)
        add_bias(c, window, loop)

    def _work(self, *sizes: Dim) -> str:
        return self.c.scratch(self.gradient.with_shape(sizes))

    def _weight(self, order: tuple[int, ...], *sizes: int) -> str:
        """The kernels [outputs, channels, *kernel] with their axes in this order, and then as an array of ``sizes``."""
        shape = self.c.input_types[1].shape
        weight = self._work(*(shape[axis] for axis in order))
        self.c.line(f"np.copyto({weight}, {self.c.inputs[1]}.transpose({order}))")
        return shaped(self.c, weight, *sizes)

    def _point(self, loop: Samples, given: Places) -> None:
        weight = self._weight((0, 1, *range(2, 2 + self.window.rank)), self.kernels.outputs, self.channels)
        out = Places(self.c, loop, self.c.outputs[0], self.result, self.c.gives_channels_last)
        loop.enter()
        given.load()
        loop.line(f"np.matmul({given.rows}, {weight}, out={out.rows})")
        out.store()

    def _cells(self, loop: Samples, given: Places) -> None:
        """One product for all cells, which are then added up one by one."""
        c, window, kernels = self.c, self.window, self.kernels
        weight = self._weight((0, *range(2, 2 + window.rank), 1), kernels.outputs, -1)
        columns = self._work(loop.count, *self.places, *window.kernel, self.channels)
        flat = shaped(c, columns, -1, window.cells * self.channels)
        whole = self._whole(loop)
        loop.enter()
        given.load()
        loop.line(f"np.matmul({given.rows}, {weight}, out={loop.work_rows(flat, self.area)})")
        self._add_up(loop, whole, window, self.places, columns)

    def _rows(self, loop: Samples, given: Places, rows: Rows) -> None:
        """A product for each row of the window, added up with a shift for all cells of the row at once, which is one
        run, and these then one by one."""
        c, window, kernels = self.c, self.window, self.kernels
        order = (2, 0, *range(3, 2 + window.rank), 1)
        weight = self._weight(order, window.kernel[0], kernels.outputs, -1)
        inner, terms = window.kernel[1:], rows.cells * self.channels
        side = self._work(loop.count, rows.count, *self.places[1:], *inner, self.channels)
        lines = shaped(c, side, loop.count, rows.count * rows.width, terms)
        part = self._work(loop.count * self.area, terms)
        apart = shaped(c, part, loop.count, self.area, terms)
        whole, shift = self._whole(loop), c.local("shifted")
        loop.enter()
        given.load()
        for row in range(window.kernel[0]):
            start = row * window.dilations[0] * rows.width
            loop.line(f"np.matmul({given.rows}, {weight}[{row}], out={loop.work_rows(part, self.area)})")
            loop.line(f"{shift} = {loop.work(lines, f'{c.dim(start)}:{c.dim(start + self.area)}')}")
            if row:
                loop.line(f"np.add({shift}, {loop.work(apart)}, out={shift})")
            else:
                loop.line(f"np.copyto({shift}, {loop.work(apart)})")
                loop.line(f"{loop.work(lines, f'{c.dim(self.area)}:')} = 0")
        self._add_up(loop, whole, window.one_row(), (rows.count, *self.places[1:]), side)

    def _whole(self, loop: Samples) -> str:
        """Where cells are added up, [N, *around, channels]: the result as it lies, or a work array."""
        if self.c.gives_channels_last and not self.window.padded:
            whole = self.c.view(self.c.outputs[0], f"transpose({to_last(self.window.rank)})")
            return settled(self.c, whole, "whole")
        return self._work(loop.count, *self.around, self.channels)

    def _add_up(self, loop: Samples, whole: str, window: Window, places: tuple[Dim, ...], columns: str) -> None:
        """Add [N, *places, *kernel, channels] up where each cell meets each place, and cut the padding off."""
        c, rank = self.c, window.rank
        own = c.gives_channels_last and not self.window.padded
        target, cell_target = map(c.local, ("target", "cell"))
        loop.line(f"{target} = {loop.of(whole) if own else loop.work(whole)}")
        first = (0,) * rank if set(window.strides) == {1} else None
        for line in _rest(c, target, self.around, places) if first else [f"{target}.fill(0)"]:
            loop.line(line)
        kernel = window.kernel if prod(window.kernel) == self.window.cells else window.kernel[1:]
        for cell in window.offsets():
            index = ", ".join([*":" * rank, *map(str, cell[rank - len(kernel) :])])
            loop.line(f"{cell_target} = {target}[{cell_ranges(c, cell, window, places)}, :]")
            given = loop.work(columns, index)
            if cell == first:
                loop.line(f"np.copyto({cell_target}, {given})")
            else:
                loop.line(f"np.add({cell_target}, {given}, out={cell_target})")
        if not own:
            inside = ranges(c, self.window.before, self.result.shape[2:], (1,) * rank)
            loop.line(f"np.copyto({loop.of(c.outputs[0])}, {target}[{inside}, :].transpose({to_first(rank)}))")


def _rest(c: NumpyLowering, target: str, around: tuple[Dim, ...], places: tuple[Dim, ...]) -> Iterator[str]:
    """Statements that clear of [N, *around, channels] what lies behind the first places of each axis."""
    for axis, (size, count) in enumerate(zip(around, places, strict=True)):
        if size != count:
            yield f"{target}[{', '.join([*':' * (axis + 1), f'{c.dim(count)}:'])}] = 0"
