"""Activation functions: one operand, elementwise, at the level for which ONNX has operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from compiler.ir.types import DType, TensorType
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Sample,
    Sizes,
    Values,
    f32,
    operation,
)
from compiler.ops.erf import lower_erf, reference_erf, refuse_f64_erf
from compiler.ops.samples import typical
from compiler.ops.unary import N, Unary

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

# Below these, exp(-x) overflows; the sigmoid is 0 to within the smallest normal number there. In f16 it overflows
# earlier, to the infinity whose reciprocal is the right result.
LOWEST_EXPONENT = {DType.F16: -88.0, DType.BF16: -88.0, DType.F32: -88.0, DType.F64: -709.0}


class Activation(Unary):
    """An elementwise function whose reference is a formula computed in f64, by :meth:`formula`."""

    # Whether the gradient is told by the result, so that nobody has to keep the operand.
    by_result: ClassVar[bool] = False

    def formula(self, x: Array) -> Array:
        """The function of f64 elements."""
        return np.asarray(getattr(np, self.ufunc)(x))

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.asarray(self.formula(operands[0].astype(np.float64))).astype(operands[0].dtype),)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        extreme = f32([-1000, -90, -20, -1e-4, 1e-4, 20, 90, 1000])
        return (*super().samples(), Sample(cls(), (TensorType(DType.F32, (8,)),), values=(extreme,)))


@operation
@dataclass(frozen=True)
class Tanh(Activation):
    """The hyperbolic tangent."""

    opcode = "tanh"
    by_result = True
    verb, ufunc, onnx_kind = "take the tanh of", "tanh", "Tanh"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.mul(gradients[0], b.sub(1, b.square(outputs[0]))),)


@operation
@dataclass(frozen=True)
class Sigmoid(Activation):
    """``1/(1 + exp(-x))``, without overflow for any x."""

    opcode = "sigmoid"
    by_result = True
    verb, onnx_kind = "take the sigmoid of", "Sigmoid"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.mul(gradients[0], b.mul(outputs[0], b.sub(1, outputs[0]))),)

    def formula(self, x: Array) -> Array:
        return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))

    def numpy(self, c: NumpyLowering) -> None:
        lower_sigmoid(c, c.inputs[0], c.outputs[0])


def lower_sigmoid(c: NumpyLowering, x: str, out: str) -> None:
    """Write the statements that fill ``out``, which may be ``x``, with the sigmoid of ``x``."""
    dtype = c.output_types[0].dtype
    lower_clip(c, x, out, low=LOWEST_EXPONENT[dtype])
    c.line(f"np.negative({out}, out={out})")
    c.line(f"np.exp({out}, out={out})")
    c.line(f"np.add({out}, {c.scalar(1, dtype)}, out={out})")
    c.line(f"np.reciprocal({out}, out={out})")


# Matrices of up to so many elements are cut at a bound by comparison with an array that has it everywhere.
_SMALL = 1 << 13


def lower_clip(c: NumpyLowering, x: str, out: str, low: float = -math.inf, high: float = math.inf) -> None:
    """Write the statement that fills ``out``, which may be ``x``, with ``x`` cut at the bounds; NaN stays NaN.

    With a number for one operand NumPy's ``maximum`` takes three times as long as ``clip``, with an array half of its
    time, as far as that is in the cache (measured with NumPy 2.4).
    """
    type, choose = c.output_types[0], "minimum" if math.isinf(low) else "maximum"
    bound = high if math.isinf(low) else low
    if type.rank == 2 and typical(type.size) <= _SMALL and math.inf in (-low, high):
        table = c.bound(f"np.full({c.shape(type.shape)}, {c.scalar(bound, type.dtype)})", type)
        c.line(f"np.{choose}({x}, {table}, out={out})")
    else:
        c.line(f"{x}.clip({c.scalar(low, type.dtype)}, {c.scalar(high, type.dtype)}, out={out})")


@operation
@dataclass(frozen=True)
class Relu(Activation):
    """``max(x, 0)``; the gradient at 0 is 0."""

    opcode = "relu"
    by_result = True
    verb, onnx_kind = "take the relu of", "Relu"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.mask(gradients[0], b.greater(outputs[0], 0)),)

    def formula(self, x: Array) -> Array:
        return np.maximum(x, 0)

    def numpy(self, c: NumpyLowering) -> None:
        lower_clip(c, c.inputs[0], c.outputs[0], low=0)


@operation
@dataclass(frozen=True)
class Softplus(Activation):
    """``log(1 + exp(x))``, without overflow for any x."""

    opcode = "softplus"
    verb, onnx_kind = "take the softplus of", "Softplus"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.mul(gradients[0], b.sigmoid(inputs[0])),)

    def formula(self, x: Array) -> Array:
        return np.logaddexp(0, x)

    def numpy(self, c: NumpyLowering) -> None:
        (x,), (out,), type = c.inputs, c.outputs, c.output_types[0]
        work = c.scratch(type)
        c.line(f"np.copysign({x}, {c.scalar(-1, type.dtype)}, out={work})")
        c.line(f"np.exp({work}, out={work})")
        c.line(f"np.log1p({work}, out={work})")
        lower_clip(c, x, out, low=0)
        c.line(f"np.add({out}, {work}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        dtype = c.output_types[0].dtype
        if dtype is not DType.F64:
            super().onnx(c)
            return
        # ONNX Runtime's CPU provider has no Softplus for f64.
        small = c.node("Exp", (c.node("Neg", (c.node("Abs", c.inputs),)),))
        rest = c.node("Log", (c.node("Add", (small, c.scalar(1, dtype))),))
        c.node("Add", (c.node("Max", (c.inputs[0], c.scalar(0, dtype))), rest), c.outputs)


@operation
@dataclass(frozen=True)
class LeakyRelu(Activation):
    """x where it is positive, ``slope * x`` elsewhere."""

    slope: float = 0.01

    opcode = "leaky_relu"
    inplace = ()
    verb, onnx_kind = "take the leaky relu of", "LeakyRelu"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        slopes = b.select(b.greater(inputs[0], 0), b.scalar(1, gradients[0].type.dtype), self.slope)
        return (b.mul(gradients[0], slopes),)

    def formula(self, x: Array) -> Array:
        return np.where(x > 0, x, self.slope * x)

    def numpy(self, c: NumpyLowering) -> None:
        (x,), (out,) = c.inputs, c.outputs
        larger = "maximum" if self.slope <= 1 else "minimum"
        c.line(f"np.multiply({x}, {c.scalar(self.slope, c.output_types[0].dtype)}, out={out})")
        c.line(f"np.{larger}({x}, {out}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        dtype = c.output_types[0].dtype
        if dtype is not DType.F64:
            c.node("LeakyRelu", c.inputs, c.outputs, alpha=self.slope)
            return
        # ONNX Runtime's CPU provider has no LeakyRelu for f64.
        scaled = c.node("Mul", (c.inputs[0], c.scalar(self.slope, dtype)))
        c.node("Max" if self.slope <= 1 else "Min", (c.inputs[0], scaled), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        type = TensorType(DType.F32, (N, 3))
        return (*super().samples(), *(Sample(cls(slope), (type,), sizes={"N": 4}) for slope in (0.3, -0.5, 2.0)))


@operation
@dataclass(frozen=True)
class Elu(Activation):
    """x where it is positive, ``alpha * (exp(x) - 1)`` elsewhere."""

    alpha: float = 1.0

    opcode = "elu"
    verb, onnx_kind = "take the elu of", "Elu"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        one = b.scalar(1, gradients[0].type.dtype)
        slopes = b.select(b.greater(inputs[0], 0), one, b.add(outputs[0], self.alpha))
        return (b.mul(gradients[0], slopes),)

    def formula(self, x: Array) -> Array:
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def numpy(self, c: NumpyLowering) -> None:
        (x,), (out,), type = c.inputs, c.outputs, c.output_types[0]
        work = c.scratch(type)
        lower_clip(c, x, work, high=0)
        c.line(f"np.expm1({work}, out={work})")
        if self.alpha != 1:
            c.line(f"np.multiply({work}, {c.scalar(self.alpha, type.dtype)}, out={work})")
        lower_clip(c, x, out, low=0)
        c.line(f"np.add({out}, {work}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        dtype = c.output_types[0].dtype
        if dtype is not DType.F64:
            c.node("Elu", c.inputs, c.outputs, alpha=self.alpha)
            return
        # ONNX Runtime's CPU provider has no Elu for f64.
        zero = c.scalar(0, dtype)
        below = c.node("Sub", (c.node("Exp", (c.node("Min", (c.inputs[0], zero)),)), c.scalar(1, dtype)))
        scaled = c.node("Mul", (below, c.scalar(self.alpha, dtype)))
        c.node("Add", (c.node("Max", (c.inputs[0], zero)), scaled), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return (*super().samples(), Sample(cls(0.5), (TensorType(DType.F32, (N, 3)),), sizes={"N": 4}))


@operation
@dataclass(frozen=True)
class Silu(Activation):
    """``x * sigmoid(x)``, also called swish."""

    opcode = "silu"
    inplace = ()
    verb = "take the silu of"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        gate = b.sigmoid(inputs[0])
        slope = b.add(gate, b.mul(outputs[0], b.sub(1, gate)))
        return (b.mul(gradients[0], slope),)

    def formula(self, x: Array) -> Array:
        return x * Sigmoid().formula(x)

    def numpy(self, c: NumpyLowering) -> None:
        lower_sigmoid(c, c.inputs[0], c.outputs[0])
        c.line(f"np.multiply({c.outputs[0]}, {c.inputs[0]}, out={c.outputs[0]})")

    def onnx(self, c: OnnxLowering) -> None:
        # ONNX Runtime has no kernel for Swish but fuses this pattern.
        c.node("Mul", (c.inputs[0], c.node("Sigmoid", c.inputs)), c.outputs)


# sqrt(2/pi) and the cubic's coefficient of the tanh form: D. Hendrycks and K. Gimpel, "Gaussian error linear units"
# (2016), https://arxiv.org/abs/1606.08415.
SCALE, CUBIC = math.sqrt(2 / math.pi), 0.044715


@operation
@dataclass(frozen=True)
class Gelu(Activation):
    """``x * P(X <= x)`` for a standard normal X: by the error function (``approximate="none"``), or by tanh, which
    differs from that by up to 5e-4."""

    approximate: str = "none"

    opcode = "gelu"
    inplace = ()
    verb = "take the gelu of"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        (x,) = inputs
        if self.approximate == "none":
            share = b.mul(b.add(b.erf(b.mul(x, 1 / math.sqrt(2))), 1), 0.5)
            bell = b.mul(b.exp(b.mul(b.square(x), -0.5)), 1 / math.sqrt(2 * math.pi))
            return (b.mul(gradients[0], b.add(share, b.mul(x, bell))),)
        squared = b.square(x)
        bend = b.tanh(b.mul(x, b.add(b.mul(squared, SCALE * CUBIC), SCALE)))
        inner = b.add(b.mul(squared, 3 * SCALE * CUBIC), SCALE)
        bell = b.mul(b.sub(1, b.square(bend)), b.mul(x, inner))
        return (b.mul(gradients[0], b.mul(b.add(b.add(bend, 1), bell), 0.5)),)

    def formula(self, x: Array) -> Array:
        if self.approximate == "none":
            return np.asarray(x * 0.5 * (1 + reference_erf(x / math.sqrt(2))))
        return np.asarray(x * 0.5 * (1 + np.tanh(SCALE * (x + CUBIC * x**3))))

    def numpy(self, c: NumpyLowering) -> None:
        (x,), (out,), dtype = c.inputs, c.outputs, c.output_types[0].dtype
        if self.approximate == "none":
            scaled = c.scratch(c.output_types[0])
            c.line(f"np.multiply({x}, {c.scalar(1 / math.sqrt(2), dtype)}, out={scaled})")
            lower_erf(c, scaled, out)
        else:
            c.line(f"np.square({x}, out={out})")
            c.line(f"np.multiply({out}, {c.scalar(SCALE * CUBIC, dtype)}, out={out})")
            c.line(f"np.add({out}, {c.scalar(SCALE, dtype)}, out={out})")
            c.line(f"np.multiply({out}, {x}, out={out})")
            c.line(f"np.tanh({out}, out={out})")
        c.line(f"np.add({out}, {c.scalar(1, dtype)}, out={out})")
        c.line(f"np.multiply({out}, {x}, out={out})")
        c.line(f"np.multiply({out}, {c.scalar(0.5, dtype)}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        dtype = c.output_types[0].dtype
        if dtype is not DType.F64 and c.opset >= 20:
            c.node("Gelu", c.inputs, c.outputs, approximate=self.approximate)
            return
        # ONNX Runtime's CPU provider has no Gelu for f64, and opset 19 has none at all.
        (x,) = c.inputs
        if self.approximate == "none":
            refuse_f64_erf(c)
            # In these words ONNX Runtime finds it, and runs it as one kernel.
            bend = c.node("Erf", (c.node("Div", (x, c.scalar(math.sqrt(2), dtype))),))
            whole = c.node("Mul", (x, c.node("Add", (bend, c.scalar(1, dtype)))))
            c.node("Mul", (whole, c.scalar(0.5, dtype)), c.outputs)
            return
        cubic = c.node("Mul", (c.node("Mul", (x, x)), c.scalar(SCALE * CUBIC, dtype)))
        bend = c.node("Tanh", (c.node("Mul", (x, c.node("Add", (cubic, c.scalar(SCALE, dtype))))),))
        half = c.node("Mul", (x, c.scalar(0.5, dtype)))
        c.node("Mul", (half, c.node("Add", (bend, c.scalar(1, dtype)))), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        bent = cls("tanh")
        type = TensorType(DType.F32, (N, 3))
        extreme = f32([-1000, -9, 0, 9, 1000])
        return (
            *super().samples(),
            Sample(bent, (type,), -4, 4, {"N": 4}),
            Sample(bent, (TensorType(DType.F32, (5,)),), values=(extreme,)),
        )
