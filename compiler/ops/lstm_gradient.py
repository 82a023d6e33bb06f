"""The gradient of the LSTM through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.ir.types import TensorType
from compiler.ops.arrays import row_major
from compiler.ops.base import Array, NumpyLowering, Sample, Sizes, operation
from compiler.ops.recurrent import N, T
from compiler.ops.recurrent_gradient import SAMPLED, RecurrentGradient, gradient_sample
from compiler.ops.recurrent_numpy import mask_of, pair, together, with_helpers


@operation
@dataclass(frozen=True)
class LstmGradient(RecurrentGradient):
    """What is kept are the gates and cells of ``lstm_training``. Results: the gradient of the sums of the gates
    [T, N, 4·H] in the order i, f, g, o, of weight_hh [4·H, H], and of the first h and c, both [N, H]."""

    opcode = "lstm_gradient"
    state_count = 2
    kept_count = 2

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        given = self.named(inputs)
        steps, batch, units = given.y.shape
        sums, state = given.y.with_shape((steps, batch, 4 * units)), given.y.with_shape((batch, units))
        return sums, given.weight_hh, state, state

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        given = self.named([operand.astype(np.float64) for operand in operands])
        steps, batch, units = given.y.shape
        gates, cells = given.kept
        first = given.states or (np.zeros((batch, units)), np.zeros((batch, units)))
        alive = self.alive(steps, given.lengths, batch)
        d_h, d_c = given.d_states
        d_sums, d_weight = np.zeros((steps, batch, 4 * units)), np.zeros(given.weight_hh.shape)
        for time, before in self.backwards(steps):
            out, into, keep, new = gates[time]
            c = first[1] if before is None else cells[before]
            d_h = d_h if given.d_y is None else d_h + given.d_y[time] * alive[time]
            # y is o * tanh(c).
            d_c = d_c + d_h * (out - given.y[time] * np.tanh(cells[time]))
            d_sums[time] = np.hstack(
                [
                    d_c * new * into * (1 - into),
                    d_c * c * keep * (1 - keep),
                    d_c * into * (1 - new**2),
                    d_h * given.y[time] * (1 - out),
                ]
            )
            d_weight += d_sums[time].T @ self.state_before(time, before, alive, first[0], given.y)
            d_h = np.where(alive[time], d_sums[time] @ given.weight_hh, d_h)
            d_c = d_c * keep
        results = (d_sums, d_weight, d_h, d_c)
        return tuple(result.astype(operands[0].dtype) for result in results)

    def numpy(self, c: NumpyLowering) -> None:
        names = [row_major(c, index) if index < 4 else name for index, name in enumerate(c.inputs)]
        given, y = self.named(names), c.input_types[1]
        steps, batch, units = y.shape
        at_once, gate = (together(units), batch, units), (4, batch, units)
        work = [c.scratch(y.with_shape(shape)) for shape in ((at_once[0], *gate), at_once, at_once, gate, gate[1:])]
        work.append(c.scratch(y.with_shape((4, units, units))) if self.state else "None")
        begun = c.scratch(y.with_shape(gate)) if self.lengths and self.state else "None"
        c.helper("lstm_slopes", LSTM_SLOPES)
        c.line(
            f"{with_helpers(c, 'lstm_gradient', LSTM_GRADIENT)}({given.weight_hh}, {given.y}, {pair(given.kept)}, "
            f"{pair(given.states)}, {mask_of(c, given.lengths, steps, batch, (1,))}, {given.d_y}, "
            f"{pair(given.d_states)}, {self.reverse}, {pair(c.outputs)}, {pair(work)}, {begun})"
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        uses = ((cls(*flags), units) for flags, units in SAMPLED)
        return tuple(gradient_sample(each, units, 4, ((T, 4, N, units), (T, N, units))) for each, units in uses)


LSTM_SLOPES = '''\
def lstm_slopes(kept, y, first, reverse, d_sums, work):
    """For each step, from the last one on, what the sums of the gates give for each unit of h (o) or of c (the others),
    what c gives for each of h, and f: with s*(1-s) for a sigmoid s, and 1-t*t for a tanh t. Worked out for several
    steps at once; what the caller makes of the first of these then goes to `d_sums`."""
    order = slice(None, None, -1 if reverse else 1)
    gates, cells, y, d_sums = kept[0][order], kept[1][order], y[order], d_sums[order]
    ends = [*range(len(y), 1, -len(work[1])), 1, 0]
    for stop, start in zip(ends, ends[1:]):
        part, count = slice(start, stop), stop - start
        out, into, keep, new = gates[part].swapaxes(0, 1)
        slopes, of_cell, product = (each[:count] for each in work)
        of_into, of_keep, of_new, of_out = slopes.swapaxes(0, 1)
        np.multiply(y[part], out, out=product)
        np.subtract(y[part], product, out=of_out)
        np.tanh(cells[part], out=product)
        np.multiply(product, y[part], out=product)
        np.subtract(out, product, out=of_cell)
        np.multiply(cells[start - 1 : stop - 1] if start else first, keep, out=of_keep)
        np.multiply(of_keep, keep, out=product)
        np.subtract(of_keep, product, out=of_keep)
        np.multiply(into, new, out=of_into)
        np.multiply(of_into, new, out=product)
        np.subtract(into, product, out=of_new)
        np.multiply(of_into, into, out=product)
        np.subtract(of_into, product, out=of_into)
        for step in reversed(range(count)):
            yield slopes[step], of_cell[step], keep[step]
        np.copyto(d_sums[part].reshape(*y[part].shape[:2], 4, -1), slopes.swapaxes(1, 2))
'''

LSTM_GRADIENT = '''\
def lstm_gradient(weight, y, kept, states, mask, d_y, d_states, reverse, results, work, begun):
    """The gradient of an LSTM, back from its last step. `work` and `begun` are overwritten."""
    d_sums, d_weight, d_h, d_c = results
    weights = weight.reshape(4, -1, weight.shape[1])
    *of_slopes, through, passing, through_first = work
    np.copyto(d_h, d_states[0])
    np.copyto(d_c, d_states[1])
    if begun is not None:
        begun.fill(0)
    slopes = lstm_slopes(kept, y, states[1] if states else 0, reverse, d_sums, of_slopes)
    # The slopes are asked first, so that they come to their end.
    for (d_gate, d_cell, keep), (_, d_step, alive, _) in zip(slopes, recurrent_steps(mask, not reverse, y, d_y)):
        if d_y is not None:
            np.add(d_h, d_step, out=d_h, where=True if mask is None else alive)
        np.multiply(d_cell, d_h, out=d_cell)
        np.add(d_c, d_cell, out=d_c)
        np.multiply(d_gate[3], d_h, out=d_gate[3])
        np.multiply(d_gate[:3], d_c, out=d_gate[:3])
        np.multiply(d_c, keep, out=d_c)
        np.matmul(d_gate, weights, out=through)
        if mask is None:
            np.add.reduce(through, axis=0, out=d_h)
        else:
            np.add.reduce(through, axis=0, out=passing)
            np.copyto(d_h, passing, where=alive)
        if begun is not None:
            np.copyto(begun, d_gate, where=alive)
    weight_through_states(d_sums.reshape(-1, len(weight)).T, y, reverse, d_weight)
    if states:
        last = d_gate if begun is None else begun
        np.matmul(last.transpose(0, 2, 1), states[0], out=through_first)
        np.add(d_weight, through_first.reshape(d_weight.shape), out=d_weight)
'''
