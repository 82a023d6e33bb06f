"""The GRU over whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.ir.types import TensorType
from compiler.ops.base import Array, Gradients, NumpyLowering, Sample, Sizes, Values, operation, without
from compiler.ops.gru_gradient import GruGradient
from compiler.ops.recurrent import Recurrent, flat_steps, is_zero, mask_of, pair, sigmoid, with_helpers

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

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        # What the gradient goes by was not kept: the layer is run again.
        again = b.add_node(GruTraining(self.reverse, self.bias, self.state, self.lengths), inputs)
        return gru_gradients(self, b, inputs, again, gradients)

    def numpy(self, c: NumpyLowering) -> None:
        y = c.output_types[0]
        steps, batch, units = y.shape
        gates, kept = y.with_shape((steps, 3 * units, batch)), y.with_shape((2 * units, batch))
        lower_gru(self, c, c.scratch(gates), c.scratch(kept))

    def onnx_attributes(self) -> dict[str, Any]:
        return {"linear_before_reset": 1}

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return tuple(cls._samples())


@operation
@dataclass(frozen=True)
class GruTraining(Gru):
    """A GRU that keeps what its gradient needs as two more results: the gates [T, 3·H, N] after their activations, and
    R h + d of n and h - n [T, 2·H, N]. Where a sequence takes no part in a step, z is 1 for it and the others are 0, as
    nothing changes then."""

    opcode = "gru_training"
    auxiliary = 2

    onnx = without("ONNX's GRU does not keep what the gradient needs: train with NumPy, and export the model")

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        y, state = super().infer(inputs)
        steps, batch, units = y.shape
        return y, state, y.with_shape((steps, 3 * units, batch)), y.with_shape((steps, 2 * units, batch))

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return gru_gradients(self, b, inputs, outputs, gradients)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        y, states, steps = self.run(operands)
        gates, kept = [], []
        for step in steps:
            reset, update, memory, new = activated(step.inputs, step.hidden)
            reset, update, new = (np.where(step.alive, x, 0) for x in (reset, update, new))
            update = np.where(step.alive, update, 1)
            gates.append(np.hstack([reset, update, new]).T)
            kept.append(np.hstack([memory, step.states[0] - new]).T)
        return tuple(np.asarray(result).astype(operands[0].dtype) for result in (y, *states, gates, kept))

    def numpy(self, c: NumpyLowering) -> None:
        lower_gru(self, c, *c.outputs[2:])


def activated(inputs: Array, hidden: Array) -> tuple[Array, Array, Array, Array]:
    """r, z, what n remembers of the state, and n, of the two sums [N, 3·H]."""
    (a_reset, a_update, a_new), (b_reset, b_update, memory) = np.split(inputs, 3, axis=1), np.split(hidden, 3, axis=1)
    reset = sigmoid(a_reset + b_reset)
    return reset, sigmoid(a_update + b_update), memory, np.tanh(a_new + reset * memory)


def gru_gradients(op: Gru, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
    """The gradients of all operands: step by step for the gates, then products over all steps at once."""
    given, (d_y, d_h) = op.named(inputs), gradients[:2]
    lengths = () if given.lengths is None else (given.lengths,)
    reached = not is_zero(b, d_y)
    through_time = GruGradient(op.reverse, op.state, op.lengths, reached)
    d_y_if = (d_y,) if reached else ()
    operands = (given.weight_hh, outputs[0], *outputs[2:], *given.states, *lengths, *d_y_if, d_h)
    d_gates, d_memory, d_weight_hh, d_state = b.add_node(through_time, operands)
    d_x = b.matmul(b.transpose(d_gates, (1, 0)), given.weight_ih)
    d_weight_ih = b.matmul(d_gates, flat_steps(b, given.x))
    d_bias: tuple[Any, ...] = ()
    if op.bias:
        units = given.weight_hh.type.shape[1]
        d_bias_ih = b.sum(d_gates, (1,))
        d_bias = (d_bias_ih, b.concat((b.slice(d_bias_ih, (0,), (2 * units,)), b.sum(d_memory, (1,))), 0))
    d_x = b.reshape(d_x, given.x.type.shape)
    return d_x, d_weight_ih, d_weight_hh, *d_bias, *[d_state] * op.state, *[None] * op.lengths


def lower_gru(op: Gru, c: NumpyLowering, gates: str, kept: str) -> None:
    """Write the call of the GRU; ``gates`` is an array for all steps, ``kept`` one for all or for one step."""
    given, type = op.named(c.inputs), c.input_types[0]
    (steps, batch, features), units = type.shape, c.output_types[0].shape[2]
    width, state = features + op.bias, (units, batch)
    shapes = ((steps, width, batch), (3 * units, width), (3 * units, units), (3 * units, batch), state, state)
    work = [c.scratch(type.with_shape(shape)) for shape in shapes]
    c.helper("gru_weights", GRU_WEIGHTS)
    c.line(
        f"{with_helpers(c, 'gru', GRU)}({given.x}, {given.weight_ih}, {given.weight_hh}, {pair(given.biases)}, "
        f"{pair(given.states)}, {mask_of(c, given.lengths, steps, batch)}, {op.reverse}, {pair(c.outputs[:2])}, "
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
