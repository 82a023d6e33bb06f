"""What recurrent layers have in common: one layer over whole sequences as one operation.

Weights are PyTorch's, by their names, shapes and order of gates, so that its weights are taken as they are; ONNX
has the gates in another order, into which they are brought while exporting.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np

from compiler.ir.dims import Dim, equal, evaluate, symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.base import Array, FacetError, Gradients, OnnxLowering, Op, Sample, Sizes, Values
from compiler.ops.checks import need_floats, need_indices, need_one_dtype
from compiler.ops.constant import Constant
from compiler.ops.parts import Cut, Joined
from compiler.ops.shape import Expand, shape_text

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

Item = TypeVar("Item")
Direction: TypeAlias = Literal["forward", "reverse", "both"]
N, T = symbol("N"), symbol("T")
SIZES = {"N": 3, "T": 4}
LENGTHS = (4, 0, 2)
F32 = DType.F32


class Weights(NamedTuple, Generic[Item]):
    """The weights of one direction; ``biases`` are bias_ih and bias_hh, or ()."""

    weight_ih: Item
    weight_hh: Item
    biases: tuple[Item, ...]


class Operands(NamedTuple, Generic[Item]):
    """The operands of a recurrent layer by name; what it goes without is () or None."""

    x: Item
    weights: tuple[Weights[Item], ...]
    states: tuple[Item, ...]
    lengths: Item | None


@dataclass(frozen=True)
class Recurrent(Op):
    """Operands, those in brackets where the attribute of that name says so: x [T, N, F]; weight_ih [G·H, F],
    weight_hh [G·H, H] and [bias: bias_ih and bias_hh, both [G·H]] for each direction; [state: what every state begins
    as, [N, H], or [N, 2, H] for both directions, else 0]; [lengths: of the sequences, i32 or i64 [N], else all are T].
    The G gates of H units each are one behind the other.

    Results: y [T, N, H], or [T, N, 2·H] for both directions, the hidden state after each step; and every state after
    the last step. From a sequence's length on y is 0 and the states stay as they are. ``reverse`` takes the steps from
    the last one of each sequence to its first. Lengths lie from 0 to T: whoever feeds them checks them.
    """

    direction: Direction = "forward"
    bias: bool = True
    state: bool = False
    lengths: bool = False

    # The places of ONNX's gates among PyTorch's.
    gate_order: ClassVar[tuple[int, ...]]
    state_count: ClassVar[int] = 1
    # How many results of each direction are there for the gradient alone.
    kept_count: ClassVar[int] = 0
    onnx_kind: ClassVar[str]

    @property
    def reversals(self) -> tuple[bool, ...]:
        """For each direction whether it takes the steps from the last to the first."""
        return {"forward": (False,), "reverse": (True,), "both": (False, True)}[self.direction]

    @property
    def auxiliary(self) -> int:
        return self.kept_count * len(self.reversals)

    def named(self, operands: Sequence[Item]) -> Operands[Item]:
        """The operands by name."""
        each = 2 + 2 * self.bias
        starts = [1 + each * place for place in range(len(self.reversals) + 1)]
        weights = tuple(
            Weights(operands[at], operands[at + 1], tuple(operands[at + 2 : at + each])) for at in starts[:-1]
        )
        rest = operands[starts[-1] :]
        states = tuple(rest[: self.state_count * self.state])
        return Operands(operands[0], weights, states, rest[-1] if self.lengths else None)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        given = self.named(inputs)
        need_floats(f"run {self.opcode} over", given.x)
        floats = [type for weights in given.weights for type in (*weights[:2], *weights.biases)]
        need_one_dtype(f"run {self.opcode} over", given.x, *floats, *given.states)
        verb = f"run {self.opcode} over {given.x}"
        if given.x.rank != 3 or given.weights[0].weight_hh.rank != 2:
            raise TypeMismatch("E0301", f"cannot {verb}", "its axes have to be [steps, batch, features]")
        (steps, batch, features), units = given.x.shape, given.weights[0].weight_hh.shape[1]
        gates, directions = units * len(self.gate_order), len(given.weights)
        for weights in given.weights:
            _need_shape(verb, "weight_ih", weights.weight_ih, (gates, features))
            _need_shape(verb, "weight_hh", weights.weight_hh, (gates, units))
            for bias in weights.biases:
                _need_shape(verb, "a bias", bias, (gates,))
        state = given.x.with_shape((batch, units) if directions == 1 else (batch, directions, units))
        for first in given.states:
            _need_shape(verb, "the initial state", first, state.shape)
        if given.lengths is not None:
            need_indices(f"{verb} with lengths", given.lengths)
            _need_shape(verb, "lengths", given.lengths, (batch,))
        return (given.x.with_shape((steps, batch, directions * units)), *[state] * self.state_count)

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        given = self.named(inputs)
        sizes = (weights.weight_ih.size + weights.weight_hh.size for weights in given.weights)
        return given.x.shape[0] * given.x.shape[1] * sum(sizes, start=0)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.by_carrier() if cut.axes[0] == 1 else None

    # The meaning

    @abstractmethod
    def cell(self, inputs: Array, hidden: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        """The states after one step, the hidden one first; ``inputs = x @ weight_ih.T + bias_ih`` and
        ``hidden = h @ weight_hh.T + bias_hh`` are [N, G·H]."""

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        runs = self.runs(operands)
        y = np.concatenate([run.y for run in runs], axis=2)
        ends = zip(*(run.states for run in runs), strict=True)
        states = [end[0] if len(runs) == 1 else np.stack(end, axis=1) for end in ends]
        kept = [result for run in runs for result in self.keep(run)]
        return tuple(np.asarray(result).astype(operands[0].dtype) for result in (y, *states, *kept))

    def keep(self, run: Run) -> tuple[Any, ...]:
        """What of one direction is kept for the gradient."""
        return ()

    def runs(self, operands: Sequence[Array]) -> list[Run]:
        """The run of each direction, in f64."""
        given = self.named([operand.astype(np.float64) for operand in operands])
        lengths = None if given.lengths is None else given.lengths.astype(np.int64)
        found = []
        for place, (weights, reverse) in enumerate(zip(given.weights, self.reversals, strict=True)):
            states = tuple(state if len(given.weights) == 1 else state[:, place] for state in given.states)
            found.append(self._run(given.x, weights, states, lengths, reverse))
        return found

    def _run(
        self, x: Array, weights: Weights[Array], states: tuple[Array, ...], lengths: Array | None, reverse: bool
    ) -> Run:
        steps, batch, units = len(x), x.shape[1], weights.weight_hh.shape[1]
        bias_ih, bias_hh = weights.biases or (0.0, 0.0)
        states = states or tuple(np.zeros((batch, units)) for _ in range(self.state_count))
        y, taken = np.zeros((steps, batch, units)), []
        for time in reversed(range(steps)) if reverse else range(steps):
            alive = (time < (np.full(batch, steps) if lengths is None else lengths))[:, None]
            inputs, hidden = x[time] @ weights.weight_ih.T + bias_ih, states[0] @ weights.weight_hh.T + bias_hh
            taken.append(Step(time, inputs, hidden, states, alive))
            after = self.cell(inputs, hidden, states)
            states = tuple(np.where(alive, new, old) for new, old in zip(after, states, strict=True))
            y[time] = np.where(alive, states[0], 0)
        return Run(y, states, sorted(taken, key=lambda step: step.time))

    # The gradient

    @abstractmethod
    def through_time(
        self, b: Emit, flags: tuple[bool, bool, bool, bool], operands: Values, x: Value, weight_ih: Value
    ) -> tuple[Value, tuple[Value, ...], tuple[Value, ...]]:
        """The gradients of one direction: of x, of its weights and of its first states. ``flags`` and ``operands`` are
        those of the gradient's own operation (see ``RecurrentGradient``)."""

    def kept(self, b: Emit, inputs: Values, outputs: Values) -> Values:
        """What the gradient goes by besides y, for one direction after the other."""
        return ()

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        given, kept = self.named(inputs), self.kept(b, inputs, outputs)
        d_y, *d_ends = gradients[: 1 + self.state_count]
        lengths, reached = () if given.lengths is None else (given.lengths,), not is_zero(b, d_y)
        d_xs, d_weights, d_states = list[Value](), list[Value](), list[tuple[Value, ...]]()
        each = len(kept) // len(given.weights)
        for place, (weights, reverse) in enumerate(zip(given.weights, self.reversals, strict=True)):
            units = weights.weight_hh.type.shape[1]
            y, d_y_part = (units_of(b, value, place, units) for value in (outputs[0], d_y))
            states, d_ends_part = ([state_of(b, v, place) for v in values] for values in (given.states, d_ends))
            needed = (weights.weight_hh, y, *kept[place * each : (place + 1) * each], *states, *lengths)
            operands = (*needed, *([d_y_part] if reached else []), *d_ends_part)
            flags = (reverse, self.state, self.lengths, reached)
            d_x, of_weights, of_states = self.through_time(b, flags, operands, given.x, weights.weight_ih)
            d_xs.append(d_x)
            d_weights += of_weights
            d_states.append(of_states)
        d_firsts = [together(b, parts) for parts in zip(*d_states, strict=True)] if self.state else []
        total = d_xs[0] if len(d_xs) == 1 else b.add(*d_xs)
        return b.reshape(total, given.x.type.shape), *d_weights, *d_firsts, *[None] * self.lengths

    # ONNX

    def onnx(self, c: OnnxLowering) -> None:
        if c.input_types[0].dtype is DType.F64:
            raise FacetError(f"ONNX Runtime has no {self.onnx_kind} for f64: use f32")
        self.onnx_layer(c, self.onnx_weights(c))

    def onnx_layer(self, c: OnnxLowering, weights: Sequence[str]) -> None:
        """Write ONNX's operator for the layer with W, R and B, and what brings its results into shape."""
        given = self.named(c.inputs)
        lengths = ""
        if given.lengths is not None:
            narrow = c.input_types[-1].dtype is DType.I32
            lengths = given.lengths if narrow else c.node("Cast", (given.lengths,), to=DType.I32)
        inputs = [given.x, *weights, lengths]
        if len(given.weights) == 1:
            inputs += [c.node("Unsqueeze", (state, c.constant(np.array([0])))) for state in given.states]
        else:
            inputs += [c.node("Transpose", (state,), perm=(1, 0, 2)) for state in given.states]
        results = ("Y", "Y_h", "Y_c")[: 1 + self.state_count]
        made = [c.name(result) if c.is_read(index) else "" for index, result in enumerate(results)]
        for names in (inputs, made):
            while not names[-1]:
                names.pop()
        units = c.input_types[2].shape[1]
        words = {"forward": "forward", "reverse": "reverse", "both": "bidirectional"}
        attributes = {"hidden_size": units, "direction": words[self.direction], **self.onnx_attributes()}
        c.node(self.onnx_kind, inputs, made, **attributes)
        for index, name in enumerate(made):
            if name and index == 0:
                self._onnx_sequence(c, name)
            elif name:
                self._onnx_state(c, name, index, given.states[index - 1] if given.states else "", lengths)

    def onnx_weights(self, c: OnnxLowering) -> list[str]:
        """W, R and B: the weights of all directions, with the gates in ONNX's order; B is "" without biases."""
        directions = self.named(c.inputs).weights
        found = [
            self._onnx_weight(c, [getattr(weights, field) for weights in directions], 1)
            for field in ("weight_ih", "weight_hh")
        ]
        if not self.bias:
            return [*found, ""]
        pairs = []
        for weights in directions:
            ih, hh = weights.biases
            name = c.name(f"{ih} and {hh.rpartition('.')[2]}")
            pairs.append(c.node("Concat", (ih, hh), (name,), axis=0))
        return [*found, self._onnx_weight(c, pairs, 2)]

    def _onnx_weight(self, c: OnnxLowering, weights: Sequence[str], repeats: int) -> str:
        gates, units = len(self.gate_order), c.input_types[2].shape[1]
        assert isinstance(units, int), "weights have fixed sizes"
        names = [c.name(f"{weight} for {self.onnx_kind}") for weight in weights]
        if gates == 1:
            first = c.constant(np.array([0]))
            ordered = [c.node("Unsqueeze", (w, first), (name,)) for w, name in zip(weights, names, strict=True)]
        else:
            order = np.array([gate + gates * repeat for repeat in range(repeats) for gate in self.gate_order])
            rows = (order[:, None] * units + np.arange(units)).reshape(1, -1)
            places = c.constant(rows, f"order of gates {self.gate_order}")
            ordered = [c.node("Gather", (w, places), (n,), axis=0) for w, n in zip(weights, names, strict=True)]
        both = c.name(f"{names[0]}, both directions") if len(ordered) > 1 else ""
        return c.node("Concat", ordered, (both,), axis=0) if both else ordered[0]

    def _onnx_sequence(self, c: OnnxLowering, made: str) -> None:
        """y of ONNX's [T, directions, N, H]."""
        if len(self.reversals) == 1:
            c.node("Squeeze", (made, c.constant(np.array([1]))), c.outputs[:1])
            return
        turned = c.node("Transpose", (made,), perm=(0, 2, 1, 3))
        shape = np.array([0, 0, c.output_types[0].shape[2]], np.int64)
        c.node("Reshape", (turned, c.constant(shape)), c.outputs[:1])

    def _onnx_state(self, c: OnnxLowering, made: str, index: int, first: str, lengths: str) -> None:
        """A last state of ONNX's [directions, N, H]."""
        # For a sequence of no steps ONNX Runtime gives zeros, and not the state that it began with.
        repair = bool(first and lengths)
        result = None if repair else (c.outputs[index],)
        single = len(self.reversals) == 1
        if single:
            after = c.node("Squeeze", (made, c.constant(np.array([0]))), result)
        else:
            after = c.node("Transpose", (made,), result, perm=(1, 0, 2))
        if repair:
            axes = c.constant(np.array([1] if single else [1, 2]))
            empty = c.node("Equal", (c.node("Unsqueeze", (lengths, axes)), c.scalar(0, DType.I32)))
            c.node("Where", (empty, first, after), (c.outputs[index],))

    def onnx_attributes(self) -> dict[str, Any]:
        """The attributes that ONNX's operator has beside the common ones."""
        return {}

    @classmethod
    def _samples(cls, **attributes: Any) -> Iterator[Sample]:
        """Samples of all directions, with and without each of what can be left out."""
        for operation in (
            cls("forward", **attributes),
            cls("reverse", bias=False, **attributes),
            cls("both", **attributes),
            cls("forward", state=True, lengths=True, **attributes),
            cls("reverse", state=True, lengths=True, **attributes),
            cls("both", state=True, lengths=True, **attributes),
            cls("both", bias=False, lengths=True, **attributes),
        ):
            yield _sample(operation, (T, N, 3), 5)
        yield _sample(cls(**attributes), (1, 1, 2), 1)


class Step(NamedTuple):
    """One step of the reference: its place in time, what the cell is given, and which sequences take part [N, 1]."""

    time: int
    inputs: Array
    hidden: Array
    states: tuple[Array, ...]
    alive: Array


class Run(NamedTuple):
    """One direction of the reference: y [T, N, H], the last states and the steps in order of time."""

    y: Array
    states: tuple[Array, ...]
    steps: list[Step]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) of moderate f64 numbers."""
    return np.asarray(1 / (1 + np.exp(-x)))


def is_zero(b: Emit, value: Value) -> bool:
    """Whether a value is a 0 in all places, such as the gradient of a result that nothing reads."""
    node = b.producer(value)
    source = b.producer(node.inputs[0]) if node is not None and isinstance(node.operation, Expand) else None
    return source is not None and isinstance(source.operation, Constant) and not source.operation.array.any()


def flat_steps(b: Emit, x: Value) -> Value:
    """[T, N, F] as the rows [T·N, F]."""
    steps, batch, features = x.type.shape
    return b.reshape(x, (steps * batch, features))


def flat_gates(b: Emit, d_sums: Value) -> Value:
    """[G·H, T, N] as the columns [G·H, T·N]."""
    gates, steps, batch = d_sums.type.shape
    return b.reshape(d_sums, (gates, steps * batch))


def units_of(b: Emit, y: Value, place: int, units: Dim) -> Value:
    """The units of one direction of y or its gradient."""
    steps, batch, _ = y.type.shape
    return b.slice(y, (0, 0, place * units), (steps, batch, (place + 1) * units))


def state_of(b: Emit, state: Value, place: int) -> Value:
    """The state [N, H] of one direction."""
    if state.type.rank == 2:
        return state
    batch, _, units = state.type.shape
    return b.reshape(b.slice(state, (0, place, 0), (batch, place + 1, units)), (batch, units))


def together(b: Emit, states: Sequence[Value]) -> Value:
    """The states [N, H] of the directions as one."""
    if len(states) == 1:
        return states[0]
    batch, units = states[0].type.shape
    return b.concat([b.reshape(state, (batch, 1, units)) for state in states], 1)


def drawn(types: Sequence[TensorType], seed: int) -> tuple[Array, ...]:
    """Seeded values from -1 to 1 for types of floats, and lengths for those of integers."""
    generator = np.random.default_rng(seed)
    found = []
    for type in types:
        sizes = [evaluate(dim, SIZES) for dim in type.shape]
        numbers = generator.uniform(-1, 1, sizes) if type.dtype.is_float else np.array(LENGTHS)
        found.append(numbers.astype(type.dtype.numpy))
    return tuple(found)


def _sample(operation: Recurrent, x: tuple[Dim, ...], units: int) -> Sample:
    directions, gates = len(operation.reversals), len(operation.gate_order) * units
    weights: list[tuple[Dim, ...]] = [(gates, x[2]), (gates, units), *[(gates,)] * (2 * operation.bias)]
    state = (x[1], units) if directions == 1 else (x[1], directions, units)
    shapes = [x, *weights * directions, *[state] * (operation.state_count * operation.state)]
    types = [TensorType(F32, shape) for shape in shapes]
    types += [TensorType(DType.I32 if operation.direction == "reverse" else DType.I64, (x[1],))] * operation.lengths
    return Sample(operation, tuple(types), sizes=SIZES, values=drawn(types, units))


def _need_shape(verb: str, name: str, type: TensorType, shape: tuple[Dim, ...]) -> None:
    same = type.rank == len(shape) and all(equal(a, b) for a, b in zip(type.shape, shape, strict=True))
    if not same:
        raise TypeMismatch("E0301", f"cannot {verb}: {name} is {type}", f"it has to be {shape_text(shape)}")
