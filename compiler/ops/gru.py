"""The GRU over whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.ir.graph import Value
from compiler.ir.types import TensorType
from compiler.ops.base import Array, NumpyLowering, Sample, Values, operation, without
from compiler.ops.gru_gradient import GruGradient
from compiler.ops.recurrent import Recurrent, Run, flat_gates, flat_steps, sigmoid
from compiler.ops.recurrent_numpy import mask_of, pair, part_of, states_of, with_helpers

if TYPE_CHECKING:
    from compiler.ops.emit import Emit


@operation
@dataclass(frozen=True)
class Gru(Recurrent):
    """Cho et al., Learning phrase representations using RNN encoder-decoder, 2014, with the reset gate behind the
    product, as PyTorch, Keras (``reset_after=True``) and cuDNN have it::

        r, z = sigmoid(…), sigmoid(…)    each … = W x + b + R h + d with rows of its own
        n    = tanh(W x + b + r * (R h + d))
        h'   = (1 - z) * n + z * h

    The gates stand in the order r, z, n, as in PyTorch.
    """

    opcode = "gru"
    gate_order = (1, 0, 2)
    onnx_kind = "GRU"

    def cell(self, inputs: Array, hidden: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        _, update, _, new = activated(inputs, hidden)
        return ((1 - update) * new + update * states[0],)

    def kept(self, b: Emit, inputs: Values, outputs: Values) -> Values:
        # The layer is run again, as it did not keep what its gradient goes by.
        return b.add_node(GruTraining(self.direction, self.bias, self.state, self.lengths), inputs)[2:]

    def through_time(
        self, b: Emit, flags: tuple[bool, bool, bool, bool], operands: Values, x: Value, weight_ih: Value
    ) -> tuple[Value, tuple[Value, ...], tuple[Value, ...]]:
        d_sums, d_memory, d_weight_hh, d_state = b.add_node(GruGradient(*flags), operands)
        d_gates, d_memory = flat_gates(b, d_sums), flat_gates(b, d_memory)
        d_x = b.matmul(b.transpose(d_gates, (1, 0)), weight_ih)
        d_weights = (b.matmul(d_gates, flat_steps(b, x)), d_weight_hh)
        if self.bias:
            both, d_bias_ih = 2 * weight_ih.type.shape[0] // 3, b.sum(d_gates, (1,))
            d_bias_hh = b.concat((b.slice(d_bias_ih, (0,), (both,)), b.sum(d_memory, (1,))), 0)
            return d_x, (*d_weights, d_bias_ih, d_bias_hh), (d_state,)
        return d_x, d_weights, (d_state,)

    def numpy(self, c: NumpyLowering) -> None:
        x, units = c.input_types[0], c.input_types[2].shape[1]
        steps, batch, _ = x.shape
        for place in range(len(self.reversals)):
            gates, kept = ((steps, 3 * units, batch), (2 * units, batch))
            lower_gru(self, c, place, c.scratch(x.with_shape(gates)), c.scratch(x.with_shape(kept)))

    def onnx_attributes(self) -> dict[str, Any]:
        return {"linear_before_reset": 1}

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return tuple(cls._samples())


@operation
@dataclass(frozen=True)
class GruTraining(Gru):
    """A GRU that keeps what its gradient needs as two more results for each direction: the gates [T, 3·H, N] after
    their activations, and R h + d of n and h - n [T, 2·H, N]. Where a sequence takes no part in a step, z is 1 for it
    and the others are 0, as nothing changes then."""

    opcode = "gru_training"
    kept_count = 2

    onnx = without("ONNX's GRU does not keep what the gradient needs: train with NumPy, and export the model")

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (steps, batch, _), units = inputs[0].shape, inputs[2].shape[1]
        kept = (inputs[0].with_shape((steps, count * units, batch)) for count in (3, 2))
        return *super().infer(inputs), *tuple(kept) * len(self.reversals)

    def kept(self, b: Emit, inputs: Values, outputs: Values) -> Values:
        return outputs[2:]

    def keep(self, run: Run) -> tuple[Any, ...]:
        gates, kept = [], []
        for step in run.steps:
            reset, update, memory, new = activated(step.inputs, step.hidden)
            reset, update, new = (np.where(step.alive, x, 0) for x in (reset, update, new))
            update = np.where(step.alive, update, 1)
            gates.append(np.hstack([reset, update, new]).T)
            kept.append(np.hstack([memory, step.states[0] - new]).T)
        return gates, kept

    def numpy(self, c: NumpyLowering) -> None:
        for place in range(len(self.reversals)):
            lower_gru(self, c, place, *c.outputs[2 + 2 * place : 4 + 2 * place])


def activated(inputs: Array, hidden: Array) -> tuple[Array, Array, Array, Array]:
    """r, z, what n remembers of the state, and n, of the two sums [N, 3·H]."""
    (a_reset, a_update, a_new), (b_reset, b_update, memory) = np.split(inputs, 3, axis=1), np.split(hidden, 3, axis=1)
    reset = sigmoid(a_reset + b_reset)
    return reset, sigmoid(a_update + b_update), memory, np.tanh(a_new + reset * memory)


def lower_gru(op: Recurrent, c: NumpyLowering, place: int, gates: str, kept: str) -> None:
    """Write the call for one direction; ``gates`` is an array for all steps, ``kept`` one for all or for one step."""
    given, type, count = op.named(c.inputs), c.input_types[0], len(op.reversals)
    (steps, batch, features), units = type.shape, c.input_types[2].shape[1]
    weight_ih, weight_hh, biases = given.weights[place]
    width, state = features + op.bias, (units, batch)
    shapes = ((steps, width, batch), (3 * units, width), (3 * units, units), (3 * units, batch), state, state)
    work = [c.scratch(type.with_shape(shape)) for shape in shapes]
    c.helper("gru_weights", GRU_WEIGHTS)
    c.line(
        f"{with_helpers(c, 'gru', GRU)}({given.x}, {weight_ih}, {weight_hh}, {pair(biases)}, "
        f"{pair(states_of(given.states, place, count))}, {mask_of(c, given.lengths, steps, batch)}, "
        f"{op.reversals[place]}, {pair(part_of(c.outputs[:2], units, place, count, c))}, "
        f"{gates}, {kept}, {pair(work)}, {c.scalar(0.5, type.dtype)})"
    )


# sigmoid(x) = (tanh(x / 2) + 1) / 2, and tanh is fast: the factor goes into the weights.
GRU_WEIGHTS = '''\
def gru_weights(weight_ih, weight_hh, biases, from_input, from_state):
    """The weights of the gates, with half of those that go into a sigmoid; behind those of the input stands the sum
    of the biases, for the candidate that of the input alone."""
    both, features = 2 * weight_hh.shape[1], weight_ih.shape[1]
    np.multiply(weight_ih[:both], 0.5, out=from_input[:both, :features])
    np.copyto(from_input[both:, :features], weight_ih[both:])
    np.multiply(weight_hh[:both], 0.5, out=from_state[:both])
    np.copyto(from_state[both:], weight_hh[both:])
    if biases:
        bias = from_input[:both, features]
        np.add(biases[0][:both], biases[1][:both], out=bias)
        np.multiply(bias, 0.5, out=bias)
        np.copyto(from_input[both:, features], biases[0][both:])
'''

GRU = '''\
def gru(x, weight_ih, weight_hh, biases, states, mask, reverse, results, gates, kept, work, half):
    """A GRU over all steps of x [T, N, F]. Arrays of one step hold a unit in each row and a sequence in each column,
    so that a gate is a contiguous block. `gates` has all steps, `kept` has them where they are kept, else one."""
    y, h = results
    columns, from_input, from_state, through_state, hidden, product = work
    steps, batch, units = y.shape
    both = 2 * units
    recurrent_columns(x, columns)
    gru_weights(weight_ih, weight_hh, biases, from_input, from_state)
    np.matmul(from_input, columns, out=gates)
    bias = biases[1][both:, None] if biases else half * 0
    np.copyto(hidden, states[0].T if states else 0)
    for gate, keep, y_t, alive, dead in recurrent_steps(
        mask, reverse, gates, kept if kept.ndim == 3 else [kept] * steps, y.transpose(0, 2, 1)
    ):
        reset, update, new = gate.reshape(3, units, batch)
        memory, change = keep.reshape(2, units, batch)
        squashed = gate[:both]
        np.dot(from_state, hidden, out=through_state)
        np.add(squashed, through_state[:both], out=squashed)
        np.tanh(squashed, out=squashed)
        np.multiply(squashed, half, out=squashed)
        np.add(squashed, half, out=squashed)
        np.add(through_state[both:], bias, out=memory)
        np.multiply(reset, memory, out=product)
        np.add(new, product, out=new)
        np.tanh(new, out=new)
        if mask:
            np.copyto(gate, 0, where=dead)
            np.copyto(update, 1, where=dead)
        np.subtract(hidden, new, out=change)
        np.multiply(change, update, out=product)
        np.add(product, new, out=product)
        np.copyto(hidden, product, where=True if mask is None else alive)
        np.copyto(y_t, hidden)
        if mask:
            np.copyto(y_t, 0, where=dead)
    np.copyto(h, hidden.T)
'''
