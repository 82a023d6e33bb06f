"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from compiler.ir.dims import Dim, product, symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.arrays import by_channels, channel_axes, sum_by_product, sum_channels, sum_last_channels
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Op,
    Sample,
    Sizes,
    Values,
    f32,
    operation,
)
from compiler.ops.checks import need_floats, need_numbers, normal_axes, normal_axis
from compiler.ops.parts import SUM, Cut, Joined

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32 = DType.F32


@dataclass(frozen=True)
class Reduction(Op):
    """``axes`` are reduced, counted from 0, or from the end where negative; () reduces none. ``keepdims`` leaves them
    with size 1."""

    axes: tuple[int, ...]
    keepdims: bool = False

    verb: ClassVar[str]
    floats_only: ClassVar[bool] = False
    needs_elements: ClassVar[bool] = True
    ufunc: ClassVar[str]  # NumPy's, which is reduced with
    onnx_kind: ClassVar[str]
    takes_channels_last = True

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (type,) = inputs
        (need_floats if self.floats_only else need_numbers)(self.verb, type)
        axes = normal_axes(self.verb, type, self.axes)
        empty = [axis for axis in axes if type.shape[axis] == 0]
        if empty and self.needs_elements:
            raise TypeMismatch("E0301", f"cannot {self.verb} {type}: axis {empty[0]} is empty")
        return (type.with_shape(reduced_shape(type.shape, axes, self.keepdims)),)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        axis, reduced = cut.common, normal_axes(self.verb, cut.operands[0], self.axes)
        if axis is None or axis in reduced:
            return None
        return (axis if self.keepdims else axis - sum(other < axis for other in reduced),)

    def numpy(self, c: NumpyLowering) -> None:
        keep = ", keepdims=True" if self.keepdims else ""
        c.line(f"np.{self.ufunc}.reduce({c.inputs[0]}, axis={self.axes}{keep}, out={c.outputs[0]})")

    def onnx(self, c: OnnxLowering) -> None:
        if not self.axes:
            # ONNX Runtime before 1.17 knows no way to reduce over none.
            c.alias(c.inputs[0])
            return
        dtype = c.output_types[0].dtype
        axes = c.constant(np.array(self.axes, np.int64))
        # For the others ONNX Runtime's CPU provider has no kernels; what i64 keeps of them is enough to wrap around.
        wide = dtype if dtype.is_float or dtype is DType.I32 else DType.I64
        x = c.inputs[0] if wide is dtype else c.node("Cast", c.inputs, to=wide)
        results = c.outputs if wide is dtype else None
        result = c.node(self.onnx_kind, (x, axes), results, keepdims=int(self.keepdims))
        if wide is not dtype:
            c.node("Cast", (result,), c.outputs, to=dtype)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        matrix, cube = TensorType(F32, (symbol("N"), 4)), TensorType(F32, (2, symbol("N"), 3))
        integers = TensorType(DType.I64, (2, symbol("N"), 3))
        sizes = {"N": 5}
        return (
            Sample(cls((0,)), (matrix,), sizes=sizes),
            Sample(cls((-1,), True), (matrix,), sizes=sizes),
            Sample(cls((0, 1)), (matrix,), sizes=sizes),
            Sample(cls((0, 2), True), (cube,), sizes=sizes),
            Sample(cls((1,)), (cube,), sizes=sizes),
            Sample(cls((-1, 0)), (cube,), sizes=sizes),
            Sample(cls(()), (matrix,), sizes=sizes),
            Sample(cls(()), (TensorType(F32),)),
            *(
                ()
                if cls.floats_only
                else (
                    Sample(cls((1,)), (integers,), sizes=sizes),
                    Sample(cls((0,)), (integers.with_dtype(DType.U32),), 0, 9, sizes),
                )
            ),
        )


def reduced_shape(shape: Sequence[Dim], axes: Sequence[int], keepdims: bool) -> tuple[Dim, ...]:
    """The shape after a reduction over ``axes``, which count from 0."""
    if keepdims:
        return tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))
    return tuple(dim for axis, dim in enumerate(shape) if axis not in axes)


def _kept(b: Emit, reduced: Value, operand: TensorType, axes: tuple[int, ...]) -> Value:
    """``reduced`` with its axes of size 1, so that it broadcasts against the operand."""
    return b.reshape(reduced, reduced_shape(operand.shape, normal_axes("reduce", operand, axes), True))


@operation
@dataclass(frozen=True)
class Sum(Reduction):
    """The sum, in the operand's own element type."""

    opcode = "sum"
    needs_elements = False
    verb, ufunc, onnx_kind = "sum", "add", "ReduceSum"

    def numpy(self, c: NumpyLowering) -> None:
        type = c.input_types[0]
        by_channel = type.rank > 2 and normal_axes(self.verb, type, self.axes) == channel_axes(type.rank)
        if not by_channel or type.dtype not in (F32, DType.F64):
            if not sum_by_product(c, tuple(sorted(normal_axes(self.verb, type, self.axes)))):
                super().numpy(c)
            return
        grid, out = (*type.shape[:2], product(type.shape[2:])), c.view(c.outputs[0], "reshape(-1)")
        if c.contiguous(0):
            sum_channels(c, c.inputs[0], "", grid, type.dtype, out)
        elif c.channels_last(0):
            sum_last_channels(c, by_channels(c, 0), grid, type.dtype, out)
        else:
            super().numpy(c)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        type = inputs[0].type
        return (b.expand(_kept(b, gradients[0], type, self.axes), type.shape),)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        axis = cut.common
        return (SUM,) if axis in normal_axes(self.verb, cut.operands[0], self.axes) else super().in_parts(cut)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        (x,) = operands
        wide = np.float64 if DType.of(x.dtype) in (DType.F16, DType.BF16, F32) else x.dtype
        return (np.asarray(np.sum(x, axis=self.axes, keepdims=self.keepdims, dtype=wide)).astype(x.dtype),)


@operation
@dataclass(frozen=True)
class Mean(Reduction):
    """The arithmetic mean of floats."""

    opcode = "mean"
    floats_only = True
    verb, ufunc, onnx_kind = "take the mean of", "add", "ReduceMean"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        type = inputs[0].type
        share = b.div(gradients[0], b.size(self._count(type), type.dtype))
        return (b.expand(_kept(b, share, type, self.axes), type.shape),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        (x,) = operands
        mean = np.mean(x.astype(np.float64), axis=self.axes, keepdims=self.keepdims)
        return (np.asarray(mean).astype(x.dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        type = c.input_types[0]
        count = self._count(type)
        if sum_by_product(c, tuple(sorted(normal_axes(self.verb, type, self.axes))), f"1/{c.dim(count)}"):
            return
        super().numpy(c)
        if count != 1:
            # As an array of the result's type, which NumPy takes four times as fast as a Python number.
            dtype = c.output_types[0].dtype
            divisor = c.bound(f"np.full((), {c.dim(count)}, {c.scalar(0, dtype)}.dtype)", TensorType(dtype))
            c.line(f"np.divide({c.outputs[0]}, {divisor}, out={c.outputs[0]})")

    def by_sum(self, b: Emit, x: Value) -> tuple[Value, ...]:
        """The mean as a sum that is divided, made with ``b``."""
        return (b.div(b.sum(x, self.axes, keepdims=self.keepdims), b.size(self._count(x.type), x.type.dtype)),)

    def _count(self, type: TensorType) -> Dim:
        return product(type.shape[axis] for axis in self.axes)


class Extreme(Reduction):
    """The largest or smallest element; elements that tie share the gradient evenly."""

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        (x,) = inputs
        chosen = b.equal(x, _kept(b, outputs[0], x.type, self.axes))
        count = b.sum(b.cast(chosen, x.type.dtype), self.axes, keepdims=True)
        return (b.mask(b.div(_kept(b, gradients[0], x.type, self.axes), count), chosen),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        extreme = np.max if self.ufunc == "maximum" else np.min
        return (np.asarray(extreme(operands[0], axis=self.axes, keepdims=self.keepdims)),)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        tied = f32([[1, 1, 0], [-2, -3, -2]])
        sample = super().samples()[0]
        return (
            *super().samples(),
            Sample(cls((1,)), (TensorType(F32, (2, 3)),), values=(tied,)),
            replace(sample, low=5, high=9),
        )


@operation
@dataclass(frozen=True)
class Max(Extreme):
    """The largest element over the axes; elements that tie share the gradient evenly."""

    opcode = "max"
    verb, ufunc, onnx_kind = "take the maximum of", "maximum", "ReduceMax"


@operation
@dataclass(frozen=True)
class Min(Extreme):
    """The smallest element over the axes; elements that tie share the gradient evenly."""

    opcode = "min"
    verb, ufunc, onnx_kind = "take the minimum of", "minimum", "ReduceMin"


@operation
@dataclass(frozen=True)
class ArgMax(Op):
    """The index (i64) of the largest element along ``axis``, the first of those that tie."""

    axis: int

    opcode = "argmax"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (type,) = inputs
        need_numbers("take the argmax of", type)
        axis = normal_axis("take the argmax of", type, self.axis)
        if type.shape[axis] == 0:
            raise TypeMismatch("E0301", f"cannot take the argmax of {type}: axis {axis} is empty")
        return (TensorType(DType.I64, reduced_shape(type.shape, (axis,), False)),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (None,)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        axis, reduced = cut.common, self.axis % cut.operands[0].rank
        return None if axis is None or axis == reduced else (axis - (reduced < axis),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.asarray(np.argmax(operands[0], axis=self.axis)).astype(np.int64),)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"np.argmax({c.inputs[0]}, axis={self.axis}, out={c.outputs[0]})")

    def onnx(self, c: OnnxLowering) -> None:
        # ONNX Runtime's CPU provider has no ArgMax for u32.
        x = c.node("Cast", c.inputs, to=DType.I64) if c.input_types[0].dtype is DType.U32 else c.inputs[0]
        c.node("ArgMax", (x,), c.outputs, axis=self.axis, keepdims=0)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        matrix = TensorType(F32, (symbol("N"), 4))
        tied = f32([[1, 3, 3], [-2, -2, -5]])
        return (
            Sample(cls(-1), (matrix,), sizes={"N": 5}),
            Sample(cls(0), (matrix,), sizes={"N": 5}),
            Sample(cls(1), (TensorType(F32, (2, 3)),), values=(tied,)),
            Sample(cls(0), (TensorType(DType.U32, (2, 3)),), 0, 9),
            Sample(cls(0), (TensorType(DType.I64, (6,)),), -9, 9),
        )
