"""What the gradients of recurrent layers have in common: the part that has to go back step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple

import numpy as np

from compiler.ir.dims import Dim
from compiler.ir.types import DType, TensorType
from compiler.ops.base import Array, Op, Sample, without
from compiler.ops.parts import Cut, Joined
from compiler.ops.recurrent import F32, LENGTHS, SIZES, Item, N, T, drawn


class GradientOperands(NamedTuple, Generic[Item]):
    """The operands of a recurrent layer's gradient by name; what it goes without is () or None."""

    weight_hh: Item
    y: Item
    kept: tuple[Item, ...]
    states: tuple[Item, ...]
    lengths: Item | None
    d_y: Item | None
    d_states: tuple[Item, ...]


@dataclass(frozen=True)
class RecurrentGradient(Op):
    """Backpropagation through time in one direction: the part of a recurrent layer's gradient that goes step by step.

    Operands: weight_hh, y [T, N, H] and what the layer kept for this; the first states [N, H] where ``state``, the
    lengths where ``lengths``, the gradient of y where ``sequence`` (else it is 0), and that of every last state. What
    else there is to the gradient are products over all steps at once, which the layer's ``gradient`` writes as such.
    """

    reverse: bool = False
    state: bool = False
    lengths: bool = False
    sequence: bool = True

    state_count: ClassVar[int] = 1
    kept_count: ClassVar[int] = 0

    gradient = without("second derivatives through time are not supported")
    onnx = without("ONNX has no operator for the gradient of a recurrent layer: train with NumPy, and export the model")

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.by_carrier() if cut.axes[1] == 1 else None

    def named(self, operands: Sequence[Item]) -> GradientOperands[Item]:
        """The operands by name."""
        rest = list(operands)

        def take(count: int) -> tuple[Item, ...]:
            taken = tuple(rest[:count])
            del rest[:count]
            return taken

        (weight_hh, y), kept = take(2), take(self.kept_count)
        states, lengths, d_y = take(self.state_count * self.state), take(int(self.lengths)), take(int(self.sequence))
        return GradientOperands(
            weight_hh, y, kept, states, lengths[0] if lengths else None, d_y[0] if d_y else None, tuple(rest)
        )

    # For the references

    def alive(self, steps: int, lengths: Array | None, batch: int) -> Array:
        """Which sequences take part in each step [T, N, 1]."""
        lengths = np.full(batch, steps) if lengths is None else lengths
        alive: Array = (np.arange(steps)[:, None] < lengths)[:, :, None]
        return alive

    def backwards(self, steps: int) -> Iterator[tuple[int, int | None]]:
        """The steps in the order in which the gradient takes them, each with the step before it, if there is one."""
        order = list(range(steps))[:: -1 if self.reverse else 1]
        return reversed(list(zip(order, [None, *order[:-1]], strict=True)))

    def state_before(self, time: int, before: int | None, alive: Array, first: Array, y: Array) -> Array:
        """The hidden state [N, H] that the step at ``time`` began with, for the sequences that take part in it."""
        began = alive[time] if before is None else alive[time] & ~alive[before]
        return np.where(began, first, 0 if before is None else y[before])


# What each gradient is sampled with: the fields of RecurrentGradient, and the units.
SAMPLED = (
    ((False, False, False, True), 3),
    ((True, False, False, False), 3),
    ((False, True, True, True), 2),
    ((True, True, True, True), 2),
    ((True, True, False, False), 1),
)


def gradient_sample(operation: RecurrentGradient, units: int, gates: int, kept: Sequence[tuple[Dim, ...]]) -> Sample:
    """A sample with seeded operands; ``kept`` are the shapes of what is kept, and y is 0 beyond the lengths, as it
    always is."""
    y, state = (T, N, units), (N, units)
    shapes: list[tuple[Dim, ...]] = [(gates * units, units), y, *kept]
    shapes += [state] * (operation.state_count * operation.state)
    types = [TensorType(F32, shape) for shape in shapes]
    types += [TensorType(DType.I64, (N,))] * operation.lengths
    types += [TensorType(F32, y)] * operation.sequence + [TensorType(F32, state)] * operation.state_count
    values = drawn(types, units)
    if operation.lengths:
        values[1][...] *= operation.alive(SIZES["T"], np.array(LENGTHS), SIZES["N"])
    return Sample(operation, tuple(types), sizes=SIZES, values=values)
