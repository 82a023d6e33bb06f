"""Choosing between tensors by truth values, elementwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.dims import symbol
from compiler.ir.types import DType, TensorType
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Op,
    Sample,
    Sizes,
    Values,
    operation,
)
from compiler.ops.broadcast import broadcast_types
from compiler.ops.checks import need_bools, need_floats, need_one_dtype
from compiler.ops.samples import typical

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

# Masks of up to so many elements are made floats first.
_SMALL = 1 << 16
BOOL, F32, I64 = DType.BOOL, DType.F32, DType.I64
N = symbol("N")
SIZES = {"N": 4}


@operation
@dataclass(frozen=True)
class Select(Op):
    """``a`` where the condition holds and ``b`` elsewhere: operands condition (bool), a and b, broadcast together."""

    opcode = "select"
    elementwise = True
    # Not a, as a and b may be one value.
    inplace = (2,)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        condition, a, b = inputs
        need_bools("select by", condition)
        need_one_dtype("select between", a, b)
        return (TensorType(a.dtype, broadcast_types("select by {} between {} and {}", *inputs)),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        condition = inputs[0]
        return None, b.mask(gradients[0], condition), b.mask(gradients[0], b.logical_not(condition))

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.where(*operands),)

    def numpy(self, c: NumpyLowering) -> None:
        """The bits of ``a`` and ``b`` are mixed by a mask of all ones or zeros, ``b ^ ((a ^ b) & mask)``.

        ``np.copyto(…, where=…)`` takes seven times as long on a random condition, and ``np.where`` has no ``out``.
        """
        if c.output_types[0].dtype is BOOL:
            self._numpy_bools(c)
            return
        bits = 8 * c.output_types[0].dtype.bytes
        if c.output_types[0].shape and not any(type.shape for type in c.input_types[1:]):
            self._numpy_numbers(c, bits)
            return
        names = (*c.inputs[1:], c.outputs[0], c.scratch(c.output_types[0]))
        a, b, out, mask = (c.view(name, f"view(np.int{bits})") for name in names)
        c.line(f"np.copyto({mask}, {c.inputs[0]})")
        if c.shares(2):
            c.line(f"np.subtract({mask}, 1, out={mask})")
            a, b = b, a
        else:
            c.line(f"np.negative({mask}, out={mask})")
        c.line(f"np.bitwise_xor({a}, {b}, out={out})")
        c.line(f"np.bitwise_and({out}, {mask}, out={out})")
        c.line(f"np.bitwise_xor({out}, {b}, out={out})")

    def _numpy_numbers(self, c: NumpyLowering, bits: int) -> None:
        """Between two numbers, of which the bits that differ are put together once."""
        names = (*c.inputs[1:], c.outputs[0], c.scratch(c.output_types[0].with_shape(())))
        a, b, out, differing = (c.view(name, f"view(np.int{bits})") for name in names)
        c.line(f"np.bitwise_xor({a}, {b}, out={differing})")
        c.line(f"np.copyto({out}, {c.inputs[0]})")
        c.line(f"np.multiply({out}, {differing}, out={out})")
        c.line(f"np.bitwise_xor({out}, {b}, out={out})")

    def _numpy_bools(self, c: NumpyLowering) -> None:
        condition, a, b = c.inputs
        other = c.scratch(c.output_types[0])
        c.line(f"np.greater({b}, {condition}, out={other})")
        c.line(f"np.logical_and({a}, {condition}, out={c.outputs[0]})")
        c.line(f"np.logical_or({c.outputs[0]}, {other}, out={c.outputs[0]})")

    def onnx(self, c: OnnxLowering) -> None:
        if c.output_types[0].dtype is not BOOL:
            c.node("Where", c.inputs, c.outputs)
            return
        # ONNX Runtime's CPU provider has no Where for truth values.
        condition, a, b = c.inputs
        other = c.node("And", (b, c.node("Not", (condition,))))
        c.node("Or", (c.node("And", (a, condition)), other), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        full, row = TensorType(F32, (N, 3)), TensorType(F32, (3,))
        condition = full.with_dtype(BOOL)
        column = TensorType(BOOL, (N, 1))
        return (
            Sample(cls(), (condition, full, full), sizes=SIZES),
            Sample(cls(), (column, row, TensorType(F32)), sizes=SIZES),
            Sample(cls(), (TensorType(BOOL), full, row), sizes=SIZES),
            Sample(cls(), (condition, TensorType(F32), TensorType(F32)), sizes=SIZES),
            Sample(cls(), (condition, condition, column), sizes=SIZES),
            Sample(cls(), (condition, full.with_dtype(I64), row.with_dtype(I64)), sizes=SIZES),
            Sample(cls(), (column, full.with_dtype(DType.U8), full.with_dtype(DType.U8)), 0, 200, SIZES),
        )


@operation
@dataclass(frozen=True)
class Mask(Op):
    """``x`` where the condition holds and 0 elsewhere: operands x (floats) and condition (bool), broadcast together.

    It is the product of the two, so that an infinite x gives NaN where the condition does not hold;
    :class:`Select` is the exact choice, which takes NumPy about twice the time.
    """

    opcode = "mask"
    elementwise = True
    inplace = (0,)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        x, condition = inputs
        need_floats("mask", x)
        need_bools("mask by", condition)
        return (TensorType(x.dtype, broadcast_types("mask {} by {}", x, condition)),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return b.mask(gradients[0], inputs[1]), None

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, condition = operands
        return (np.asarray(x * condition.astype(x.dtype)),)

    def numpy(self, c: NumpyLowering) -> None:
        (x, condition), (out,), type = c.inputs, c.outputs, c.output_types[0]
        if type.shape == c.input_types[1].shape and typical(type.size) <= _SMALL:
            # Where both are floats the product begins so much sooner that a copy is made up for.
            factors = c.scratch(type)
            c.line(f"np.copyto({factors}, {condition})")
            condition = factors
        c.line(f"np.multiply({x}, {condition}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        factor = c.node("Cast", (c.inputs[1],), to=c.output_types[0].dtype)
        c.node("Mul", (c.inputs[0], factor), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        full, column = TensorType(F32, (N, 3)), TensorType(F32, (N, 1))
        return (
            Sample(cls(), (full, full.with_dtype(BOOL)), sizes=SIZES),
            Sample(cls(), (column, TensorType(BOOL, (3,))), sizes=SIZES),
        )
