"""Elementwise mathematics on one operand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from compiler.ir.dims import symbol
from compiler.ir.types import DType, TensorType, TypeMismatch
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
from compiler.ops.checks import need_floats, need_numbers

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

N = symbol("N")


class Unary(Op):
    """One operand; the result has its type. A subclass gives the names, the gradient and the range of its samples."""

    elementwise = True
    inplace: tuple[int, ...] = (0,)
    floats_only: ClassVar[bool] = True
    verb: ClassVar[str]  # as in "cannot take the log of …"
    ufunc: ClassVar[str]  # NumPy's name
    onnx_kind: ClassVar[str]
    domain: ClassVar[tuple[float, float]] = (-2.0, 2.0)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (need_floats if self.floats_only else need_numbers)(self.verb, *inputs)
        return inputs

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.asarray(getattr(np, self.ufunc)(operands[0])),)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"np.{self.ufunc}({c.inputs[0]}, out={c.outputs[0]})")

    def onnx(self, c: OnnxLowering) -> None:
        c.node(self.onnx_kind, c.inputs, c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        low, high = cls.domain
        return (
            Sample(cls(), (TensorType(DType.F32, (N, 3)),), low, high, {"N": 5}),
            Sample(cls(), (TensorType(DType.F32),), low, high),
            *(() if cls.floats_only else (Sample(cls(), (TensorType(DType.I64, (4,)),), low, high),)),
        )


@operation
@dataclass(frozen=True)
class Negative(Unary):
    """``-x`` of signed numbers."""

    opcode = "neg"
    floats_only = False
    verb, ufunc, onnx_kind = "negate", "negative", "Neg"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        if inputs[0].dtype in (DType.U8, DType.U32):
            raise TypeMismatch(
                "E0303",
                f"cannot negate {inputs[0]}: {inputs[0].dtype} has no negative numbers",
                help=("convert it first, for example with cast(i32) or cast(f32)",),
            )
        return super().infer(inputs)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.neg(gradients[0]),)


@operation
@dataclass(frozen=True)
class Absolute(Unary):
    """``|x|``; the gradient at 0 is 0."""

    opcode = "abs"
    floats_only = False
    verb, ufunc, onnx_kind = "take the absolute value of", "absolute", "Abs"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.mul(gradients[0], b.sign(inputs[0])),)


@operation
@dataclass(frozen=True)
class Sign(Unary):
    """-1, 0 or 1; no gradient passes."""

    opcode = "sign"
    floats_only = False
    verb, ufunc, onnx_kind = "take the sign of", "sign", "Sign"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (None,)


@operation
@dataclass(frozen=True)
class Exp(Unary):
    """The exponential function."""

    opcode = "exp"
    verb, ufunc, onnx_kind = "take the exponential of", "exp", "Exp"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.mul(gradients[0], outputs[0]),)


@operation
@dataclass(frozen=True)
class Log(Unary):
    """The natural logarithm: -inf at 0, NaN below."""

    opcode = "log"
    verb, ufunc, onnx_kind = "take the logarithm of", "log", "Log"
    domain = (0.2, 3.0)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.div(gradients[0], inputs[0]),)


@operation
@dataclass(frozen=True)
class Log1p(Unary):
    """``log(1 + x)``, exact near 0 too."""

    opcode = "log1p"
    verb, ufunc = "take the logarithm of 1 plus", "log1p"
    domain = (-0.8, 3.0)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.div(gradients[0], b.add(inputs[0], 1)),)

    def onnx(self, c: OnnxLowering) -> None:
        # ONNX has no log1p. With u = 1 + x rounded, log(u) * x/(u - 1) takes the rounding back out; where u is 1
        # the result is x: theorem 4 of D. Goldberg, "What every computer scientist should know about floating-point
        # arithmetic", ACM Computing Surveys 23 (1991).
        one, (x,) = c.scalar(1, c.output_types[0].dtype), c.inputs
        u = c.node("Add", (x, one))
        change = c.node("Sub", (u, one))
        exact = c.node("Equal", (change, c.scalar(0, c.output_types[0].dtype)))
        infinite = c.node("Equal", (u, x))
        logarithm = c.node("Log", (u,))
        corrected = c.node("Mul", (logarithm, c.node("Div", (x, change))))
        # Where 1 is lost in x, infinity included, the correction is 1 or undefined.
        large = c.node("Where", (infinite, logarithm, corrected))
        c.node("Where", (exact, x, large), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        tiny = f32([0, 1e-9, -3e-8, 1e-4, 1e30])
        return (*super().samples(), Sample(cls(), (TensorType(DType.F32, (5,)),), values=(tiny,)))


@operation
@dataclass(frozen=True)
class Expm1(Unary):
    """``exp(x) - 1``, exact near 0 too."""

    opcode = "expm1"
    verb, ufunc = "take the exponential minus 1 of", "expm1"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.mul(gradients[0], b.add(outputs[0], 1)),)

    def onnx(self, c: OnnxLowering) -> None:
        # ONNX has no expm1: 2*sinh(x/2)*exp(x/2) would overflow late, but tanh has a kernel that is exact near 0:
        # exp(x) - 1 == tanh(x/2) * (exp(x) + 1).
        dtype = c.output_types[0].dtype
        half = c.node("Tanh", (c.node("Mul", (c.inputs[0], c.scalar(0.5, dtype))),))
        above = c.node("Add", (c.node("Exp", c.inputs), c.scalar(1, dtype)))
        c.node("Mul", (half, above), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        tiny = f32([0, 1e-9, -3e-8, 1e-4, 20, -60])
        return (*super().samples(), Sample(cls(), (TensorType(DType.F32, (6,)),), values=(tiny,)))


@operation
@dataclass(frozen=True)
class Sqrt(Unary):
    """The square root: NaN below 0. The gradient at 0, infinite by the formula, is taken as 0."""

    opcode = "sqrt"
    verb, ufunc, onnx_kind = "take the square root of", "sqrt", "Sqrt"
    domain = (0.2, 3.0)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        slope = b.div(b.mul(gradients[0], 0.5), outputs[0])
        return (b.select(b.equal(outputs[0], 0), 0, slope),)


@operation
@dataclass(frozen=True)
class Square(Unary):
    """``x * x``."""

    opcode = "square"
    floats_only = False
    verb, ufunc = "square", "square"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.mul(gradients[0], b.mul(inputs[0], 2)),)

    def onnx(self, c: OnnxLowering) -> None:
        c.node("Mul", (c.inputs[0], c.inputs[0]), c.outputs)


@operation
@dataclass(frozen=True)
class Reciprocal(Unary):
    """``1 / x``."""

    opcode = "reciprocal"
    verb, ufunc, onnx_kind = "take the reciprocal of", "reciprocal", "Reciprocal"
    domain = (0.3, 3.0)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.neg(b.mul(gradients[0], b.square(outputs[0]))),)


@operation
@dataclass(frozen=True)
class Sin(Unary):
    """The sine of an angle in radians."""

    opcode = "sin"
    verb, ufunc, onnx_kind = "take the sine of", "sin", "Sin"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.mul(gradients[0], b.cos(inputs[0])),)


@operation
@dataclass(frozen=True)
class Cos(Unary):
    """The cosine of an angle in radians."""

    opcode = "cos"
    verb, ufunc, onnx_kind = "take the cosine of", "cos", "Cos"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.neg(b.mul(gradients[0], b.sin(inputs[0]))),)


class Rounding(Unary):
    """To a whole number, kept as a float. The slope is 0 wherever there is one: no gradient passes."""

    domain = (-3.4, 3.4)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (None,)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        halves = f32([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, -0.0])
        return (*super().samples(), Sample(cls(), (TensorType(DType.F32, (7,)),), values=(halves,)))


@operation
@dataclass(frozen=True)
class Floor(Rounding):
    """The largest whole number that is not above x."""

    opcode = "floor"
    verb, ufunc, onnx_kind = "round down", "floor", "Floor"


@operation
@dataclass(frozen=True)
class Ceil(Rounding):
    """The smallest whole number that is not below x."""

    opcode = "ceil"
    verb, ufunc, onnx_kind = "round up", "ceil", "Ceil"


@operation
@dataclass(frozen=True)
class Round(Rounding):
    """The nearest whole number, halves to the even one."""

    opcode = "round"
    verb, ufunc, onnx_kind = "round", "rint", "Round"
