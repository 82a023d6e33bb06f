"""The gradient of the GRU through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.ir.types import TensorType
from compiler.ops.arrays import row_major
from compiler.ops.base import Array, NumpyLowering, Sample, Sizes, operation
from compiler.ops.recurrent import N, T
from compiler.ops.recurrent_gradient import SAMPLED, RecurrentGradient, gradient_sample
from compiler.ops.recurrent_numpy import mask_of, pair, with_helpers


@operation
@dataclass(frozen=True)
class GruGradient(RecurrentGradient):
    """What is kept are the last two results of ``gru_training``. Results: the gradient of the sums of the gates
    [3·H, T, N] in the order r, z, n, of what n remembers of the state [H, T, N], of weight_hh [3·H, H], and of the
    first state [N, H]."""

    opcode = "gru_gradient"
    kept_count = 2

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        given = self.named(inputs)
        steps, batch, units = given.y.shape
        sums, memory = (given.y.with_shape((gates * units, steps, batch)) for gates in (3, 1))
        return sums, memory, given.weight_hh, given.y.with_shape((batch, units))

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        given = self.named([operand.astype(np.float64) for operand in operands])
        steps, batch, units = given.y.shape
        first = given.states[0] if given.states else np.zeros((batch, units))
        alive = self.alive(steps, given.lengths, batch)
        (d_h,), d_weight = given.d_states, np.zeros(given.weight_hh.shape)
        d_sums, d_memory = np.zeros((steps, batch, 3 * units)), np.zeros(given.y.shape)
        for time, before in self.backwards(steps):
            reset, update, new = np.split(given.kept[0][time].T, 3, axis=1)
            memory, change = np.split(given.kept[1][time].T, 2, axis=1)
            d_h = d_h if given.d_y is None else d_h + given.d_y[time] * alive[time]
            d_new = d_h * (1 - update) * (1 - new**2)
            d_reset, d_update = d_new * memory * reset * (1 - reset), d_h * change * update * (1 - update)
            d_memory[time] = d_new * reset
            d_sums[time] = np.hstack([d_reset, d_update, d_new])
            through_state = np.hstack([d_reset, d_update, d_memory[time]])
            d_weight += through_state.T @ self.state_before(time, before, alive, first, given.y)
            d_h = d_h * update + through_state @ given.weight_hh
        results = (d_sums.transpose(2, 0, 1), d_memory.transpose(2, 0, 1), d_weight, d_h)
        return tuple(result.astype(operands[0].dtype) for result in results)

    def numpy(self, c: NumpyLowering) -> None:
        names = [row_major(c, index) if index < 4 else name for index, name in enumerate(c.inputs)]
        given, y = self.named(names), c.input_types[1]
        steps, batch, units = y.shape
        shapes = ((4 * units, batch), (2 * units, batch), (units, batch), (units, batch), (units, batch))
        work = [c.scratch(y.with_shape(shape)) for shape in shapes]
        work.append(c.scratch(c.input_types[0]) if self.state else "None")
        begun = c.scratch(y.with_shape((3 * units, batch))) if self.lengths else "None"
        c.line(
            f"{with_helpers(c, 'gru_gradient', GRU_GRADIENT)}({given.weight_hh}, {given.y}, {pair(given.kept)}, "
            f"{pair(given.states)}, {mask_of(c, given.lengths, steps, batch)}, {given.d_y}, {given.d_states[0]}, "
            f"{self.reverse}, {pair(c.outputs)}, {pair(work)}, {begun})"
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        uses = ((cls(*flags), units) for flags, units in SAMPLED)
        return tuple(gradient_sample(each, units, 3, ((T, 3 * units, N), (T, 2 * units, N))) for each, units in uses)


GRU_GRADIENT = '''\
def gru_gradient(weight, y, kept, states, mask, d_y, d_state, reverse, results, work, begun):
    """The gradient of a GRU, back from its last step. Arrays of one step hold a unit in each row and a sequence in
    each column; `work` and `begun` are overwritten."""
    d_sums, d_memories, d_weight, d_h0 = results
    d_gate, slope, d_h, passed, product, through_first = work
    steps, batch, units = y.shape
    both = 2 * units
    np.copyto(d_h, d_state.T)
    if mask:
        begun.fill(0)
    d_sums_t, d_memories_t = d_sums.transpose(1, 0, 2), d_memories.transpose(1, 0, 2)
    d_y_t = None if d_y is None else d_y.transpose(0, 2, 1)
    d_reset, d_update, d_memory, d_new = d_gate.reshape(4, units, batch)
    d_squashed, d_through_state = d_gate[:both], d_gate[: both + units]
    for gate, keep, d_sum, d_kept, d_step, alive, dead in recurrent_steps(
        mask, not reverse, *kept, d_sums_t, d_memories_t, d_y_t
    ):
        reset, update, new = gate.reshape(3, units, batch)
        memory, change = keep.reshape(2, units, batch)
        squashed = gate[:both]
        if d_y is not None:
            np.add(d_h, d_step, out=d_h, where=True if mask is None else alive)
        np.multiply(d_h, change, out=d_update)
        np.multiply(d_h, update, out=passed)
        np.subtract(d_h, passed, out=d_new)
        np.square(new, out=product)
        np.multiply(product, d_new, out=product)
        np.subtract(d_new, product, out=d_new)
        np.multiply(d_new, memory, out=d_reset)
        np.multiply(d_new, reset, out=d_memory)
        np.square(squashed, out=slope)
        np.subtract(squashed, slope, out=slope)
        np.multiply(d_squashed, slope, out=d_squashed)
        np.copyto(d_sum[:both], d_squashed)
        np.copyto(d_sum[both:], d_new)
        np.copyto(d_kept, d_memory)
        np.dot(weight.T, d_through_state, out=d_h)
        np.add(d_h, passed, out=d_h)
        if mask:
            np.copyto(begun, d_through_state, where=alive)
    weight_through_states(d_sums[:both].reshape(both, -1), y, reverse, d_weight[:both])
    weight_through_states(d_memories.reshape(units, -1), y, reverse, d_weight[both:])
    if states:
        np.dot(d_through_state if mask is None else begun, states[0], out=through_first)
        np.add(d_weight, through_first, out=d_weight)
    np.copyto(d_h0, d_h.T)
'''
