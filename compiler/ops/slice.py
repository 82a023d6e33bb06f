"""Cutting tensors and putting them together: slice, pad, concat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.dims import Dim, ceil_divide, equal, evaluate, less_equal, symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Op,
    Sample,
    Sizes,
    Storage,
    Values,
    operation,
)
from compiler.ops.broadcast import unknown_equality
from compiler.ops.checks import listed, need_one_dtype, normal_axis
from compiler.ops.parts import Cut, Joined

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32 = DType.F32
N = symbol("N")
SIZES = {"N": 5}
# What ONNX's Slice takes for "to the end".
END = 2**63 - 1


@operation
@dataclass(frozen=True)
class Slice(Op):
    """For each axis the elements ``start``, ``start + step``… before ``stop``.

    ``0 <= start <= stop <= size`` and ``step >= 1``.
    """

    starts: tuple[Dim, ...]
    stops: tuple[Dim, ...]
    steps: tuple[int, ...]

    opcode = "slice"
    storage = Storage.VIEW

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (type,) = inputs
        if not len(self.starts) == len(self.stops) == len(self.steps) == type.rank:
            raise TypeMismatch(
                "E0301", f"cannot slice {type}: there has to be one range for each of its {type.rank} axes"
            )
        for axis, (start, stop, step) in enumerate(zip(self.starts, self.stops, self.steps, strict=True)):
            inside = (less_equal(0, start), less_equal(start, stop), less_equal(stop, type.shape[axis]))
            action = f"slice {type} from {start} to {stop} along axis {axis}"
            if step < 1:
                raise TypeMismatch("E0301", f"cannot {action}: the step is {step}, and has to be at least 1")
            if False in inside:
                raise TypeMismatch("E0301", f"cannot {action}", f"the range has to lie within 0 to {type.shape[axis]}")
            if None in inside:
                raise TypeMismatch(
                    "E0302",
                    f"cannot {action}: whether that lies within 0 to {type.shape[axis]} is not known",
                    help=("of a symbolic size it is only known that it is at least 1",),
                )
        ranges = zip(self.starts, self.stops, self.steps, strict=True)
        return (type.with_shape(ceil_divide(stop - start, step) for start, stop, step in ranges),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        shape, spread = inputs[0].type.shape, gradients[0]
        for axis, step in enumerate(self.steps):
            if step > 1:
                spread = _spread(b, spread, axis, step)
        ends = zip(self.starts, spread.type.shape, shape, strict=True)
        return (b.pad(spread, self.starts, tuple(dim - start - size for start, size, dim in ends)),)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        axis = cut.common
        if axis is None or (self.starts[axis], self.steps[axis]) != (0, 1):
            return None
        return (axis,) if equal(self.stops[axis], cut.operands[0].shape[axis]) else None

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        ranges = zip(self.starts, self.stops, self.steps, strict=True)
        cut = tuple(slice(evaluate(start, sizes), evaluate(stop, sizes), step) for start, stop, step in ranges)
        return (np.asarray(operands[0][cut]),)

    def numpy(self, c: NumpyLowering) -> None:
        shape = c.input_types[0].shape
        parts = [
            range_text(c, start, stop, step, dim)
            for start, stop, step, dim in zip(self.starts, self.stops, self.steps, shape, strict=True)
        ]
        c.line(f"{c.outputs[0]} = {c.inputs[0]}[{', '.join(parts) or '...'}]")

    def onnx(self, c: OnnxLowering) -> None:
        shape = c.input_types[0].shape
        axes = [
            axis
            for axis, dim in enumerate(shape)
            if (self.starts[axis], self.stops[axis], self.steps[axis]) != (0, dim, 1)
        ]
        if not axes:
            c.alias(c.inputs[0])
            return
        stops = [END if self.stops[axis] == shape[axis] else self.stops[axis] for axis in axes]
        constants = [c.constant(np.array(part, np.int64)) for part in (axes, [self.steps[axis] for axis in axes])]
        starts = c.shape([self.starts[axis] for axis in axes])
        c.node("Slice", (c.inputs[0], starts, c.shape(stops), *constants), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        type, row = TensorType(F32, (N, 7)), TensorType(F32, (8,))
        return (
            Sample(cls((0, 2), (N, 5), (1, 1)), (type,), sizes=SIZES),
            Sample(cls((0, 1), (N - 1, 7), (1, 2)), (type,), sizes=SIZES),
            Sample(cls((N - 1, 0), (N, 7), (1, 3)), (type,), sizes=SIZES),
            Sample(cls((0, 0), (N, 7), (2, 1)), (type,), sizes=SIZES),
            Sample(cls((0, 0), (N, 7), (1, 1)), (type,), sizes=SIZES),
            Sample(cls((1,), (6,), (4,)), (row,)),
            Sample(cls((3,), (3,), (1,)), (row,)),
            Sample(cls((), (), ()), (TensorType(F32),)),
            Sample(cls((2,), (8,), (5,)), (row.with_dtype(DType.BOOL),)),
        )


def range_text(c: NumpyLowering, start: Dim, stop: Dim, step: int, size: Dim) -> str:
    """The text of a slice of an axis of the given size, such as ``2:N:3``."""
    first = "" if start == 0 else c.dim(start)
    last = "" if stop == size else c.dim(stop)
    return f"{first}:{last}" if step == 1 else f"{first}:{last}:{step}"


def _spread(b: Emit, value: Value, axis: int, step: int) -> Value:
    """``value`` with ``step - 1`` zeros between the elements along ``axis``."""
    shape = value.type.shape
    count = shape[axis]
    if count == 0:
        return value
    apart = b.reshape(value, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    zeros = tuple(step - 1 if place == axis + 1 else 0 for place in range(len(shape) + 1))
    padded = b.pad(apart, (0,) * len(zeros), zeros)
    joined = b.reshape(padded, (*shape[:axis], count * step, *shape[axis + 1 :]))
    stops = (*shape[:axis], count * step - (step - 1), *shape[axis + 1 :])
    return b.slice(joined, (0,) * len(shape), stops)


@operation
@dataclass(frozen=True)
class Pad(Op):
    """``before`` and ``after`` elements of ``value`` put around each axis; none of the sizes is negative."""

    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    value: float = 0.0

    opcode = "pad"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (type,) = inputs
        if not len(self.before) == len(self.after) == type.rank:
            raise TypeMismatch(
                "E0301", f"cannot pad {type}: there has to be one amount for each of its {type.rank} axes"
            )
        for amount in (*self.before, *self.after):
            positive = less_equal(0, amount)
            if positive is None:
                raise TypeMismatch("E0302", f"cannot pad {type} by {amount}: whether that is negative is not known")
            if not positive:
                raise TypeMismatch(
                    "E0301", f"cannot pad {type} by {amount}: that is negative", help=("slice it instead",)
                )
        sizes = zip(self.before, type.shape, self.after, strict=True)
        return (type.with_shape(before + dim + after for before, dim, after in sizes),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        ends = zip(self.before, inputs[0].type.shape, strict=True)
        return (b.slice(gradients[0], self.before, tuple(before + dim for before, dim in ends)),)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        axis = cut.common
        return None if axis is None or (self.before[axis], self.after[axis]) != (0, 0) else (axis,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        widths = [
            (evaluate(before, sizes), evaluate(after, sizes))
            for before, after in zip(self.before, self.after, strict=True)
        ]
        return (np.pad(operands[0], widths, constant_values=self.value) if widths else operands[0].copy(),)

    def numpy(self, c: NumpyLowering) -> None:
        type = c.output_types[0]
        inner = [
            range_text(c, before, before + dim, 1, size)
            for before, dim, size in zip(self.before, c.input_types[0].shape, type.shape, strict=True)
        ]
        c.line(f"{c.outputs[0]}.fill({c.scalar(self.value, type.dtype)})")
        c.line(f"{c.outputs[0]}[{', '.join(inner) or '...'}] = {c.inputs[0]}")

    def onnx(self, c: OnnxLowering) -> None:
        if not self.before:
            c.alias(c.inputs[0])
            return
        pads = c.shape((*self.before, *self.after))
        value = (c.scalar(self.value, c.output_types[0].dtype),) if self.value else ()
        c.node("Pad", (c.inputs[0], pads, *value), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        type = TensorType(F32, (N, 3))
        return (
            Sample(cls((0, 1), (2, 0)), (type,), sizes=SIZES),
            Sample(cls((1, 0), (N - 1, 2), -1.5), (type,), sizes=SIZES),
            Sample(cls((0, 0), (0, 0)), (type,), sizes=SIZES),
            Sample(cls((2,), (1,), 7), (TensorType(DType.I64, (2,)),)),
            Sample(cls((), ()), (TensorType(F32),)),
        )


@operation
@dataclass(frozen=True)
class Concat(Op):
    """One or more operands of one element type joined along ``axis``; their other sizes are the same."""

    axis: int

    opcode = "concat"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        need_one_dtype("concat", *inputs)
        first = inputs[0]
        axis = normal_axis("concat", first, self.axis)
        total = first.shape[axis]
        for type in inputs[1:]:
            if type.rank != first.rank:
                raise TypeMismatch("E0301", f"cannot concat {listed(inputs)}", f"{first.rank} axes meet {type.rank}")
            _check_others(inputs, first, type, axis)
            total = total + type.shape[axis]
        return (first.with_shape(total if place == axis else dim for place, dim in enumerate(first.shape)),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        shape = outputs[0].type.shape
        axis = self.axis % len(shape)
        start: Dim = 0
        parts = []
        for value in inputs:
            stop = start + value.type.shape[axis]
            starts = tuple(start if place == axis else 0 for place in range(len(shape)))
            stops = tuple(stop if place == axis else dim for place, dim in enumerate(shape))
            parts.append(b.slice(gradients[0], starts, stops))
            start = stop
        return parts

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        axis = cut.common
        return None if axis is None or axis == self.axis % cut.results[0].rank else (axis,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.concatenate(operands, axis=self.axis),)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"np.concatenate(({', '.join(c.inputs)},), axis={self.axis}, out={c.outputs[0]})")

    def onnx(self, c: OnnxLowering) -> None:
        c.node("Concat", c.inputs, c.outputs, axis=self.axis)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        a, b = TensorType(F32, (N, 3)), TensorType(F32, (N, 2))
        vector = TensorType(DType.BOOL, (2,))
        return (
            Sample(cls(-1), (a, b, a), sizes=SIZES),
            Sample(cls(0), (a, TensorType(F32, (2 * N, 3))), sizes=SIZES),
            Sample(cls(1), (b,), sizes=SIZES),
            Sample(cls(0), (vector, vector)),
        )


def _check_others(inputs: tuple[TensorType, ...], first: TensorType, type: TensorType, axis: int) -> None:
    for place, (one, other) in enumerate(zip(first.shape, type.shape, strict=True)):
        same = place == axis or equal(one, other)
        action = f"concat {listed(inputs)} along axis {axis}"
        if same is None:
            raise unknown_equality(action, one, other, f"dimension {place} is {one} here and {other} there")
        if not same:
            raise TypeMismatch(
                "E0301",
                f"cannot {action}",
                f"dimension {place} differs: {one} and {other}",
                ("all sizes but that of the joined axis have to be the same",),
            )
