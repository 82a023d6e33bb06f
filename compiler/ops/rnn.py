"""The plain recurrent layer over whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.ir.graph import Value
from compiler.ir.types import TensorType
from compiler.ops.arrays import row_major
from compiler.ops.base import Array, NumpyLowering, OnnxLowering, Sample, Sizes, Values, operation
from compiler.ops.recurrent import Recurrent, flat_steps
from compiler.ops.recurrent_gradient import SAMPLED, RecurrentGradient, gradient_sample
from compiler.ops.recurrent_numpy import mask_of, pair, part_of, states_of, with_helpers
from compiler.ops.rnn_onnx import Activation, lower_rnn

if TYPE_CHECKING:
    from compiler.ops.emit import Emit


@operation
@dataclass(frozen=True)
class Rnn(Recurrent):
    """``h' = activation(W x + b + R h + d)``. Elman, Finding structure in time, 1990."""

    activation: Activation = "tanh"

    opcode = "rnn"
    gate_order = (0,)
    onnx_kind = "RNN"

    def cell(self, inputs: Array, hidden: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
        total = inputs + hidden
        return (np.tanh(total) if self.activation == "tanh" else np.maximum(total, 0),)

    def through_time(
        self, b: Emit, flags: tuple[bool, bool, bool, bool], operands: Values, x: Value, weight_ih: Value
    ) -> tuple[Value, tuple[Value, ...], tuple[Value, ...]]:
        d_sums, d_weight_hh, d_state = b.add_node(RnnGradient(*flags, self.activation), operands)
        d_sums = flat_steps(b, d_sums)
        d_weight_ih = b.matmul(b.transpose(d_sums, (1, 0)), flat_steps(b, x))
        d_bias = [b.sum(d_sums, (0,))] * (2 * self.bias)
        return b.matmul(d_sums, weight_ih), (d_weight_ih, d_weight_hh, *d_bias), (d_state,)

    def numpy(self, c: NumpyLowering) -> None:
        for place in range(len(self.reversals)):
            self._lower(c, place)

    def _lower(self, c: NumpyLowering, place: int) -> None:
        """Write the call for one direction."""
        given, type, count = self.named(c.inputs), c.input_types[0], len(self.reversals)
        (steps, batch, features), units = type.shape, c.input_types[2].shape[1]
        weight_ih, weight_hh, biases = given.weights[place]
        width, state = features + self.bias, (batch, units)
        shapes = ((steps, batch, width), (units, width), (units, units), state, state)
        work = [c.scratch(type.with_shape(shape)) for shape in shapes]
        zeros = c.bound(f"np.full({c.shape(state)}, {c.scalar(0, type.dtype)})", type.with_shape(state))
        c.line(
            f"{with_helpers(c, 'rnn', RNN)}({given.x}, {weight_ih}, {weight_hh}, {pair(biases)}, "
            f"{pair(states_of(given.states, place, count))}, {mask_of(c, given.lengths, steps, batch, (1,))}, "
            f"{self.reversals[place]}, {pair(part_of(c.outputs, units, place, count, c))}, {pair(work)}, "
            f"{zeros if self.activation == 'relu' else None})"
        )

    def onnx(self, c: OnnxLowering) -> None:
        lower_rnn(self, c, self.activation)

    def onnx_attributes(self) -> dict[str, Any]:
        return {"activations": [self.activation.capitalize()] * len(self.reversals)}

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return (*cls._samples(), *list(cls._samples(activation="relu"))[1:6])


@operation
@dataclass(frozen=True)
class RnnGradient(RecurrentGradient):
    """Nothing is kept but y. Results: the gradient of the sums [T, N, H], of weight_hh [H, H] and of the first state
    [N, H]."""

    activation: Activation = "tanh"

    opcode = "rnn_gradient"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        given = self.named(inputs)
        _, batch, units = given.y.shape
        return given.y, given.weight_hh, given.y.with_shape((batch, units))

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        given = self.named([operand.astype(np.float64) for operand in operands])
        steps, batch, units = given.y.shape
        first = given.states[0] if given.states else np.zeros((batch, units))
        alive = self.alive(steps, given.lengths, batch)
        (d_h,), d_sums, d_weight = given.d_states, np.zeros(given.y.shape), np.zeros(given.weight_hh.shape)
        for time, before in self.backwards(steps):
            y = given.y[time]
            d_h = d_h if given.d_y is None else d_h + given.d_y[time] * alive[time]
            d_sums[time] = alive[time] * d_h * (1 - y**2 if self.activation == "tanh" else y > 0)
            d_weight += d_sums[time].T @ self.state_before(time, before, alive, first, given.y)
            d_h = np.where(alive[time], d_sums[time] @ given.weight_hh, d_h)
        return tuple(result.astype(operands[0].dtype) for result in (d_sums, d_weight, d_h))

    def numpy(self, c: NumpyLowering) -> None:
        names = [row_major(c, index) if index < 2 else name for index, name in enumerate(c.inputs)]
        given, y = self.named(names), c.input_types[1]
        steps, batch, units = y.shape
        state = y.with_shape((batch, units))
        work = [c.scratch(state), c.scratch(c.input_types[0]) if self.state else "None"]
        begun = c.scratch(state) if self.lengths else "None"
        one = c.scalar(1, y.dtype) if self.activation == "tanh" else "None"
        c.line(
            f"{with_helpers(c, 'rnn_gradient', RNN_GRADIENT)}({given.weight_hh}, {given.y}, {pair(given.states)}, "
            f"{mask_of(c, given.lengths, steps, batch, (1,))}, {given.d_y}, {pair(given.d_states)}, {self.reverse}, "
            f"{pair(c.outputs)}, {pair(work)}, {begun}, {one})"
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        kinds: tuple[Activation, ...] = ("tanh", "relu", "tanh", "relu", "tanh")
        uses = zip(SAMPLED, kinds, strict=True)
        return tuple(gradient_sample(cls(*flags, kind), units, 1, ()) for (flags, units), kind in uses)


RNN = '''\
def rnn(x, weight_ih, weight_hh, biases, states, mask, reverse, results, work, floor):
    """A recurrent layer over all steps of x [T, N, F]: with ReLU where there is a `floor` of zeros, else tanh."""
    y, h = results
    rows, from_input, from_state, product, hidden = work
    recurrent_rows(x, rows)
    features = x.shape[2]
    np.copyto(from_input[:, :features], weight_ih)
    if biases:
        np.add(*biases, out=from_input[:, features])
    np.copyto(from_state, weight_hh.T)
    np.matmul(rows, from_input.T, out=y)
    np.copyto(hidden, states[0] if states else 0)
    before = hidden
    for y_t, alive, dead in recurrent_steps(mask, reverse, y):
        np.dot(before, from_state, out=product)
        np.add(y_t, product, out=y_t)
        if floor is None:
            np.tanh(y_t, out=y_t)
        else:
            np.maximum(y_t, floor, out=y_t)
        if mask is None:
            before = y_t
        else:
            np.copyto(hidden, y_t, where=alive)
            np.copyto(y_t, 0, where=dead)
    np.copyto(h, before)
'''

RNN_GRADIENT = '''\
def rnn_gradient(weight, y, states, mask, d_y, d_states, reverse, results, work, begun, one):
    """The gradient of a recurrent layer, back from its last step: with ReLU where there is no number `one`."""
    d_ys, d_weight, d_h = results
    product, through_first = work
    if one is None:
        np.greater(y, 0, out=d_ys)
    else:
        np.square(y, out=d_ys)
        np.subtract(one, d_ys, out=d_ys)
    if mask:
        np.copyto(d_ys, 0, where=mask[1])
        begun.fill(0)
    np.copyto(d_h, d_states[0])
    for d_sum, d_y_t, alive, dead in recurrent_steps(mask, not reverse, d_ys, d_y):
        if d_y is not None:
            np.add(d_h, d_y_t, out=d_h, where=True if mask is None else alive)
        np.multiply(d_sum, d_h, out=d_sum)
        if mask is None:
            np.dot(d_sum, weight, out=d_h)
        else:
            np.dot(d_sum, weight, out=product)
            np.copyto(d_h, product, where=alive)
            np.copyto(begun, d_sum, where=alive)
    weight_through_states(d_ys.reshape(-1, y.shape[2]).T, y, reverse, d_weight)
    if states:
        np.dot((d_sum if mask is None else begun).T, states[0], out=through_first)
        np.add(d_weight, through_first, out=d_weight)
'''
