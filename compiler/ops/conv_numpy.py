"""How a convolution becomes NumPy statements: a few samples at a time, by matrix products.

There are several ways, and the sizes choose. All cells of the window side by side ("columns") make one product;
where there are many channels, only the cells of one row of the window, and a product for each row, as most of the
copying is saved; where every channel has a kernel of its own there is nothing to multiply as matrices.
"""

from __future__ import annotations

from compiler.ir.dims import Dim, product
from compiler.ir.types import TensorType
from compiler.ops.arrays import row_major, to_last
from compiler.ops.base import NumpyLowering
from compiler.ops.conv_last_numpy import correlate_last, many
from compiler.ops.conv_parts_numpy import Kernels, Rows, add_bias, cell_kernels, fixed_shape, row_kernels, shaped
from compiler.ops.samples import Image, Samples, settled, typical, windows
from compiler.ops.window import Window, cell_ranges, require_places

# With fewer places than this a product for each sample is slow, so that several samples share one.
_FEW_PLACES = 30
# Runs of elements that are copied at once: ten take a third longer than they would as parts of a hundred.
_LONG_RUN, _SHORT_RUN = 100, 10


def lower_conv(c: NumpyLowering, window: Window, groups: int) -> None:
    """Write a convolution: operands x, kernels and perhaps a bias."""
    x, weight = c.input_types[:2]
    require_places(c, window, x)
    correlate(c, x, window, Kernels(c.inputs[1], fixed_shape(weight), c.contiguous(1), groups))


def correlate(c: NumpyLowering, x: TensorType, window: Window, kernels: Kernels) -> None:
    """Write a convolution of operand 0, of type ``x``, into the first result, with operand 2 as the bias if it is
    there."""
    if c.channels_last(0) and many(x.shape[1]):
        correlate_last(c, window, kernels)
    else:
        _Correlation(c, x, window, kernels).write()


class _Correlation:
    """The statements of a convolution of operand 0 into the first result, with operand 2 as the bias if it is there."""

    def __init__(self, c: NumpyLowering, type: TensorType, window: Window, kernels: Kernels) -> None:
        self.c, self.type, self.window, self.kernels = c, type, window, kernels
        self.places = window.places(type.shape[2:])
        self.area = product(self.places)
        self.samples, self.channels = type.shape[0], type.shape[1]

    def write(self) -> None:
        if self.kernels.is_depthwise:
            self._cells()
        elif self.c.gives_channels_last and self.kernels.outputs > 1:
            self._columns_to_last()
        elif self.window.is_point and typical(self.area) >= _FEW_PLACES:
            self._points()
        elif typical(self.area) < _FEW_PLACES and self.kernels.groups == 1:
            self._joined_columns()
        elif self.kernels.slides(self.window):
            self._rows()
        elif self._is_narrow():
            correlate_last(self.c, self.window, self.kernels)
        else:
            self._columns()

    def _is_narrow(self) -> bool:
        """Whether there are longer runs to copy with the channels side by side than with the places."""
        run = self.window.kernel[-1] * self.kernels.inputs
        return self.kernels.groups == 1 and run >= _LONG_RUN and typical(self.places[-1]) <= _SHORT_RUN

    def _result(self) -> str:
        """The result [N, groups, outputs of each, places]."""
        return shaped(self.c, self.c.outputs[0], self.samples, *self.kernels.lead, self.kernels.outputs_each, self.area)

    def _loop(self, *each: Dim) -> Samples:
        """A loop for which a sample takes so many elements of work arrays; its padded copy and results come on top."""
        around = product(self.window.around(self.type.shape[2:])) * self.channels
        elements = sum(each, around + self.kernels.outputs * self.area)
        return Samples(self.c, self.samples, elements * self.type.dtype.bytes)

    def _work(self, *sizes: Dim) -> str:
        return self.c.scratch(self.type.with_shape(sizes))

    def _seen(self, image: Image) -> str:
        """What each cell of the window meets: [N, channels, *kernel, *places]."""
        window = self.window
        return windows(self.c, image.array, window.kernel, self.places, window.strides, window.dilations)

    def _matrix(self) -> str:
        """The kernels [groups, outputs of each, terms] in row-major order."""
        c, kernels = self.c, self.kernels
        array = kernels.array
        if not kernels.row_major:
            array = self._work(*kernels.shape)
            c.line(f"np.copyto({array}, {kernels.array})")
        return shaped(c, array, *kernels.lead, kernels.outputs_each, kernels.terms)

    def _points(self) -> None:
        """One cell: x itself has what is to be multiplied side by side."""
        c, kernels = self.c, self.kernels
        x = shaped(c, row_major(c, 0), self.samples, *kernels.lead, kernels.inputs, self.area)
        weight, result = self._matrix(), self._result()
        loop = self._loop()
        x = settled(c, x, "x")
        loop.enter()
        loop.line(f"np.matmul({weight}, {loop.of(x)}, out={loop.of(result)})")
        add_bias(c, self.window, loop)

    def _columns(self) -> None:
        """All cells side by side, and one product, to which the bias contributes a term."""
        c, kernels = self.c, self.kernels
        loop = self._loop(self.channels * self.window.cells * self.area)
        extra = len(c.inputs) == 3
        weight = self._matrix_with_bias() if extra else self._matrix()
        matrix = self._work(loop.count, *kernels.lead, kernels.terms + extra, self.area)
        shape = c.shape((loop.count, *kernels.lead, *kernels.shape[1:], *self.places))
        columns = c.view(matrix, f"{{}}[..., :{kernels.terms}, :].reshape({shape})")
        image = Image(c, loop, c.inputs[0], self.type, self.window)
        seen = self._seen(image)
        if kernels.lead:
            groups = c.shape(kernels.lead + kernels.shape[1:2])[1:-1]
            seen = settled(c, f"{seen}.reshape({seen}.shape[0], {groups}, *{seen}.shape[2:])", "seen")
        if extra:
            c.line(f"{matrix}[..., {kernels.terms}, :] = 1")
        result = self._result()
        loop.enter()
        image.load()
        loop.line(f"np.copyto({loop.work(columns)}, {image.part(seen)})")
        loop.line(f"np.matmul({weight}, {loop.work(matrix)}, out={loop.of(result)})")

    def _matrix_with_bias(self) -> str:
        """The kernels [groups, outputs of each, terms + 1], with the bias as the last term."""
        c, kernels = self.c, self.kernels
        matrix = self._work(*kernels.lead, kernels.outputs_each, kernels.terms + 1)
        apart = (*kernels.lead, kernels.outputs_each, *kernels.shape[1:])
        inner = c.view(matrix, f"{{}}[..., :{kernels.terms}].reshape({c.shape(apart)})")
        c.line(f"np.copyto({inner}, {shaped(c, kernels.array, *apart)})")
        bias = shaped(c, c.inputs[2], *kernels.lead, kernels.outputs_each)
        c.line(f"np.copyto({matrix}[..., {kernels.terms}], {bias})")
        return matrix

    def _columns_to_last(self) -> None:
        """The same for a result whose channels lie last: the product is the transpose."""
        c, kernels = self.c, self.kernels
        loop = self._loop(self.channels * self.window.cells * self.area)
        extra = len(c.inputs) == 3
        weight = self._work(kernels.terms + extra, kernels.outputs)
        inner = c.view(weight, f"{{}}[:{kernels.terms}].reshape({c.shape((*kernels.shape[1:], kernels.outputs))})")
        c.line(f"np.copyto({inner}, {kernels.array}.transpose({(*range(1, 2 + self.window.rank), 0)}))")
        matrix = self._work(loop.count, kernels.terms + extra, self.area)
        shape = c.shape((loop.count, *kernels.shape[1:], *self.places))
        columns = c.view(matrix, f"{{}}[:, :{kernels.terms}].reshape({shape})")
        image = Image(c, loop, c.inputs[0], self.type, self.window)
        seen = self._seen(image)
        if extra:
            c.line(f"np.copyto({weight}[{kernels.terms}], {c.inputs[2]})")
            c.line(f"{matrix}[:, {kernels.terms}] = 1")
        turned = c.view(c.outputs[0], f"transpose({to_last(self.window.rank)})")
        result, left = shaped(c, turned, self.samples, self.area, kernels.outputs), c.view(matrix, "swapaxes(-1, -2)")
        loop.enter()
        image.load()
        loop.line(f"np.copyto({loop.work(columns)}, {image.part(seen)})")
        loop.line(f"np.matmul({loop.work(left)}, {weight}, out={loop.of(result)})")

    def _joined_columns(self) -> None:
        """The same for several samples with one product, where each has too few places for one of its own."""
        c, kernels, rank = self.c, self.kernels, self.window.rank
        loop = self._loop(self.channels * self.window.cells * self.area, kernels.outputs * self.area)
        columns = self._work(loop.count * self.channels * self.window.cells * self.area)
        product_of = self._work(loop.count * kernels.outputs * self.area)
        weight = self._matrix()
        image = Image(c, loop, c.inputs[0], self.type, self.window)
        seen = self._seen(image)
        order = (*range(1, 2 + rank), 0, *range(2 + rank, 2 + 2 * rank))
        loop.enter()
        image.load()
        side = loop.joined(columns, (kernels.inputs, *self.window.kernel), self.places)
        loop.line(f"np.copyto({side}, {image.part(seen)}.transpose({order}))")
        given = loop.joined(product_of, (kernels.outputs,), self.places)
        rows, outputs = f"reshape({kernels.terms}, -1)", f"reshape({kernels.outputs}, -1)"
        loop.line(f"np.matmul({weight}, {side}.{rows}, out={given}.{outputs})")
        loop.line(f"np.copyto({loop.of(c.outputs[0])}, {given}.swapaxes(0, 1))")
        add_bias(c, self.window, loop)

    def _rows(self) -> None:
        """The cells of the inner axes side by side, and a product for each cell of the first axis, along which what is
        side by side is only shifted."""
        c, kernels, window = self.c, self.kernels, self.window
        rows = Rows(self.type, window, self.places)
        loop = self._loop(rows.copied, kernels.outputs * self.area)
        weight, result = row_kernels(c, self.type, window, kernels), self._result()
        part = self._work(loop.count, *kernels.lead, kernels.outputs_each, self.area)
        source = row_major(c, 0) if rows.shifted and not window.padded else c.inputs[0]
        image = Image(c, loop, source, self.type, window)
        side, seen, first = image.array, "", loop.count if image.padded else self.samples
        if not rows.shifted:
            side, seen, first = self._work(loop.count, *rows.shape), rows.seen(c, image.array), loop.count
        flat = shaped(c, side, first, *kernels.lead, kernels.inputs * rows.cells, rows.count * rows.width)
        flat = settled(c, flat, "rows")
        loop.enter()
        image.load()
        if seen:
            loop.line(f"np.copyto({loop.work(side)}, {image.part(seen)})")
        for row in range(window.kernel[0]):
            index = rows.index(c, row)
            operand = loop.work(flat, index) if seen else image.part(flat, index)
            out = loop.work(part) if row else loop.of(result)
            loop.line(f"np.matmul({weight}[{row}], {operand}, out={out})")
            if row:
                loop.line(f"np.add({loop.of(result)}, {out}, out={loop.of(result)})")
        add_bias(c, window, loop)

    def _cells(self) -> None:
        """One cell after the other, multiplied and added."""
        c, kernels, window = self.c, self.kernels, self.window
        several = kernels.outputs_each > 1
        shape = (kernels.groups, kernels.outputs_each, *self.places) if several else (kernels.groups, *self.places)
        loop = self._loop(kernels.outputs * self.area)
        part, result = self._work(loop.count, *shape), shaped(c, c.outputs[0], self.samples, *shape)
        weight = cell_kernels(c, kernels, window)
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
        add_bias(c, window, loop)
