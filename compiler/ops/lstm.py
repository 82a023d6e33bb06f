"""The LSTM over whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.types import TensorType
from compiler.ops.base import Array, Gradients, NumpyLowering, Sample, Sizes, Values, operation, without
from compiler.ops.lstm_gradient import LstmGradient
from compiler.ops.recurrent import Recurrent, flat_steps, is_zero, mask_of, pair, sigmoid, with_helpers

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

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        # What the gradient goes by was not kept: the layer is run again.
        again = b.add_node(LstmTraining(self.reverse, self.bias, self.state, self.lengths), inputs)
        return lstm_gradients(self, b, inputs, again, gradients)

    def numpy(self, c: NumpyLowering) -> None:
        y = c.output_types[0]
        steps, batch, units = y.shape
        lower_lstm(self, c, c.scratch(y.with_shape((steps, 4 * units, batch))), c.scratch(y.with_shape((units, batch))))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return tuple(cls._samples())


@operation
@dataclass(frozen=True)
class LstmTraining(Lstm):
    """An LSTM that keeps what its gradient needs as two more results: the gates [T, 4·H, N] after their activations,
    in the order o, i, f, g, and the cells [T, H, N]. Where a sequence takes no part in a step, f is 1 for it and the
    others are 0, as nothing changes then."""

    opcode = "lstm_training"
    auxiliary = 2

    onnx = without("ONNX's LSTM does not keep what the gradient needs: train with NumPy, and export the model")

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        y, *states = super().infer(inputs)
        steps, batch, units = y.shape
        return (y, *states, y.with_shape((steps, 4 * units, batch)), y.with_shape((steps, units, batch)))

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return lstm_gradients(self, b, inputs, outputs, gradients)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        y, states, steps = self.run(operands)
        gates, cells = [], []
        for step in steps:
            into, keep, new, out = (np.where(step.alive, x, 0) for x in activated(step.inputs + step.hidden))
            keep = np.where(step.alive, keep, 1)
            gates.append(np.hstack([out, into, keep, new]).T)
            cells.append((keep * step.states[1] + into * new).T)
        return tuple(np.asarray(result).astype(operands[0].dtype) for result in (y, *states, gates, cells))

    def numpy(self, c: NumpyLowering) -> None:
        lower_lstm(self, c, *c.outputs[3:])


def activated(before: Array) -> tuple[Array, Array, Array, Array]:
    """i, f, g and o of their sums [N, 4·H]."""
    into, keep, new, out = np.split(before, 4, axis=1)
    return sigmoid(into), sigmoid(keep), np.tanh(new), sigmoid(out)


def lstm_gradients(op: Lstm, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
    """The gradients of all operands: step by step for the gates, then products over all steps at once."""
    given, (d_y, d_h, d_c) = op.named(inputs), gradients[:3]
    y, gates, cells = outputs[0], *outputs[3:]
    lengths = () if given.lengths is None else (given.lengths,)
    reached = not is_zero(b, d_y)
    through_time = LstmGradient(op.reverse, op.state, op.lengths, reached)
    d_y_if = (d_y,) if reached else ()
    operands = (given.weight_hh, y, gates, cells, *given.states, *lengths, *d_y_if, d_h, d_c)
    d_gates, d_weight_hh, *d_states = b.add_node(through_time, operands)
    d_x = b.matmul(b.transpose(d_gates, (1, 0)), given.weight_ih)
    d_weight_ih = b.matmul(d_gates, flat_steps(b, given.x))
    d_bias = [b.sum(d_gates, (1,))] * (2 * op.bias)
    no_lengths = [None] * op.lengths
    return b.reshape(d_x, given.x.type.shape), d_weight_ih, d_weight_hh, *d_bias, *d_states[: 2 * op.state], *no_lengths


def lower_lstm(op: Recurrent, c: NumpyLowering, gates: str, cells: str) -> None:
    """Write the call of the LSTM; ``gates`` is an array for all steps, ``cells`` one for all or for one step."""
    given = op.named(c.inputs)
    type = c.input_types[0]
    (steps, batch, features), units = type.shape, c.output_types[0].shape[2]
    width, gate, state = features + op.bias, (4 * units, batch), (units, batch)
    shapes = ((steps, width, batch), (4 * units, width), (4 * units, units), gate, state, state)
    work = [c.scratch(type.with_shape(shape)) for shape in shapes]
    c.helper("lstm_weights", LSTM_WEIGHTS)
    c.line(
        f"{with_helpers(c, 'lstm', LSTM)}({given.x}, {given.weight_ih}, {given.weight_hh}, {pair(given.biases)}, "
        f"{pair(given.states)}, {mask_of(c, given.lengths, steps, batch)}, {op.reverse}, {pair(c.outputs[:3])}, "
        f"{gates}, {cells}, {pair(work)}, {c.scalar(0.5, type.dtype)})"
    )


# sigmoid(x) = (tanh(x / 2) + 1) / 2, so that one tanh serves all gates: the factor goes into the weights.
LSTM_WEIGHTS = '''\
def lstm_weights(weight_ih, weight_hh, biases, from_input, from_state):
    """The weights of the gates in the order o, i, f, g, with half of those that go into a sigmoid; behind those of
    the input stands the sum of the biases."""
    units, features = weight_hh.shape[1], weight_ih.shape[1]
    for first, last, at, factor in ((3, 4, 0, 0.5), (0, 2, 1, 0.5), (2, 3, 3, 1.0)):
        rows = slice(first * units, last * units)
        to = slice(at * units, (at + last - first) * units)
        np.multiply(weight_ih[rows], factor, out=from_input[to, :features])
        np.multiply(weight_hh[rows], factor, out=from_state[to])
        if biases:
            bias = from_input[to, features]
            np.add(biases[0][rows], biases[1][rows], out=bias)
            np.multiply(bias, factor, out=bias)
'''

LSTM = '''\
def lstm(x, weight_ih, weight_hh, biases, states, mask, reverse, results, gates, cells, work, half):
    """An LSTM over all steps of x [T, N, F]. Arrays of one step hold a unit in each row and a sequence in each column,
    so that a gate is a contiguous block. `gates` has all steps, `cells` has them where they are kept, else one."""
    y, h, c = results
    columns, from_input, from_state, through_state, hidden, product = work
    steps, batch, units = y.shape
    recurrent_columns(x, columns)
    lstm_weights(weight_ih, weight_hh, biases, from_input, from_state)
    np.matmul(from_input, columns, out=gates)
    cell = product
    np.copyto(hidden, states[0].T if states else 0)
    np.copyto(cell, states[1].T if states else 0)
    for gate, after, y_t, alive, dead in recurrent_steps(
        mask, reverse, gates, cells if cells.ndim == 3 else [cells] * steps, y.transpose(0, 2, 1)
    ):
        out, into, keep, new = gate.reshape(4, units, batch)
        squashed = gate[: 3 * units]
        np.dot(from_state, hidden, out=through_state)
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
        np.multiply(out, product, out=product)
        np.copyto(y_t, product)
        if mask:
            np.copyto(hidden, product, where=alive)
        else:
            hidden = product
        cell = after
    np.copyto(h, hidden.T)
    np.copyto(c, cell.T)
'''
