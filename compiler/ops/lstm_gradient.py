"""The gradient of the LSTM through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.ir.types import TensorType
from compiler.ops.arrays import row_major
from compiler.ops.base import Array, NumpyLowering, Sample, Sizes, operation
from compiler.ops.recurrent_gradient import SAMPLED, RecurrentGradient, gradient_sample
from compiler.ops.recurrent_numpy import mask_of, pair, with_helpers


@operation
@dataclass(frozen=True)
class LstmGradient(RecurrentGradient):
    """What is kept are the gates and cells of ``lstm_training``. Results: the gradient of the sums of the gates
    [4·H, T, N] in the order i, f, g, o, of weight_hh [4·H, H], and of the first h and c, both [N, H]."""

    opcode = "lstm_gradient"
    state_count = 2
    kept_count = 2

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        given = self.named(inputs)
        steps, batch, units = given.y.shape
        sums, state = given.y.with_shape((4 * units, steps, batch)), given.y.with_shape((batch, units))
        return sums, given.weight_hh, state, state

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        given = self.named([operand.astype(np.float64) for operand in operands])
        steps, batch, units = given.y.shape
        gates = [np.split(gate.T, 4, axis=1) for gate in given.kept[0]]
        cells = [cell.T for cell in given.kept[1]]
        first = given.states or (np.zeros((batch, units)), np.zeros((batch, units)))
        alive = self.alive(steps, given.lengths, batch)
        d_h, d_c = given.d_states
        d_sums, d_weight = np.zeros((steps, batch, 4 * units)), np.zeros(given.weight_hh.shape)
        for time, before in self.backwards(steps):
            out, into, keep, new = gates[time]
            c = first[1] if before is None else cells[before]
            d_h = d_h if given.d_y is None else d_h + given.d_y[time] * alive[time]
            tanh = np.tanh(cells[time])
            d_c = d_c + d_h * out * (1 - tanh**2)
            d_sums[time] = np.hstack(
                [
                    d_c * new * into * (1 - into),
                    d_c * c * keep * (1 - keep),
                    d_c * into * (1 - new**2),
                    d_h * tanh * out * (1 - out),
                ]
            )
            d_weight += d_sums[time].T @ self.state_before(time, before, alive, first[0], given.y)
            d_h = np.where(alive[time], d_sums[time] @ given.weight_hh, d_h)
            d_c = d_c * keep
        results = (d_sums.transpose(2, 0, 1), d_weight, d_h, d_c)
        return tuple(result.astype(operands[0].dtype) for result in results)

    def numpy(self, c: NumpyLowering) -> None:
        names = [row_major(c, index) if index in (1, 2, 3) else name for index, name in enumerate(c.inputs)]
        given, y = self.named(names), c.input_types[1]
        steps, batch, units = y.shape
        gate, state = y.with_shape((4 * units, batch)), y.with_shape((units, batch))
        work = [c.scratch(type) for type in (c.input_types[0], gate, state, state, state, state)]
        work.append(c.scratch(c.input_types[0]) if self.state else "None")
        begun = c.scratch(gate) if self.lengths else "None"
        c.line(
            f"{with_helpers(c, 'lstm_gradient', LSTM_GRADIENT)}({given.weight_hh}, {given.y}, {pair(given.kept)}, "
            f"{pair(given.states)}, {mask_of(c, given.lengths, steps, batch)}, {given.d_y}, {pair(given.d_states)}, "
            f"{self.reverse}, {pair(c.outputs)}, {pair(work)}, {begun})"
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return tuple(gradient_sample(cls(*flags), units, 4, (4, 1)) for flags, units in SAMPLED)


LSTM_GRADIENT = '''\
def lstm_gradient(weight, y, kept, states, mask, d_y, d_states, reverse, results, work, begun):
    """The gradient of an LSTM, back from its last step; that of a sigmoid s, for one, is d*s - d*s*s. Arrays of one
    step hold a unit in each row and a sequence in each column; `work` and `begun` are overwritten."""
    gates, cells = kept
    d_sums, d_weight, d_h0, d_c0 = results
    ordered, d_gate, first, d_h, d_c, product, through_first = work
    steps, batch, units = y.shape
    np.copyto(ordered[:units], weight[3 * units :])
    np.copyto(ordered[units:], weight[: 3 * units])
    np.copyto(d_h, d_states[0].T)
    np.copyto(d_c, d_states[1].T)
    np.copyto(first, states[1].T if states else 0)
    befores = [*cells[1:], first] if reverse else [first, *cells[:-1]]
    d_sums_t = d_sums.transpose(1, 0, 2)
    d_y_t = None if d_y is None else d_y.transpose(0, 2, 1)
    d_out, d_into, d_keep, d_new = d_gate.reshape(4, units, batch)
    d_others = d_gate[units:]
    if mask:
        begun.fill(0)
    for gate, cell, before, d_sum, d_step, alive, dead in recurrent_steps(
        mask, not reverse, gates, cells, befores, d_sums_t, d_y_t
    ):
        out, into, keep, new = gate.reshape(4, units, batch)
        if d_y is not None:
            np.add(d_h, d_step, out=d_h, where=True if mask is None else alive)
        np.tanh(cell, out=product)
        np.multiply(d_h, out, out=d_out)
        np.add(d_c, d_out, out=d_c)
        np.multiply(d_out, product, out=d_out)
        np.multiply(d_out, product, out=product)
        np.subtract(d_c, product, out=d_c)
        np.multiply(d_out, out, out=product)
        np.subtract(d_out, product, out=d_out)
        np.multiply(d_c, into, out=d_new)
        np.multiply(d_new, new, out=d_into)
        np.multiply(d_into, new, out=product)
        np.subtract(d_new, product, out=d_new)
        np.multiply(d_into, into, out=product)
        np.subtract(d_into, product, out=d_into)
        np.multiply(d_c, keep, out=d_c)
        np.multiply(d_c, before, out=d_keep)
        np.multiply(d_keep, keep, out=product)
        np.subtract(d_keep, product, out=d_keep)
        np.copyto(d_sum[: 3 * units], d_others)
        np.copyto(d_sum[3 * units :], d_out)
        if mask is None:
            np.dot(ordered.T, d_gate, out=d_h)
        else:
            np.dot(ordered.T, d_gate, out=product)
            np.copyto(d_h, product, where=alive)
            np.copyto(begun, d_gate, where=alive)
    weight_through_states(d_sums.reshape(4 * units, -1), y, reverse, d_weight)
    if states:
        last = d_gate if mask is None else begun
        np.dot(last[units:], states[0], out=through_first[: 3 * units])
        np.dot(last[:units], states[0], out=through_first[3 * units :])
        np.add(d_weight, through_first, out=d_weight)
    np.copyto(d_h0, d_h.T)
    np.copyto(d_c0, d_c.T)
'''
