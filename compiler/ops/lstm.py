"""The LSTM over whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.ir.graph import Value
from compiler.ir.types import TensorType
from compiler.ops.base import Array, NumpyLowering, Sample, Values, operation, without
from compiler.ops.lstm_gradient import LstmGradient
from compiler.ops.recurrent import Recurrent, Run, flat_steps, sigmoid
from compiler.ops.recurrent_numpy import mask_of, pair, part_of, states_of, together, with_helpers

if TYPE_CHECKING:
    from compiler.ops.emit import Emit


@operation
@dataclass(frozen=True)
class Lstm(Recurrent):
    """Hochreiter and Schmidhuber, Long short-term memory, 1997, with the forget gate of Gers et al., 2000::

        i, f, o = sigmoid(…), sigmoid(…), sigmoid(…)    each … = W x + b + R h + d with rows of its own
        g       = tanh(…)
        c'      = f * c + i * g
        h'      = o * tanh(c')

    The gates stand in the order i, f, g, o, as in PyTorch. The states are h and c.
    """

    opcode = "lstm"
    gate_order = (0, 3, 1, 2)
    state_count = 2
    onnx_kind = "LSTM"

    def cell(self, inputs: Array, hidden: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        into, keep, new, out = activated(inputs + hidden)
        cell = keep * states[1] + into * new
        return out * np.tanh(cell), cell

    def kept(self, b: Emit, inputs: Values, outputs: Values) -> Values:
        # The layer is run again, as it did not keep what its gradient goes by.
        return b.add_node(LstmTraining(self.direction, self.bias, self.state, self.lengths), inputs)[3:]

    def through_time(
        self, b: Emit, flags: tuple[bool, bool, bool, bool], operands: Values, x: Value, weight_ih: Value
    ) -> tuple[Value, tuple[Value, ...], tuple[Value, ...]]:
        d_sums, d_weight_hh, *d_states = b.add_node(LstmGradient(*flags), operands)
        d_sums = flat_steps(b, d_sums)
        d_weight_ih = b.matmul(b.transpose(d_sums, (1, 0)), flat_steps(b, x))
        d_bias = [b.sum(d_sums, (0,))] * (2 * self.bias)
        return b.matmul(d_sums, weight_ih), (d_weight_ih, d_weight_hh, *d_bias), tuple(d_states)

    def numpy(self, c: NumpyLowering) -> None:
        x, units = c.input_types[0], c.input_types[2].shape[1]
        steps, batch, _ = x.shape
        for place in range(len(self.reversals)):
            gates, cell = (steps, 4, batch, units), (batch, units)
            lower_lstm(self, c, place, c.scratch(x.with_shape(gates)), c.scratch(x.with_shape(cell)))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return tuple(cls._samples())


@operation
@dataclass(frozen=True)
class LstmTraining(Lstm):
    """An LSTM that keeps what its gradient needs as two more results for each direction: the gates [T, 4, N, H] after
    their activations, in the order o, i, f, g, and the cells [T, N, H]. Where a sequence takes no part in a step, f is
    1 for it and the others are 0, as nothing changes then."""

    opcode = "lstm_training"
    kept_count = 2

    onnx = without("ONNX's LSTM does not keep what the gradient needs: train with NumPy, and export the model")

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (steps, batch, _), units = inputs[0].shape, inputs[2].shape[1]
        kept = (inputs[0].with_shape(shape) for shape in ((steps, 4, batch, units), (steps, batch, units)))
        return *super().infer(inputs), *tuple(kept) * len(self.reversals)

    def kept(self, b: Emit, inputs: Values, outputs: Values) -> Values:
        return outputs[3:]

    def keep(self, run: Run) -> tuple[Any, ...]:
        gates, cells = [], []
        for step in run.steps:
            into, keep, new, out = (np.where(step.alive, x, 0) for x in activated(step.inputs + step.hidden))
            keep = np.where(step.alive, keep, 1)
            gates.append([out, into, keep, new])
            cells.append(keep * step.states[1] + into * new)
        return gates, cells

    def numpy(self, c: NumpyLowering) -> None:
        for place in range(len(self.reversals)):
            lower_lstm(self, c, place, *c.outputs[3 + 2 * place : 5 + 2 * place])


def activated(before: Array) -> tuple[Array, Array, Array, Array]:
    """i, f, g and o of their sums [N, 4·H]."""
    into, keep, new, out = np.split(before, 4, axis=1)
    return sigmoid(into), sigmoid(keep), np.tanh(new), sigmoid(out)


def lower_lstm(op: Recurrent, c: NumpyLowering, place: int, gates: str, cells: str) -> None:
    """Write the call for one direction; ``gates`` is an array for all steps, ``cells`` one for all or for one step."""
    given, type, count = op.named(c.inputs), c.input_types[0], len(op.reversals)
    (steps, batch, features), units = type.shape, c.input_types[2].shape[1]
    weight_ih, weight_hh, biases = given.weights[place]
    width, state = features + op.bias, (batch, units)
    shapes = ((steps, batch, width), (4, width, units), (4, units, units), (4, *state), state, state)
    work = [c.scratch(type.with_shape(shape)) for shape in shapes]
    c.helper("lstm_weights", LSTM_WEIGHTS)
    c.helper("lstm_sums", LSTM_SUMS)
    c.line(
        f"{with_helpers(c, 'lstm', LSTM)}({given.x}, {weight_ih}, {weight_hh}, {pair(biases)}, "
        f"{pair(states_of(given.states, place, count))}, {mask_of(c, given.lengths, steps, batch, (1,))}, "
        f"{op.reversals[place]}, {pair(part_of(c.outputs[:3], units, place, count, c))}, "
        f"{gates}, {cells}, {together(units)}, {pair(work)}, {c.scalar(0.5, type.dtype)})"
    )


# sigmoid(x) = (tanh(x / 2) + 1) / 2, so that one tanh serves all gates: the factor goes into the weights.
LSTM_WEIGHTS = '''\
def lstm_weights(weight_ih, weight_hh, biases, from_input, from_state):
    """The weights of the gates as what rows are multiplied by, [4, F, H] and [4, H, H], in the order o, i, f, g, with
    half of those that go into a sigmoid; behind those of the input stands the sum of the biases."""
    features, units = weight_ih.shape[1], weight_hh.shape[1]
    for gate, (place, factor) in enumerate(((3, 0.5), (0, 0.5), (1, 0.5), (2, 1.0))):
        rows = slice(place * units, (place + 1) * units)
        np.multiply(weight_ih[rows].T, factor, out=from_input[gate, :features])
        np.multiply(weight_hh[rows].T, factor, out=from_state[gate])
        if biases:
            bias = from_input[gate, features]
            np.add(biases[0][rows], biases[1][rows], out=bias)
            np.multiply(bias, factor, out=bias)
'''

LSTM_SUMS = '''\
def lstm_sums(rows, from_input, gates, together, reverse):
    """What the input gives to the sums of the gates: for each step its part of `gates`, into which that is written for
    several steps `together`, shortly before it is read."""
    starts = range(0, len(rows), together)
    for start in reversed(starts) if reverse else starts:
        part = slice(start, start + together)
        np.matmul(rows[part, None], from_input, out=gates[part])
        yield from gates[part][:: -1 if reverse else 1]
'''

LSTM = '''\
def lstm(x, weight_ih, weight_hh, biases, states, mask, reverse, results, gates, cells, together, work, half):
    """An LSTM over all steps of x [T, N, F]. `gates` [T, 4, N, H] has all steps, each of them contiguous; `cells`
    has them where they are kept, else one."""
    y, h, c = results
    rows, from_input, from_state, through_state, product, first = work
    recurrent_rows(x, rows)
    lstm_weights(weight_ih, weight_hh, biases, from_input, from_state)
    hidden, cell = h, first
    np.copyto(hidden, states[0] if states else 0)
    np.copyto(cell, states[1] if states else 0)
    through_input = lstm_sums(rows, from_input, gates, together, reverse)
    each_cell = cells if cells.ndim == 3 else [cells] * len(y)
    for gate, (after, y_t, alive, dead) in zip(through_input, recurrent_steps(mask, reverse, each_cell, y)):
        out, into, keep, new = gate
        squashed = gate[:3]
        np.matmul(hidden, from_state, out=through_state)
        np.add(gate, through_state, out=gate)
        np.tanh(gate, out=gate)
        np.multiply(squashed, half, out=squashed)
        np.add(squashed, half, out=squashed)
        if mask:
            np.copyto(gate, 0, where=dead)
            np.copyto(keep, 1, where=dead)
        np.multiply(keep, cell, out=after)
        np.multiply(into, new, out=product)
        np.add(after, product, out=after)
        np.tanh(after, out=product)
        np.multiply(out, product, out=y_t)
        if mask:
            np.copyto(hidden, y_t, where=alive)
        else:
            hidden = y_t
        cell = after
    np.copyto(h, hidden)
    np.copyto(c, cell)
'''
