"""How convolution and its gradients become NumPy statements: a few samples at a time, by matrix products.

Where NumPy offers several ways, sizes that are known choose (the comments say by what was measured): all cells of the
window side by side and one product; the cells of one row of it side by side, and a product for each row; or, where
every channel has a kernel of its own, no product at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.ir.dims import Dim, less_equal, product
from compiler.ir.types import TensorType
from compiler.ops.arrays import row_major
from compiler.ops.base import NumpyLowering
from compiler.ops.samples import Image, Samples, settled, windows
from compiler.ops.window import Window, cell_ranges, ranges, require_places

# A product with fewer columns than this is slow, so that cells are rather put side by side.
_FEW = 32


@dataclass(frozen=True)
class Kernels:
    """The kernels of a convolution as an array [outputs, inputs / groups, *kernel], in row-major order or not."""

    array: str
    shape: tuple[int, ...]
    row_major: bool
    groups: int

    @property
    def outputs(self) -> int:
        return self.shape[0]

    @property
    def inputs(self) -> int:
        """The channels that each output sees."""
        return self.shape[1]

    @property
    def lead(self) -> tuple[int, ...]:
        """The axis of groups that products have, where there are several."""
        return (self.groups,) if self.groups > 1 else ()

    @property
    def outputs_each(self) -> int:
        return self.outputs // self.groups

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel has a kernel or two of its own, for which products are too small."""
        return self.inputs == 1 and self.outputs_each <= 2 and self.groups > 1


def lower_conv(c: NumpyLowering, window: Window, groups: int) -> None:
    """Write a convolution: operands x, kernels and perhaps a bias."""
    x, weight = c.input_types[:2]
    require_places(c, window, x)
    kernels = Kernels(c.inputs[1], fixed_shape(weight), c.contiguous(1), groups)
    _Correlation(c, x, window, kernels).write()


def lower_conv_transpose(c: NumpyLowering, window: Window, groups: int) -> None:
    """Write a transposed convolution: operands gradient, kernels and perhaps a bias."""
    gradient, weight = c.input_types[:2]
    size = c.output_types[0].shape[2:]
    kernels = Kernels(c.inputs[1], fixed_shape(weight), c.contiguous(1), groups)
    mirrored = _mirrored(window, gradient.shape[2:], size)
    # With a stride of 1 it is itself a convolution, by the mirrored kernels. Where there are far fewer channels to
    # make than to read, adding up what each cell gives is faster: 5 instead of 17 ms for 32 channels to 3.
    if mirrored is not None and not window.is_point and 4 * kernels.inputs >= kernels.outputs_each:
        _Correlation(c, gradient, mirrored, _mirrored_kernels(c, kernels)).write()
    else:
        _fold(c, window, kernels)

def fixed_shape(type: TensorType) -> tuple[int, ...]:
    return tuple(dim for dim in type.shape if isinstance(dim, int))


def _mirrored(window: Window, places: tuple[Dim, ...], size: tuple[Dim, ...]) -> Window | None:
    """The window of the convolution that a transposed one with stride 1 is; None where it is none."""
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
        return Kernels(c.view(kernels.array, f"swapaxes(0, 1)[{back}]"), shape, False, 1)
    apart = (kernels.groups, kernels.outputs_each, *kernels.shape[1:])
    copied = c.scratch(TensorType(c.input_types[1].dtype, shape))
    target = c.view(copied, f"reshape({c.shape((kernels.groups, kernels.inputs, kernels.outputs_each, *inner))})")
    c.line(f"np.copyto({target}, {kernels.array}.reshape({c.shape(apart)}).swapaxes(1, 2)[{back}])")
    return Kernels(copied, shape, True, kernels.groups)


class _Correlation:
    """The statements of a convolution over operand 0 into the first result, with operand 2 as the bias if it is there."""

    def __init__(self, c: NumpyLowering, type: TensorType, window: Window, kernels: Kernels) -> None:
        self.c, self.type, self.window, self.kernels = c, type, window, kernels
        self.places = window.places(type.shape[2:])
        self.out = c.outputs[0]

    def write(self) -> None:
        first, *inner = self.window.kernel
        if self.window.is_point:
            self._points()
        elif self.kernels.is_depthwise:
            self._cells()
        elif first > 1 and self.window.strides[0] == 1 and self.kernels.inputs * _product(inner) >= _FEW:
            self._rows()
        else:
            self._columns()

    def _result(self) -> str:
        """The result [N, groups, outputs of each, places]; there is no axis of groups where there is one."""
        shape = (self.type.shape[0], *self.kernels.lead, self.kernels.outputs_each, product(self.places))
        return self.c.view(self.out, f"reshape({self.c.shape(shape)})")

    def _loop(self, *each: Dim) -> Samples:
        """A loop for which a sample takes so many elements of work arrays; its padded copy and results come on top."""
        around = product(self.window.around(self.type.shape[2:])) * self.type.shape[1]
        elements = sum(each, around + self.kernels.outputs * product(self.places))
        return Samples(self.c, self.type.shape[0], elements * self.type.dtype.bytes)

    def _matrix(self) -> str:
        """The kernels [groups, outputs of each, inputs * cells] in row-major order."""
        c, kernels = self.c, self.kernels
        array = kernels.array
        if not kernels.row_major:
            array = c.scratch(TensorType(self.type.dtype, kernels.shape))
            c.line(f"np.copyto({array}, {kernels.array})")
        shape = (*kernels.lead, kernels.outputs_each, kernels.inputs * self.window.cells)
        return c.view(array, f"reshape({c.shape(shape)})")

    def _points(self) -> None:
        """One cell: the tensor itself has what is to be multiplied side by side."""
        c, kernels = self.c, self.kernels
        shape = (self.type.shape[0], *kernels.lead, kernels.inputs, product(self.places))
        x = c.view(row_major(c, 0), f"reshape({c.shape(shape)})")
        c.line(f"np.matmul({self._matrix()}, {x}, out={self._result()})")
        if len(c.inputs) == 3:
            c.line(f"np.add({self.out}, {self._bias()}, out={self.out})")

    def _columns(self) -> None:
        """All cells side by side, and one product."""
        c, kernels, window = self.c, self.kernels, self.window
        channels, cells = self.type.shape[1], window.cells
        loop = self._loop(channels * cells * product(self.places))
        columns = c.scratch(self.type.with_shape((loop.count, channels, *window.kernel, *self.places)))
        shape = (loop.count, *kernels.lead, kernels.inputs * cells, product(self.places))
        matrix = c.view(columns, f"reshape({c.shape(shape)})")
        weight, result = self._matrix(), self._result()
        image = Image(c, loop, c.inputs[0], self.type, window)
        seen = windows(c, image.array, window.kernel, self.places, window.strides, window.dilations)
        loop.enter()
        image.load()
        loop.line(f"np.copyto({loop.work(columns)}, {image.part(seen)})")
        loop.line(f"np.matmul({weight}, {loop.work(matrix)}, out={loop.of(result)})")
        self._add_bias(loop)

    def _rows(self) -> None:
        """The cells of the inner axes side by side, and a product for each cell of the first axis, along which what is
        side by side is only shifted. Twice as fast where there are many channels, as most of the copying is gone."""
        c, kernels, window = self.c, self.kernels, self.window
        inner, width = _product(window.kernel[1:]), product(self.places[1:])
        rows = window.around(self.type.shape[2:])[0]
        is_shift = inner == 1 and set(window.strides[1:]) <= {1}
        lines = 0 if is_shift else self.type.shape[1] * inner * rows * width
        loop = self._loop(lines, kernels.outputs * product(self.places))
        weight = self._row_kernels()
        part = c.scratch(self.type.with_shape((loop.count, *kernels.lead, kernels.outputs_each, product(self.places))))
        image = Image(c, loop, self._source(is_shift), self.type, window)
        side = image.array if is_shift else self._side(loop.count, rows)
        first = self.type.shape[0] if is_shift and not image.padded else loop.count
        flat = c.view(side, f"reshape({c.shape((first, *kernels.lead, kernels.inputs * inner, rows * width))})")
        flat = settled(c, flat, "rows")
        result = self._result()
        seen = "" if is_shift else self._seen_rows(image.array, rows)
        loop.enter()
        image.load()
        if not is_shift:
            loop.line(f"np.copyto({loop.work(side)}, {image.part(seen)})")
        for row in range(window.kernel[0]):
            start = row * window.dilations[0] * width
            index = ranges(c, (start,), (product(self.places),), (1,))
            operand = image.part(flat, index) if is_shift else loop.work(flat, index)
            out = loop.of(result) if row == 0 else loop.work(part)
            loop.line(f"np.matmul({weight}[{row}], {operand}, out={out})")
            if row:
                loop.line(f"np.add({loop.of(result)}, {out}, out={loop.of(result)})")
        self._add_bias(loop)

    def _source(self, flat: bool) -> str:
        """The array of x; in row-major order where its rows are to be strung together as they are."""
        return row_major(self.c, 0) if flat and not self.window.padded else self.c.inputs[0]

    def _side(self, count: Dim, rows: Dim) -> str:
        """The array for the cells of the inner axes, side by side: [count, channels, 1, *inner, rows, *places]."""
        inner = (1, *self.window.kernel[1:])
        return self.c.scratch(self.type.with_shape((count, self.type.shape[1], *inner, rows, *self.places[1:])))

    def _seen_rows(self, array: str, rows: Dim) -> str:
        window = self.window
        kernel, steps = (1, *window.kernel[1:]), (1, *window.dilations[1:])
        return windows(self.c, array, kernel, (rows, *self.places[1:]), (1, *window.strides[1:]), steps)

    def _row_kernels(self) -> str:
        """The kernels [rows, groups, outputs of each, inputs * cells of the row]."""
        c, kernels, (rows, *inner) = self.c, self.kernels, self.window.kernel
        array = c.scratch(TensorType(self.type.dtype, (rows, *kernels.shape[:2], *inner)))
        order = (2, 0, 1, *range(3, 2 + self.window.rank))
        c.line(f"np.copyto({array}, {kernels.array}.transpose({order}))")
        shape = (rows, *kernels.lead, kernels.outputs_each, kernels.inputs * _product(inner))
        return c.view(array, f"reshape({c.shape(shape)})")

    def _cells(self) -> None:
        """One cell after the other, multiplied and added: each channel has its own kernels."""
        c, kernels, window = self.c, self.kernels, self.window
        several = kernels.outputs_each > 1
        shape = (kernels.groups, kernels.outputs_each, *self.places) if several else (kernels.groups, *self.places)
        loop = self._loop(kernels.outputs * product(self.places))
        part = c.scratch(self.type.with_shape((loop.count, *shape)))
        result = c.view(self.out, f"reshape({c.shape((self.type.shape[0], *shape))})")
        weight = _cell_kernels(c, kernels, window)
        image = Image(c, loop, c.inputs[0], self.type, window)
        array = settled(c, c.view(image.array, "{}[:, :, None]"), "channels") if several else image.array
        loop.enter()
        image.load()
        for number, cell in enumerate(window.offsets()):
            seen = image.part(array, cell_ranges(c, cell, window, self.places))
            out = loop.work(part) if number else loop.of(result)
            loop.line(f"np.multiply({seen}, {weight}[{number}], out={out})")
            if number:
                loop.line(f"np.add({loop.of(result)}, {out}, out={loop.of(result)})")
        self._add_bias(loop)

    def _add_bias(self, loop: Samples) -> None:
        if len(self.c.inputs) == 3:
            loop.line(f"np.add({loop.of(self.out)}, {self._bias()}, out={loop.of(self.out)})")

    def _bias(self) -> str:
        return self.c.view(self.c.inputs[2], f"reshape({self.c.shape((-1, *[1] * self.window.rank))})")


def _cell_kernels(c: NumpyLowering, kernels: Kernels, window: Window) -> str:
    """The kernels of single channels [cells, channels, outputs of each, 1, …], for products with [channels, …]."""
    each = (kernels.outputs_each,) if kernels.outputs_each > 1 else ()
    shape = (kernels.groups, *each, window.cells)
    ones = (1,) * window.rank
    # A small copy, whose cells are then contiguous.
    moved = c.scratch(TensorType(c.input_types[0].dtype, (window.cells, kernels.groups, *each)))
    c.line(f"np.copyto({moved}, np.moveaxis({kernels.array}.reshape({c.shape(shape)}), -1, 0))")
    return c.view(moved, f"reshape({c.shape((window.cells, kernels.groups, *each, *ones))})")


def _fold(c: NumpyLowering, window: Window, kernels: Kernels) -> None:
    """A transposed convolution by what each cell gives to each place, which is added up."""
    gradient, result = c.input_types[0], c.output_types[0]
    places, channels = gradient.shape[2:], kernels.groups * kernels.inputs
    count, dtype = gradient.shape[0], gradient.dtype
    columns_each = channels * window.cells * product(places)
    around = window.around(result.shape[2:])
    loop = Samples(c, count, (columns_each + 2 * channels * product(around)) * dtype.bytes)
    source = row_major(c, 0)
    before = c.view(source, f"reshape({c.shape((count, *kernels.lead, kernels.outputs_each, product(places)))})")
    before = settled(c, before, "gradients")
    weight = _transposed_matrix(c, kernels, window)
    if window.is_point:
        shape = c.shape((count, *kernels.lead, kernels.inputs, product(places)))
        c.line(f"np.matmul({weight}, {before}, out={c.view(c.outputs[0], f'reshape({shape})')})")
        _add_bias(c, window, c.outputs[0])
        return
    columns = c.scratch(TensorType(dtype, (loop.count, channels, *window.kernel, *places)))
    shape = c.shape((loop.count, *kernels.lead, kernels.inputs * window.cells, product(places)))
    matrix = c.view(columns, f"reshape({shape})")
    whole = c.scratch(TensorType(dtype, (loop.count, channels, *around))) if window.padded else ""
    target = c.local("target")
    loop.enter()
    loop.line(f"np.matmul({weight}, {loop.of(before)}, out={loop.work(matrix)})")
    loop.line(f"{target} = {loop.work(whole) if whole else loop.of(c.outputs[0])}")
    loop.line(f"{target}.fill(0)")
    _add_cells(c, loop, window, places, target, columns)
    if whole:
        inside = ranges(c, window.before, result.shape[2:], (1,) * window.rank)
        loop.line(f"np.copyto({loop.of(c.outputs[0])}, {target}[{inside}])")
    if len(c.inputs) == 3:
        loop.line(_bias_statement(c, window, loop.of(c.outputs[0])))


def _transposed_matrix(c: NumpyLowering, kernels: Kernels, window: Window) -> str:
    """The kernels [groups, inputs * cells, outputs of each], as a view where they are in row-major order."""
    shape = c.shape((*kernels.lead, kernels.outputs_each, kernels.inputs * window.cells))
    return settled(c, c.view(row_major(c, 1), f"reshape({shape}).swapaxes(-1, -2)"), "kernels")


def _add_cells(
    c: NumpyLowering, loop: Samples, window: Window, places: tuple[Dim, ...], target: str, columns: str
) -> None:
    """Add [channels, *kernel, *places] up in ``target``, where each cell meets each place."""
    cell_target = c.local("cell")
    for cell in window.offsets():
        loop.line(f"{cell_target} = {target}[{cell_ranges(c, cell, window, places)}]")
        given = loop.work(columns, ", ".join([":", *map(str, cell)]))
        loop.line(f"np.add({cell_target}, {given}, out={cell_target})")


def _bias_statement(c: NumpyLowering, window: Window, out: str) -> str:
    bias = c.view(c.inputs[2], f"reshape({c.shape((-1, *[1] * window.rank))})")
    return f"np.add({out}, {bias}, out={out})"


def _add_bias(c: NumpyLowering, window: Window, out: str) -> None:
    if len(c.inputs) == 3:
        c.line(_bias_statement(c, window, out))


def _product(numbers: list[int] | tuple[int, ...]) -> int:
    result = product(numbers)
    assert isinstance(result, int)
    return result
