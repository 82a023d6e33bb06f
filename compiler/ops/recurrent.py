"""What recurrent layers have in common: one layer over whole sequences, in one direction, as one operation.

Weights are PyTorch's, by their names, shapes and order of gates, so that its weights are taken as they are; ONNX
has the gates in another order, into which the exporter brings them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from compiler.ir.dims import Dim, equal, evaluate, symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.base import (
    Array,
    FacetError,
    NumpyLowering,
    OnnxLowering,
    Op,
    Sample,
    Sizes,
    without,
)
from compiler.ops.checks import need_floats, need_indices, need_one_dtype
from compiler.ops.constant import Constant
from compiler.ops.shape import Expand, shape_text

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

Item = TypeVar("Item")
N, T = symbol("N"), symbol("T")
SIZES = {"N": 3, "T": 4}
LENGTHS = (4, 0, 2)


class Operands(NamedTuple, Generic[Item]):
    """The operands of a recurrent layer by name; what it goes without is () or None."""

    x: Item
    weight_ih: Item
    weight_hh: Item
    biases: tuple[Item, ...]
    states: tuple[Item, ...]
    lengths: Item | None


@dataclass(frozen=True)
class Recurrent(Op):
    """Operands, those in brackets where the attribute of that name says so: x [T, N, F], weight_ih [G·H, F],
    weight_hh [G·H, H], [bias: bias_ih and bias_hh, both [G·H]], [state: what the states begin as, each [N, H], else 0],
    [lengths: of the sequences, i32 or i64 [N], else all are T long]. G gates of H units each are one behind the other.

    Results: y [T, N, H], the hidden state after each step, and every state [N, H] after the last step. From a
    sequence's length on y is 0 and the states stay as they are. With ``reverse`` the steps are taken from the last
    one of each sequence to its first. Lengths lie from 0 to T: whoever feeds them checks them.
    """

    reverse: bool = False
    bias: bool = True
    state: bool = False
    lengths: bool = False

    # The places of ONNX's gates among PyTorch's.
    gate_order: ClassVar[tuple[int, ...]]
    state_count: ClassVar[int] = 1
    onnx_kind: ClassVar[str]

    def named(self, operands: Sequence[Item]) -> Operands[Item]:
        """The operands by name."""
        x, weight_ih, weight_hh, *rest = operands
        biases, rest = rest[: 2 * self.bias], rest[2 * self.bias :]
        states, rest = rest[: self.state_count * self.state], rest[self.state_count * self.state :]
        return Operands(x, weight_ih, weight_hh, tuple(biases), tuple(states), rest[0] if self.lengths else None)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        given = self.named(inputs)
        need_floats(f"run {self.opcode} over", given.x)
        weights = (given.weight_ih, given.weight_hh, *given.biases)
        need_one_dtype(f"run {self.opcode} over", given.x, *weights, *given.states)
        verb = f"run {self.opcode} over {given.x}"
        if given.x.rank != 3 or given.weight_hh.rank != 2:
            raise TypeMismatch("E0301", f"cannot {verb}", "its axes have to be [steps, batch, features]")
        (steps, batch, features), units = given.x.shape, given.weight_hh.shape[1]
        gates = units * len(self.gate_order)
        _need_shape(verb, "weight_ih", given.weight_ih, (gates, features))
        _need_shape(verb, "weight_hh", given.weight_hh, (gates, units))
        for bias in given.biases:
            _need_shape(verb, "a bias", bias, (gates,))
        for state in given.states:
            _need_shape(verb, "the initial state", state, (batch, units))
        if given.lengths is not None:
            need_indices(f"{verb} with lengths", given.lengths)
            _need_shape(verb, "lengths", given.lengths, (batch,))
        state = given.x.with_shape((batch, units))
        return (given.x.with_shape((steps, batch, units)), *[state] * self.state_count)

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        x, weight_ih, weight_hh = inputs[:3]
        return x.shape[0] * x.shape[1] * (weight_ih.size + weight_hh.size)

    # The meaning

    @abstractmethod
    def cell(self, inputs: Array, hidden: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        """The states after one step, the hidden one first; ``inputs = x @ weight_ih.T + bias_ih`` and
        ``hidden = h @ weight_hh.T + bias_hh`` are [N, G·H]."""

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        y, states, _ = self.run(operands)
        return tuple(result.astype(operands[0].dtype) for result in (y, *states))

    def run(self, operands: Sequence[Array]) -> tuple[Array, tuple[Array, ...], list[Step]]:
        """y, the final states and each step, in f64."""
        given = self.named(operands)
        wide = self.named([operand.astype(np.float64) for operand in operands])
        steps, batch, _ = given.x.shape
        units = given.weight_hh.shape[1]
        bias_ih, bias_hh = wide.biases or (0.0, 0.0)
        lengths = np.full(batch, steps) if given.lengths is None else given.lengths
        states = wide.states or tuple(np.zeros((batch, units)) for _ in range(self.state_count))
        y = np.zeros((steps, batch, units))
        taken = []
        for time in reversed(range(steps)) if self.reverse else range(steps):
            alive = (time < lengths)[:, None]
            inputs, hidden = wide.x[time] @ wide.weight_ih.T + bias_ih, states[0] @ wide.weight_hh.T + bias_hh
            taken.append(Step(time, inputs, hidden, states, alive))
            after = self.cell(inputs, hidden, states)
            states = tuple(np.where(alive, new, old) for new, old in zip(after, states, strict=True))
            y[time] = np.where(alive, states[0], 0)
        return y, states, sorted(taken, key=lambda step: step.time)

    # ONNX

    def onnx(self, c: OnnxLowering) -> None:
        if c.input_types[0].dtype is DType.F64:
            raise FacetError(f"ONNX Runtime has no {self.onnx_kind} for f64: use f32")
        given = self.named(c.inputs)
        lengths = ""
        if given.lengths is not None:
            narrow = c.input_types[c.inputs.index(given.lengths)].dtype is DType.I32
            lengths = given.lengths if narrow else c.node("Cast", (given.lengths,), to=DType.I32)
        inputs = [given.x, self._direction(c, given.weight_ih, 1), self._direction(c, given.weight_hh, 1)]
        biases = c.node("Concat", given.biases, axis=0) if given.biases else ""
        inputs += [self._direction(c, biases, 2) if biases else "", lengths]
        inputs += [c.node("Unsqueeze", (state, c.constant(np.array([0])))) for state in given.states]
        while not inputs[-1]:
            inputs.pop()
        self._onnx_results(c, inputs, given)

    def _direction(self, c: OnnxLowering, weight: str, repeats: int) -> str:
        """The weight with its gates in ONNX's order behind an axis for the direction."""
        gates, units = len(self.gate_order), c.output_types[0].shape[2]
        assert isinstance(units, int), "weights have fixed sizes"
        result = (c.name(f"{weight} for {self.onnx_kind}"),)
        if gates == 1:
            return c.node("Unsqueeze", (weight, c.constant(np.array([0]))), result)
        order = np.array([gate + gates * repeat for repeat in range(repeats) for gate in self.gate_order])
        rows = (order[:, None] * units + np.arange(units)).reshape(1, -1)
        return c.node("Gather", (weight, c.constant(rows, f"order of gates {self.gate_order}")), result, axis=0)

    def _onnx_results(self, c: OnnxLowering, inputs: list[str], given: Operands[str]) -> None:
        results = ("Y", "Y_h", "Y_c")[: 1 + self.state_count]
        made = [c.name(result) if c.is_read(index) else "" for index, result in enumerate(results)]
        while not made[-1]:
            made.pop()
        attributes = {"hidden_size": c.output_types[0].shape[2], "direction": "reverse" if self.reverse else "forward"}
        c.node(self.onnx_kind, inputs, made, **attributes, **self.onnx_attributes())
        for index, name in enumerate(made):
            if not name:
                continue
            axis = c.constant(np.array([1 if index == 0 else 0]))
            if index == 0 or not (given.states and given.lengths):
                c.node("Squeeze", (name, axis), (c.outputs[index],))
                continue
            # For a sequence of no steps ONNX Runtime gives zeros, and not the state that it began with.
            lengths = c.node("Unsqueeze", (inputs[4], c.constant(np.array([1]))))
            empty = c.node("Equal", (lengths, c.scalar(0, DType.I32)))
            after = c.node("Squeeze", (name, axis))
            c.node("Where", (empty, given.states[index - 1], after), (c.outputs[index],))

    def onnx_attributes(self) -> dict[str, Any]:
        """The attributes that ONNX's operator has beside the common ones."""
        return {}

    @classmethod
    def _samples(cls, **attributes: Any) -> Iterator[Sample]:
        """Samples of 5 units and 3 features with every combination of what can be left out that tells something."""
        for reverse, bias, state, lengths in (
            (False, True, False, False),
            (True, False, False, False),
            (False, True, True, True),
            (True, True, True, True),
            (True, True, False, True),
        ):
            operation = cls(reverse, bias, state, lengths, **attributes)
            yield sample_of(operation, (T, N, 3), 5)
        yield sample_of(cls(**attributes), (1, 1, 2), 1)


class Step(NamedTuple):
    """One step of the reference: its place in time, what the cell is given, and which sequences take part [N, 1]."""

    time: int
    inputs: Array
    hidden: Array
    states: tuple[Array, ...]
    alive: Array


@dataclass(frozen=True)
class RecurrentGradient(Op):
    """Backpropagation through time: the part of a recurrent layer's gradient that has to go step by step.

    Operands: weight_hh, y and what the layer kept for this; the first states where ``state``, the lengths where
    ``lengths``, the gradient of y where ``sequence`` (else 0), and that of every final state. What else there is to
    the gradient are products over all steps at once, which the layer's ``gradient`` writes as such.
    """

    reverse: bool = False
    state: bool = False
    lengths: bool = False
    sequence: bool = True

    state_count: ClassVar[int] = 1
    kept_count: ClassVar[int] = 0

    gradient = without("second derivatives through time are not supported")
    onnx = without("ONNX has no operator for the gradient of a recurrent layer: train with NumPy, and export the model")

    def named(self, operands: Sequence[Item]) -> GradientOperands[Item]:
        """The operands by name."""
        rest = list(operands)

        def take(count: int) -> tuple[Item, ...]:
            taken = tuple(rest[:count])
            del rest[:count]
            return taken

        (weight_hh, y), kept = take(2), take(self.kept_count)
        states, lengths, d_y = take(self.state_count * self.state), take(int(self.lengths)), take(int(self.sequence))
        return GradientOperands(
            weight_hh, y, kept, states, lengths[0] if lengths else None, d_y[0] if d_y else None, tuple(rest)
        )

    def alive(self, steps: int, lengths: Array | None, batch: int) -> Array:
        """Which sequences take part in each step [T, N, 1]."""
        lengths = np.full(batch, steps) if lengths is None else lengths
        alive: Array = (np.arange(steps)[:, None] < lengths)[:, :, None]
        return alive

    def state_before(
        self, time: int, before: int | None, alive: Array, first: Array, y: Array
    ) -> Array:
        """The hidden state [N, H] that the step at ``time`` began with, for the sequences that take part in it."""
        began = alive[time] if before is None else alive[time] & ~alive[before]
        return np.where(began, first, 0 if before is None else y[before])

    def backwards(self, steps: int) -> Iterator[tuple[int, int | None]]:
        """The steps in the order in which the gradient takes them, each with the step before it, if there is one."""
        order = list(range(steps))[:: -1 if self.reverse else 1]
        return reversed(list(zip(order, [None, *order[:-1]], strict=True)))


class GradientOperands(NamedTuple, Generic[Item]):
    """The operands of a recurrent layer's gradient by name; what it goes without is () or None."""

    weight_hh: Item
    y: Item
    kept: tuple[Item, ...]
    states: tuple[Item, ...]
    lengths: Item | None
    d_y: Item | None
    d_states: tuple[Item, ...]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) of moderate f64 numbers."""
    return np.asarray(1 / (1 + np.exp(-x)))


def is_zero(b: Emit, gradient: Value) -> bool:
    """Whether a gradient is the 0 that stands for a result which nothing reads."""
    node = b.producer(gradient)
    source = b.producer(node.inputs[0]) if node is not None and isinstance(node.operation, Expand) else None
    return source is not None and isinstance(source.operation, Constant) and not source.operation.array.any()


def flat_steps(b: Emit, x: Value) -> Value:
    """[T, N, F] as the rows [T·N, F]."""
    steps, batch, features = x.type.shape
    return b.reshape(x, (steps * batch, features))


def mask_of(c: NumpyLowering, lengths: str | None, steps: Dim, batch: Dim, columns: tuple[Dim, ...] = ()) -> str:
    """Write the statements that work out which sequences take part in each step; gives the expression of a pair of
    bool arrays [T, N, *columns], of those that do and those that do not, or None where all do."""
    if lengths is None:
        return "None"
    alive, dead = (c.scratch(TensorType(DType.BOOL, (steps, batch, *columns))) for _ in range(2))
    times = c.bound(f"np.arange({c.dim(steps)})[:, None]", TensorType(DType.I64, (steps, 1)))
    c.line(f"np.less({times}, {lengths}, out={c.view(alive, f'reshape({c.shape((steps, batch))})')})")
    c.line(f"np.logical_not({alive}, out={dead})")
    return f"({alive}, {dead})"


def pair(items: Sequence[str]) -> str:
    """The expression of a tuple of arrays, or None for nothing."""
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})" if items else "None"


def with_helpers(c: NumpyLowering, name: str, source: str) -> str:
    """The name of a function of the generated module that calls those which recurrent layers share."""
    for shared, text in HELPERS.items():
        if f"{shared}(" in source:
            c.helper(shared, text)
    return c.helper(name, source)


HELPERS = {
    "recurrent_rows": '''\
def recurrent_rows(x, rows):
    """The inputs of all steps as rows, with a column of ones for the bias where `rows` has room for it."""
    steps, batch, features = x.shape
    np.copyto(rows.reshape(steps, batch, -1)[:, :, :features], x)
    rows[:, features:] = 1
''',
    "recurrent_columns": '''\
def recurrent_columns(x, columns):
    """The inputs of each step as columns, with a row of ones for the bias where `columns` has room for it."""
    features = x.shape[2]
    np.copyto(columns[:, :features], x.transpose(0, 2, 1))
    columns[:, features:] = 1
''',
    "recurrent_steps": '''\
def recurrent_steps(mask, reverse, *sequences):
    """For each step, from the last one on where `reverse`, its part of each sequence and of the two masks."""
    order = slice(None, None, -1 if reverse else 1)
    nothing = [None] * len(sequences[0])
    parts = [nothing if sequence is None else sequence[order] for sequence in sequences]
    return zip(*parts, *(part[order] for part in mask or (nothing, nothing)))
''',
    "weight_through_states": '''\
def weight_through_states(d_sums, y, reverse, out):
    """What all steps but the first give to the gradient of the weights of the state, in one product."""
    batch, states = y.shape[1], y.reshape(-1, y.shape[2])
    if reverse:
        np.dot(d_sums[:, :-batch], states[batch:], out=out)
    else:
        np.dot(d_sums[:, batch:], states[:-batch], out=out)
''',
}


def sample_of(operation: Recurrent, x: tuple[Dim, ...], units: int) -> Sample:
    """A sample of ``operation`` for x of this shape, with seeded operands."""
    features, gates = x[2], len(operation.gate_order) * units
    shapes: list[tuple[Dim, ...]] = [x, (gates, features), (gates, units), *[(gates,)] * (2 * operation.bias)]
    shapes += [(x[1], units)] * (operation.state_count * operation.state)
    types = [TensorType(DType.F32, shape) for shape in shapes]
    types += [TensorType(DType.I32 if operation.reverse else DType.I64, (x[1],))] * operation.lengths
    return Sample(operation, tuple(types), sizes=SIZES, values=tuple(_drawn(types, units)))


def gradient_sample(operation: RecurrentGradient, units: int, gates: int, kept: Sequence[int]) -> Sample:
    """A sample with seeded operands; what is kept is [T, n·units, N] for each n of ``kept``, and y is 0 beyond the
    lengths, as it always is."""
    y, state = (T, N, units), (N, units)
    shapes: list[tuple[Dim, ...]] = [(gates * units, units), y, *((T, n * units, N) for n in kept)]
    shapes += [state] * (operation.state_count * operation.state)
    types = [TensorType(DType.F32, shape) for shape in shapes]
    types += [TensorType(DType.I64, (N,))] * operation.lengths
    types += [TensorType(DType.F32, y)] * operation.sequence + [TensorType(DType.F32, state)] * operation.state_count
    values = _drawn(types, units)
    if operation.lengths:
        values[1] *= operation.alive(SIZES["T"], np.array(LENGTHS), SIZES["N"])
    return Sample(operation, tuple(types), sizes=SIZES, values=tuple(values))


def _drawn(types: Sequence[TensorType], seed: int) -> list[Array]:
    """Seeded values from -1 to 1 for types of floats, and lengths for those of integers."""
    generator = np.random.default_rng(seed)
    drawn = []
    for type in types:
        sizes = [evaluate(dim, SIZES) for dim in type.shape]
        numbers = generator.uniform(-1, 1, sizes) if type.dtype.is_float else np.array(LENGTHS)
        drawn.append(numbers.astype(type.dtype.numpy))
    return drawn


def _need_shape(verb: str, name: str, type: TensorType, shape: tuple[Dim, ...]) -> None:
    same = type.rank == len(shape) and all(equal(a, b) for a, b in zip(type.shape, shape, strict=True))
    if not same:
        raise TypeMismatch("E0301", f"cannot {verb}: {name} is {type}", f"it has to be {shape_text(shape)}")
