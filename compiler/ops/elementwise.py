"""Elementwise arithmetic on two operands of one dtype, with NumPy's broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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
    f32,
    operation,
)
from compiler.ops.broadcast import broadcast_types
from compiler.ops.checks import need_floats, need_numbers, need_one_dtype

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32, I64 = DType.F32, DType.I64
N = symbol("N")


class Binary(Op):
    """Two operands of one number type, broadcast together; a subclass gives the names and the gradient."""

    elementwise = True
    inplace = (0, 1)
    floats_only: ClassVar[bool] = False
    verb: ClassVar[str]  # as in "cannot add {} and {}"
    ufunc: ClassVar[str]  # NumPy's name
    onnx_kind: ClassVar[str]

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        a, b = inputs
        need_one_dtype(self.verb, a, b)
        (need_floats if self.floats_only else need_numbers)(self.verb, a, b)
        return (TensorType(a.dtype, broadcast_types(self.verb, a, b)),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.asarray(getattr(np, self.ufunc)(*operands)),)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"np.{self.ufunc}({c.inputs[0]}, {c.inputs[1]}, out={c.outputs[0]})")

    def onnx(self, c: OnnxLowering) -> None:
        c.node(self.onnx_kind, c.inputs, c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        full, row, column = TensorType(F32, (N, 3)), TensorType(F32, (3,)), TensorType(F32, (N, 1))
        sizes = {"N": 4}
        integers = TensorType(I64, (2, N))
        return (
            Sample(cls(), (full, full), 0.5, 2.0, sizes),
            Sample(cls(), (full, row), 0.5, 2.0, sizes),
            Sample(cls(), (column, row), 0.5, 2.0, sizes),
            Sample(cls(), (TensorType(F32), full), 0.5, 2.0, sizes),
            Sample(cls(), (TensorType(F32, (2, 1, 4)), column), 0.5, 2.0, sizes),
            *(() if cls.floats_only else (Sample(cls(), (integers, integers), 1, 9, sizes),)),
        )


@operation
@dataclass(frozen=True)
class Add(Binary):
    """``a + b``."""

    opcode = "add"
    commutative = True
    verb, ufunc, onnx_kind = "add {} and {}", "add", "Add"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return gradients[0], gradients[0]


@operation
@dataclass(frozen=True)
class Subtract(Binary):
    """``a - b``; unsigned integers wrap around."""

    opcode = "sub"
    verb, ufunc, onnx_kind = "subtract {1} from {0}", "subtract", "Sub"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return gradients[0], b.neg(gradients[0])


@operation
@dataclass(frozen=True)
class Multiply(Binary):
    """``a * b``."""

    opcode = "mul"
    commutative = True
    verb, ufunc, onnx_kind = "multiply {} and {}", "multiply", "Mul"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return b.mul(gradients[0], inputs[1]), b.mul(gradients[0], inputs[0])


@operation
@dataclass(frozen=True)
class Divide(Binary):
    """``a / b`` of floats."""

    opcode = "div"
    floats_only = True
    verb, ufunc, onnx_kind = "divide {} by {}", "divide", "Div"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        upper = b.div(gradients[0], inputs[1])
        return upper, b.neg(b.mul(upper, outputs[0]))


@operation
@dataclass(frozen=True)
class Power(Binary):
    """``a ** b`` of floats.

    The gradient to ``a`` is 0 where b is 0, and that to ``b`` is 0 where a is 0 and b is not negative: the limits of
    ``b*a**(b-1)`` and ``a**b * log(a)``, which computed as they stand would give NaN there.
    """

    opcode = "pow"
    floats_only = True
    verb, ufunc, onnx_kind = "raise {} to the power {}", "power", "Pow"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        base, exponent = inputs
        slope = b.mul(exponent, b.pow(base, b.sub(exponent, 1)))
        to_base = b.mul(gradients[0], b.select(b.equal(exponent, 0), 0, slope))
        flat = b.logical_and(b.equal(base, 0), b.greater_equal(exponent, 0))
        growth = b.mul(outputs[0], b.log(b.select(flat, 1, base)))
        return to_base, b.mul(gradients[0], growth)


@operation
@dataclass(frozen=True)
class Maximum(Binary):
    """The larger of two; at a tie the first operand takes the whole gradient."""

    opcode = "maximum"
    commutative = True
    verb, ufunc, onnx_kind = "take the maximum of", "maximum", "Max"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        first = b.greater_equal(*inputs)
        return b.mask(gradients[0], first), b.mask(gradients[0], b.logical_not(first))


@operation
@dataclass(frozen=True)
class Minimum(Binary):
    """The smaller of two; at a tie the first operand takes the whole gradient."""

    opcode = "minimum"
    commutative = True
    verb, ufunc, onnx_kind = "take the minimum of", "minimum", "Min"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        first = b.less_equal(*inputs)
        return b.mask(gradients[0], first), b.mask(gradients[0], b.logical_not(first))


@operation
@dataclass(frozen=True)
class Modulo(Binary):
    """The floor modulo ``a - b*floor(a/b)``, of the sign of ``b``, as Python and NumPy have it."""

    opcode = "mod"
    verb, ufunc, onnx_kind = "take the remainder of {} by {}", "mod", "Mod"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        # By the result, not by floor(a/b): the rounded quotient can be off by one where a is nearly a multiple of b.
        quotient = b.round(b.div(b.sub(inputs[0], outputs[0]), inputs[1]))
        return gradients[0], b.neg(b.mul(gradients[0], quotient))

    def onnx(self, c: OnnxLowering) -> None:
        dtype = c.output_types[0].dtype
        if not dtype.is_float:
            c.node("Mod", c.inputs, c.outputs)
            return
        # For floats ONNX has only the remainder of the dividend's sign: moved by b where the signs differ.
        remainder = c.node("Mod", c.inputs, fmod=1)
        zero = c.scalar(0, dtype)
        signs = c.node("Less", (c.node("Mul", (remainder, c.inputs[1])), zero))
        c.node("Where", (signs, c.node("Add", (remainder, c.inputs[1])), remainder), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        a, b = TensorType(F32, (N, 3)), TensorType(F32, (3,))
        values = (f32([[-5.5, 5.5, -5.5], [1.25, -7.75, 0.5]]), f32([2, -3, -2]))
        return (*super().samples(), Sample(cls(), (a, b), sizes={"N": 2}, values=values))
