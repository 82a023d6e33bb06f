"""How convolutions by short algorithms become NumPy statements.

What takes time besides the products is to add up, so that rows and columns are kept apart by whether they are even:
what belongs to one component is then in long runs, and some of it is there already.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as combinations
from math import prod

from compiler.ir.dims import Dim
from compiler.ir.types import TensorType
from compiler.ops.arrays import to_last
from compiler.ops.base import NumpyLowering
from compiler.ops.conv_phases_numpy import phases_of
from compiler.ops.window import Window

# For a window of so many cells what each component of a tile is the sum of: of its cells, each with a sign, of which
# the first is 1; and of which components each of its two places is.
INPUTS = {
    2: (((1, 0), (-1, 1)), ((1, 1),), ((1, 2), (-1, 1))),
    3: (((1, 0), (-1, 2)), ((1, 1), (1, 2)), ((1, 2), (-1, 1)), ((1, 3), (-1, 1))),
}
OUTPUTS = {
    2: (((1, 0), (1, 1)), ((1, 1), (1, 2))),
    3: (((1, 0), (1, 1), (1, 2)), ((1, 1), (-1, 2), (1, 3))),
}
# The arrays of the samples that are worked on at once take about so many bytes: products of fewer rows are slower than
# sums that come from further away.
_WORK = 3 * 2**20


def lower_short_conv(c: NumpyLowering, window: Window) -> None:
    """Write a convolution: operands x, components of kernels and perhaps a bias."""
    stride, (outputs, *places) = window.strides[0], _sizes(c.output_types[0])
    turn = _Turn(window.kernel[0] // stride, stride, tuple(map(_number, window.before)), tuple(places))
    each = turn.meeting(_sizes(c.input_types[0])[0]) + turn.making(outputs)
    out, turned = _result(c)
    _write_products(c, each, [f"({turn}, {c.inputs[1]}, {turned})"])
    _finish(c, out)


def lower_short_conv_transpose(c: NumpyLowering, window: Window) -> None:
    """Write a transposed convolution: operands gradient, components of kernels and perhaps a bias. The places of the
    result with one remainder after division by the stride are a convolution of their own, which moves by one place."""
    stride, (channels, *size) = window.strides[0], _sizes(c.output_types[0])
    axes = zip(window.kernel, map(_number, window.before), size, strict=True)
    out, turned = _result(c)
    parts, each = [], 0
    for row, column in combinations(*(phases_of(reach, stride, before, length) for reach, before, length in axes)):
        turn = _Turn(row.taps, 1, (-row.first, -column.first), (row.count, column.count))
        each = max(each, turn.meeting(_sizes(c.input_types[0])[0]) + turn.making(channels))
        kernels = f"{c.inputs[1]}[:, {row.remainder * stride + column.remainder}]"
        parts.append(f"({turn}, {kernels}, {turned}[:, {row.start}::{stride}, {column.start}::{stride}])")
    _write_products(c, each, parts)
    _finish(c, out)


def lower_short_conv_weight(c: NumpyLowering, window: Window) -> None:
    """Write the gradient to the components of kernels: operands x and gradient."""
    (x, gradient), stride = c.input_types, window.strides[0]
    outputs, *places = _sizes(gradient)
    turn = _Turn(window.kernel[0] // stride, stride, tuple(map(_number, window.before)), tuple(places))
    each = turn.meeting(_sizes(x)[0]) + turn.pairing(outputs)
    memory, most = _memory(c, each)
    one = c.scratch(c.output_types[0].with_shape(c.output_types[0].shape[1:]))
    given = ", ".join(_turned(c, array) for array in c.inputs)
    _write(c, "short_conv_weight", WEIGHT, f"{turn}, {memory}, {most}, {given}, {c.outputs[0]}, {one}")


def _write_products(c: NumpyLowering, each: int, parts: list[str]) -> None:
    memory, most = _memory(c, each)
    bias = c.inputs[2] if len(c.inputs) == 3 else "None"
    _write(c, "short_conv", CONV, f"({', '.join(parts)},), {memory}, {most}, {_turned(c, c.inputs[0])}, {bias}")


def _write(c: NumpyLowering, name: str, source: str, operands: str) -> None:
    for helper, text in (("ShortTurn", TURN), ("short_turns", TURNS), (name, source)):
        c.helper(helper, text)
    c.line(f"{c.prepared(name, f'{name}({operands})')}()")


def _memory(c: NumpyLowering, each: int) -> tuple[str, int]:
    """An array for so many elements of each sample, and for how many samples it is."""
    type = c.input_types[0]
    most = max(1, _WORK // (each * type.dtype.bytes))
    return c.scratch(type.with_shape((most * each,))), most


def _result(c: NumpyLowering) -> tuple[str, str]:
    """Where the result is written, and that with the channels last."""
    out = c.outputs[0] if c.gives_channels_last else c.scratch(c.output_types[0], channels_last=True)
    return out, _turned(c, out)


def _finish(c: NumpyLowering, out: str) -> None:
    if out != c.outputs[0]:
        c.line(f"np.copyto({c.outputs[0]}, {out})")


def _turned(c: NumpyLowering, array: str) -> str:
    return c.view(array, f"transpose({to_last(2)})")


def _number(dim: Dim) -> int:
    assert isinstance(dim, int)
    return dim


def _sizes(type: TensorType) -> list[int]:
    """The channels and the spatial sizes."""
    return [_number(dim) for dim in type.shape[1:]]


@dataclass(frozen=True)
class _Turn:
    """What the turns of a convolution are about, and how many elements their arrays have for one sample."""

    taps: int
    stride: int
    before: tuple[int, ...]
    places: tuple[int, ...]

    def __str__(self) -> str:
        tables = INPUTS[self.taps], OUTPUTS[self.taps]
        return f"({tables}, {self.taps}, {self.stride}, {self.before}, {self.places})"

    @property
    def _tiles(self) -> tuple[int, int]:
        rows, columns = self.places
        return (rows + 1) // 2, (columns + 1) // 2

    def meeting(self, channels: int) -> int:
        """What is made of an operand of so many channels that the window meets."""
        terms, (rows, columns) = self.stride**2 * channels, self.places
        across = (rows + self.taps - 1) * terms
        return across * (columns + self.taps - 1) + across * self._tiles[1] + prod(self._tiles) * terms

    def making(self, outputs: int) -> int:
        """Products for so many channels of a result."""
        tiles, (rows, columns) = self._tiles, self.places
        return (self.taps + 1) * prod(tiles) * outputs + rows * (self.taps * tiles[1] + columns // 2) * outputs

    def pairing(self, outputs: int) -> int:
        """What is made of the gradient of a result of so many channels."""
        return (prod(self.places) + self.places[0] * self._tiles[1] + prod(self._tiles)) * outputs


TURN = '''\
class ShortTurn:
    """One turn of a convolution by a short algorithm, on a few samples: functions and their operands, in arrays out of
    `memory`. `tables` tell for each component of a tile, along one axis, which of its cells it is the sum of, each with
    a sign, and for each of two places of which components. A cell is what the window of `taps` of them moves by."""

    def __init__(self, tables, taps, stride, before, places, memory):
        (self.inputs, self.outputs), self.taps, self.places, self.memory = tables, taps, places, memory
        self.stride, self.before, self.used, self.steps = stride, before, 0, []

    def add(self, function, *operands):
        self.steps.append((function, operands))

    def take(self, *shape):
        """An array that keeps its place until the turn is over."""
        start, self.used = self.used, self.used + int(np.prod(shape))
        return self.memory[start : self.used].reshape(shape)

    def count(self, axis, component):
        """The tiles that have the component along an axis: the last one, if only half of it is there, lacks one."""
        return (self.places[axis] + (component < self.taps)) // 2

    def multiply(self, left, right, out, axis):
        """The product, in pieces along an axis of `out` for which the BLAS has a faster way: up to a million
        multiply-adds."""
        count = -(-out.size * len(right) // 10**6)
        if out.shape[axis] < 32 * count:
            count = 1
        for number in range(count):
            piece = slice(out.shape[axis] * number // count, out.shape[axis] * (number + 1) // count)
            if axis == 0:
                self.add(np.matmul, left[piece], right, out[piece])
            else:
                self.add(np.matmul, left, right[:, piece], out[:, piece])

    def sum(self, terms, out):
        (_, first), *others = terms
        if not others:
            self.add(np.copyto, out, first)
        for sign, other in others:
            self.add(np.add if sign > 0 else np.subtract, first, other, out)
            first = out

    def spans(self, axis, size):
        """Runs of even and of odd cells along an axis of x of which the same numbers are inside it: where the run is,
        which numbers are, and where x has the first of them."""
        for odd in range(2):
            length, begun = (self.places[axis] + self.taps - odd) // 2, 0
            starts = [(2 * cell + odd) * self.stride - self.before[axis] for cell in range(length)]
            inside = [(max(0, -start), max(0, min(self.stride, size - start))) for start in starts]
            for cell in range(1, length + 1):
                if cell == length or inside[cell] != inside[begun]:
                    low, high = inside[begun]
                    yield odd, slice(begun, cell), slice(min(low, high), high), starts[begun] + low
                    begun = cell

    def load(self, x):
        """Put x into arrays [samples, rows, columns, number, number, channels] of even and odd rows and columns of
        cells, between zeros."""
        lengths = [[(places + self.taps - odd) // 2 for odd in range(2)] for places in self.places]
        inner = (self.stride, self.stride, x.shape[3])
        self.cells = [[self.take(len(x), row, column, *inner) for column in lengths[1]] for row in lengths[0]]
        across = len(x) * self.count(1, 0) * int(np.prod(inner))
        self.buffers = [self.take(across * row) for row in lengths[0]]
        self.tile = self.take(across * self.count(0, 0))
        spans = [list(self.spans(axis, x.shape[1 + axis])) for axis in range(2)]
        for odd, run, inside, _ in spans[0]:
            for cells in self.cells[odd]:
                self.clear(cells[:, run, :, : inside.start], cells[:, run, :, inside.stop :])
        for odd, run, inside, _ in spans[1]:
            for cells in (self.cells[0][odd], self.cells[1][odd]):
                self.clear(cells[:, :, run, :, : inside.start], cells[:, :, run, :, inside.stop :])
        sample, row, column, channel = x.strides
        strides = (sample, 2 * self.stride * row, 2 * self.stride * column, row, column, channel)
        for odd, rows, above, top in spans[0]:
            for other, columns, left, start in spans[1]:
                cells = self.cells[odd][other][:, rows, columns, above, left]
                if cells.size:
                    part = np.lib.stride_tricks.as_strided(x[:, top:, start:], cells.shape, strides, writeable=False)
                    self.add(np.copyto, cells, part)

    def clear(self, *arrays):
        for array in arrays:
            if array.size:
                self.add(np.copyto, array, 0)

    def columns(self, component):
        """The even and the odd rows of a component along the columns, [samples, rows, tiles, terms]."""
        count, found = self.count(1, component), []
        for cells, buffer in zip(self.cells, self.buffers):
            flat = [array.reshape(*array.shape[:3], -1) for array in cells]
            terms = [(sign, flat[at % 2][:, :, at // 2 : at // 2 + count]) for sign, at in self.inputs[component]]
            found.append(self.summed(terms, buffer))
        return found

    def rows(self, columns, component):
        """A component along both, as a matrix [tiles, terms]."""
        count = self.count(0, component)
        terms = [(sign, columns[at % 2][:, at // 2 : at // 2 + count]) for sign, at in self.inputs[component]]
        found = self.summed(terms, self.tile)
        return found.reshape(-1, found.shape[-1])

    def summed(self, terms, buffer):
        if len(terms) == 1:
            return terms[0][1]
        shape = terms[0][1].shape
        out = buffer[: int(np.prod(shape))].reshape(shape)
        self.sum(terms, out)
        return out

    def load_pairs(self, y):
        """Put a gradient into arrays of even and odd rows and columns."""
        halves = [[(places + 1 - odd) // 2 for odd in range(2)] for places in self.places]
        across = len(y) * self.count(1, 0) * y.shape[3]
        self.pairs = [[self.take(len(y), row, column, y.shape[3]) for column in halves[1]] for row in halves[0]]
        self.pair_buffers = [self.take(across * row) for row in halves[0]]
        self.pair = self.take(across * halves[0][0])
        for row, arrays in enumerate(self.pairs):
            for column, array in enumerate(arrays):
                self.add(np.copyto, array, y[:, row::2, column::2])

    def pair_columns(self, component):
        """What a component along the columns gets of the even and of the odd rows: the transpose of `columns`."""
        return [self.spread(pair, component, 2, buffer) for pair, buffer in zip(self.pairs, self.pair_buffers)]

    def pair_rows(self, columns, component):
        """What it gets along both, as a matrix [tiles, outputs]."""
        found = self.spread(columns, component, 1, self.pair)
        return found.reshape(-1, found.shape[-1])

    def spread(self, pair, component, axis, buffer):
        terms = [(sign, pair[odd]) for odd in range(2) for sign, at in self.outputs[odd] if at == component]
        if len(terms) == 1:
            return terms[0][1]
        (_, even), (sign, odd) = terms
        out = buffer[: even.size].reshape(even.shape)
        both, rest = ((*[slice(None)] * axis, part) for part in (slice(odd.shape[axis]), slice(odd.shape[axis], None)))
        self.add(np.add if sign > 0 else np.subtract, even[both], odd, out[both])
        if out[rest].size:
            self.add(np.copyto, out[rest], even[rest])
        return out
'''

TURNS = '''\
def short_turns(samples, most, make):
    """A function that takes the turns which `make` makes of slices of the samples, of which there are `most` in one."""
    count, steps = -(-samples // most), []
    for number in range(count):
        steps += make(slice(samples * number // count, samples * (number + 1) // count))

    def call():
        for function, operands in steps:
            function(*operands)

    return call
'''

CONV = '''\
def short_conv(parts, memory, most, x, bias):
    """Convolutions of x, each by components of kernels into a result, with the channels last."""

    def make(some):
        turns = [product(ShortTurn(*about, memory), x[some], kernels, y[some]) for about, kernels, y in parts]
        return [step for steps in turns for step in steps]

    def product(turn, x, kernels, y):
        tiles, outputs = range(turn.taps + 1), y.shape[3]
        turn.load(x)
        buffers = [turn.take(len(x) * turn.count(0, 0) * turn.count(1, 0) * outputs) for _ in tiles]
        halves = [[], []]
        for column in tiles:
            columns, products = turn.columns(column), []
            for row, buffer in enumerate(buffers):
                left = turn.rows(columns, row)
                out = buffer[: len(left) * outputs].reshape(-1, outputs)
                turn.multiply(left, kernels[row * len(tiles) + column], out, 0)
                products.append(out.reshape(len(x), turn.count(0, row), turn.count(1, column), outputs))
                if bias is not None and row == column == 1:
                    # Every place has this component once.
                    turn.add(np.add, out, bias, out)
            for odd, half in enumerate(halves):
                length = (turn.places[0] + 1 - odd) // 2
                half.append(turn.take(len(x), length, turn.count(1, column), outputs))
                turn.sum([(sign, products[at][:, :length]) for sign, at in turn.outputs[odd]], half[-1])
        for row, half in enumerate(halves):
            for column, terms in enumerate(turn.outputs):
                length = (turn.places[1] + 1 - column) // 2
                turn.sum([(sign, half[at][:, :, :length]) for sign, at in terms], y[:, row::2, column::2])
        return turn.steps

    return short_turns(len(x), most, make)
'''

WEIGHT = '''\
def short_conv_weight(about, memory, most, x, y, kernels, one):
    """The gradient of the components of kernels by that of y, where they were multiplied with x, both with the channels
    last: `one` is to work in."""

    def make(some):
        turn = ShortTurn(*about, memory)
        tiles = range(turn.taps + 1)
        turn.load(x[some])
        turn.load_pairs(y[some])
        for column in tiles:
            right, left = turn.columns(column), turn.pair_columns(column)
            for row in tiles:
                total = kernels[row * len(tiles) + column]
                out = one if some.start else total
                turn.multiply(turn.pair_rows(left, row).T, turn.rows(right, row), out, 1)
                if some.start:
                    turn.add(np.add, total, one, total)
        return turn.steps

    return short_turns(len(x), most, make)
'''
