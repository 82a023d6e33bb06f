"""The gradient of the LSTM through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.ir.types import DType, TensorType
from compiler.ops.arrays import row_major
from compiler.ops.base import Array, NumpyLowering, Sample, Sizes, operation
from compiler.ops.recurrent import SIZES, N, RecurrentGradient, T, mask_of, pair


@operation
@dataclass(frozen=True)
class LstmGradient(RecurrentGradient):
    """What is kept are the gates and cells of ``lstm_training``. Results: the gradient of the sums of the gates
    [4·H, T·N] in the order i, f, g, o, of weight_hh [4·H, H], and of the first h and c, both [N, H]."""

    opcode = "lstm_gradient"
    state_count = 2
    kept_count = 2

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        given = self.named(inputs)
        steps, batch, units = given.y.shape
        sums, state = given.y.with_shape((4 * units, steps * batch)), given.y.with_shape((batch, units))
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
            began = alive[time] if before is None else alive[time] & ~alive[before]
            h = np.where(began, first[0], 0 if before is None else given.y[before])
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
            d_weight += d_sums[time].T @ h
            d_h = np.where(alive[time], 0, d_h) + d_sums[time] @ given.weight_hh
            d_c = d_c * keep
        d_gates = d_sums.transpose(2, 0, 1).reshape(4 * units, steps * batch)
        return tuple(result.astype(operands[0].dtype) for result in (d_gates, d_weight, d_h, d_c))

    def numpy(self, c: NumpyLowering) -> None:
        names = [row_major(c, index) if index in (1, 2, 3) else name for index, name in enumerate(c.inputs)]
        given, y = self.named(names), c.input_types[1]
        steps, batch, units = y.shape
        gate, state = y.with_shape((4 * units, batch)), y.with_shape((units, batch))
        slope = y.with_shape((3 * units, batch))
        work = [c.scratch(type) for type in (c.input_types[0], gate, slope, state, state, state, state)]
        first = [c.scratch(type) for type in (gate, c.output_types[1])] if self.state else []
        c.helper("weight_through_states", WEIGHT_THROUGH_STATES)
        c.line(
            f"{c.helper('lstm_gradient', LSTM_GRADIENT)}({given.weight_hh}, {given.y}, {pair(given.kept)}, "
            f"{pair(given.states)}, {mask_of(c, given.lengths, steps, batch)}, {given.d_y}, {pair(given.d_states)}, "
            f"{self.reverse}, {pair(c.outputs)}, {pair(work)}, {pair(first)}, {c.scalar(1, y.dtype)})"
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return tuple(
            gradient_sample(cls(*flags), units, 4)
            for flags, units in (
                ((False, False, False, True), 3),
                ((True, False, False, False), 3),
                ((False, True, True, True), 2),
                ((True, True, True, True), 2),
                ((True, True, False, False), 1),
            )
        )


def gradient_sample(operation: RecurrentGradient, units: int, gates: int, kept: Sequence[int] = (4, 1)) -> Sample:
    """A sample with random operands; what is kept is [T, n·units, N] for each n of ``kept``."""
    generator = np.random.default_rng(units)
    y = (T, N, units)
    shapes = [(gates * units, units), y, *((T, n * units, N) for n in kept)]
    shapes += [(N, units)] * (operation.state_count * operation.state)
    types = [TensorType(DType.F32, shape) for shape in shapes]
    types += [TensorType(DType.I64, (N,))] * operation.lengths
    types += [TensorType(DType.F32, y)] * operation.sequence
    types += [TensorType(DType.F32, (N, units))] * operation.state_count
    values = []
    for type in types:
        sizes = [dim if isinstance(dim, int) else SIZES[str(dim)] for dim in type.shape]
        drawn = generator.uniform(-1, 1, sizes).astype(np.float32)
        values.append(drawn if type.dtype is DType.F32 else np.array([4, 0, 2]))
    return Sample(operation, tuple(types), sizes=SIZES, values=tuple(values))


LSTM_GRADIENT = '''\
def lstm_gradient(weight, y, kept, states, mask, d_y, d_states, reverse, results, work, first, one):
    """The gradient of an LSTM, back from its last step. Arrays of one step hold a unit in each row and a sequence in
    each column; `work` and `first` are overwritten."""
    d_sums, d_weight, d_h0, d_c0 = results
    ordered, d_gate, slope, start, d_h, d_c, work = work
    steps, batch, units = y.shape
    np.copyto(ordered[:units], weight[3 * units :])
    np.copyto(ordered[units:], weight[: 3 * units])
    np.copyto(d_h, d_states[0].T)
    np.copyto(d_c, d_states[1].T)
    if states:
        np.copyto(start, states[1].T)
        first[0].fill(0)
    else:
        start.fill(0)
    order = slice(None, None, 1 if reverse else -1)
    gates, cells = kept[0][order], kept[1][order]
    d_sums_t = d_sums.reshape(4 * units, steps, batch).transpose(1, 0, 2)[order]
    d_ys = [None] * steps if d_y is None else d_y.transpose(0, 2, 1)[order]
    masks = zip(mask[0][order], mask[1][order]) if mask else [(None, None)] * steps
    d_out, d_into, d_keep, d_new = d_gate.reshape(4, units, batch)
    d_squashed, d_others = d_gate[: 3 * units], d_gate[units:]
    for gate, cell, before, d_sum, d_y_t, (alive, dead) in zip(gates, cells, [*cells[1:], start], d_sums_t, d_ys, masks):
        out, into, keep, new = gate.reshape(4, units, batch)
        squashed = gate[: 3 * units]
        if d_y is not None:
            np.multiply(d_y_t, one if alive is None else alive, out=work)
            np.add(d_h, work, out=d_h)
        np.tanh(cell, out=work)
        np.multiply(d_h, work, out=d_out)
        np.square(work, out=work)
        np.subtract(one, work, out=work)
        np.multiply(work, out, out=work)
        np.multiply(work, d_h, out=work)
        np.add(d_c, work, out=d_c)
        np.multiply(d_c, new, out=d_into)
        np.multiply(d_c, before, out=d_keep)
        np.multiply(d_c, into, out=d_new)
        np.multiply(d_c, keep, out=d_c)
        np.square(squashed, out=slope)
        np.subtract(squashed, slope, out=slope)
        np.multiply(d_squashed, slope, out=d_squashed)
        np.square(new, out=work)
        np.multiply(work, d_new, out=work)
        np.subtract(d_new, work, out=d_new)
        np.copyto(d_sum[: 3 * units], d_others)
        np.copyto(d_sum[3 * units :], d_out)
        if mask:
            np.multiply(d_h, dead, out=work)
        np.dot(ordered.T, d_gate, out=d_h)
        if mask:
            np.add(d_h, work, out=d_h)
            if states:
                np.copyto(first[0], d_gate, where=alive)
    weight_through_states(d_sums, y, reverse, d_weight)
    if states:
        begun = first[0] if mask else d_gate
        np.dot(begun[units:], states[0], out=first[1][: 3 * units])
        np.dot(begun[:units], states[0], out=first[1][3 * units :])
        np.add(d_weight, first[1], out=d_weight)
    np.copyto(d_h0, d_h.T)
    np.copyto(d_c0, d_c.T)
'''

WEIGHT_THROUGH_STATES = '''\
def weight_through_states(d_sums, y, reverse, out):
    """What all steps but the first give to the gradient of the weights of the state, in one product."""
    batch, states = y.shape[1], y.reshape(-1, y.shape[2])
    if reverse:
        np.dot(d_sums[:, :-batch], states[batch:], out=out)
    else:
        np.dot(d_sums[:, batch:], states[:-batch], out=out)
'''
