"""Activation functions with corners, and clipping: ops of one operand for which ONNX has operators, and PRelu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.types import DType, TensorType
from compiler.ops.activation import Activation
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
from compiler.ops.checks import need_floats, need_one_dtype
from compiler.ops.unary import N

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32 = DType.F32


@operation
@dataclass(frozen=True)
class Clip(Activation):
    """``min(max(x, low), high)``; the gradient is 0 outside and at the bounds."""

    low: float = 0.0
    high: float = 1.0

    opcode = "clip"
    verb = "clip"
    floats_only = False

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        # By the result, so that the operand need not be kept.
        inside = b.logical_and(b.greater(outputs[0], self.low), b.less(outputs[0], self.high))
        return (b.mask(gradients[0], inside),)

    def formula(self, x: Array) -> Array:
        return np.clip(x, self.low, self.high)

    def numpy(self, c: NumpyLowering) -> None:
        (x,), (out,), dtype = c.inputs, c.outputs, c.output_types[0].dtype
        c.line(f"np.clip({x}, {c.scalar(self.low, dtype)}, {c.scalar(self.high, dtype)}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        dtype = c.output_types[0].dtype
        c.node("Clip", (*c.inputs, c.scalar(self.low, dtype), c.scalar(self.high, dtype)), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        type = TensorType(F32, (N, 3))
        return (
            *super().samples(),
            Sample(cls(-0.5, 1.5), (type,), sizes={"N": 4}),
            Sample(cls(-3, 4), (type.with_dtype(DType.I64),), -9, 9, {"N": 4}),
        )


@operation
@dataclass(frozen=True)
class HardSigmoid(Activation):
    """``min(max(x/6 + 1/2, 0), 1)``; the gradient is 0 outside and at the corners."""

    opcode = "hard_sigmoid"
    verb = "take the hard sigmoid of"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        inside = b.logical_and(b.greater(outputs[0], 0), b.less(outputs[0], 1))
        return (b.mul(b.mask(gradients[0], inside), 1 / 6),)

    def formula(self, x: Array) -> Array:
        return np.clip(x / 6 + 0.5, 0, 1)

    def numpy(self, c: NumpyLowering) -> None:
        (x,), (out,), dtype = c.inputs, c.outputs, c.output_types[0].dtype
        c.line(f"np.multiply({x}, {c.scalar(1 / 6, dtype)}, out={out})")
        c.line(f"np.add({out}, {c.scalar(0.5, dtype)}, out={out})")
        c.line(f"np.clip({out}, {c.scalar(0, dtype)}, {c.scalar(1, dtype)}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        dtype = c.output_types[0].dtype
        if dtype is not DType.F64:
            c.node("HardSigmoid", c.inputs, c.outputs, alpha=1 / 6, beta=0.5)
            return
        # ONNX Runtime's CPU provider has no HardSigmoid for f64.
        line = c.node("Add", (c.node("Mul", (*c.inputs, c.scalar(1 / 6, dtype))), c.scalar(0.5, dtype)))
        c.node("Clip", (line, c.scalar(0, dtype), c.scalar(1, dtype)), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return (*super().samples(), Sample(cls(), (TensorType(F32, (N, 5)),), -5, 5, {"N": 4}))


# G. Klambauer et al., "Self-normalizing neural networks" (2017), https://arxiv.org/abs/1706.02515.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@operation
@dataclass(frozen=True)
class Selu(Activation):
    """``scale*x`` where x is positive, ``scale*alpha*(exp(x) - 1)`` elsewhere, with the constants that make mean 0 and
    variance 1 a fixed point."""

    opcode = "selu"
    verb = "take the selu of"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        steep = b.scalar(SELU_SCALE, gradients[0].type.dtype)
        below = b.add(outputs[0], SELU_SCALE * SELU_ALPHA)
        return (b.mul(gradients[0], b.select(b.greater(outputs[0], 0), steep, below)),)

    def formula(self, x: Array) -> Array:
        return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))

    def numpy(self, c: NumpyLowering) -> None:
        (x,), (out,), type = c.inputs, c.outputs, c.output_types[0]
        work, zero = c.scratch(type), c.scalar(0, type.dtype)
        c.line(f"np.minimum({x}, {zero}, out={work})")
        c.line(f"np.expm1({work}, out={work})")
        c.line(f"np.multiply({work}, {c.scalar(SELU_ALPHA, type.dtype)}, out={work})")
        c.line(f"np.maximum({x}, {zero}, out={out})")
        c.line(f"np.add({out}, {work}, out={out})")
        c.line(f"np.multiply({out}, {c.scalar(SELU_SCALE, type.dtype)}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        dtype = c.output_types[0].dtype
        if dtype is not DType.F64:
            c.node("Selu", c.inputs, c.outputs, alpha=SELU_ALPHA, gamma=SELU_SCALE)
            return
        # ONNX Runtime's CPU provider has no Selu for f64.
        zero = c.scalar(0, dtype)
        below = c.node("Sub", (c.node("Exp", (c.node("Min", (c.inputs[0], zero)),)), c.scalar(1, dtype)))
        bent = c.node("Mul", (below, c.scalar(SELU_SCALE * SELU_ALPHA, dtype)))
        straight = c.node("Mul", (c.node("Max", (c.inputs[0], zero)), c.scalar(SELU_SCALE, dtype)))
        c.node("Add", (straight, bent), c.outputs)


@operation
@dataclass(frozen=True)
class Softsign(Activation):
    """``x / (1 + abs(x))``."""

    opcode = "softsign"
    inplace = ()
    verb, onnx_kind = "take the softsign of", "Softsign"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.mul(gradients[0], b.square(b.sub(1, b.abs(outputs[0])))),)

    def formula(self, x: Array) -> Array:
        return np.asarray(x / (1 + np.abs(x)))

    def numpy(self, c: NumpyLowering) -> None:
        (x,), (out,), dtype = c.inputs, c.outputs, c.output_types[0].dtype
        c.line(f"np.absolute({x}, out={out})")
        c.line(f"np.add({out}, {c.scalar(1, dtype)}, out={out})")
        c.line(f"np.divide({x}, {out}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        dtype = c.output_types[0].dtype
        if dtype is not DType.F64:
            super().onnx(c)
            return
        # ONNX Runtime's CPU provider has no Softsign for f64.
        c.node("Div", (*c.inputs, c.node("Add", (c.node("Abs", c.inputs), c.scalar(1, dtype)))), c.outputs)


@operation
@dataclass(frozen=True)
class PRelu(Op):
    """x where it is positive, ``slope * x`` elsewhere: operands x and slope, which broadcasts to the shape of x.

    K. He et al., "Delving deep into rectifiers" (2015), https://arxiv.org/abs/1502.01852.
    """

    opcode = "prelu"
    elementwise = True

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        x, slope = inputs
        verb = "take the prelu of {} with slopes {}"
        need_floats(verb, x, slope)
        need_one_dtype(verb, x, slope)
        return (x.with_shape(broadcast_types(verb, x, slope)),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        x, slope = inputs
        slopes = b.select(b.greater(x, 0), b.scalar(1, x.type.dtype), slope)
        return b.mul(gradients[0], slopes), b.mul(gradients[0], b.minimum(x, 0))

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, slope = operands
        return (np.where(x > 0, x, slope * x),)

    def numpy(self, c: NumpyLowering) -> None:
        (x, slope), (out,), type = c.inputs, c.outputs, c.output_types[0]
        work, zero = c.scratch(type), c.scalar(0, type.dtype)
        c.line(f"np.minimum({x}, {zero}, out={work})")
        c.line(f"np.multiply({work}, {slope}, out={work})")
        c.line(f"np.maximum({x}, {zero}, out={out})")
        c.line(f"np.add({out}, {work}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        (x, slope), dtype = c.inputs, c.output_types[0].dtype
        if dtype is not DType.F64:
            c.node("PRelu", c.inputs, c.outputs)
            return
        # ONNX Runtime's CPU provider has no PRelu for f64.
        zero = c.scalar(0, dtype)
        below = c.node("Mul", (c.node("Min", (x, zero)), slope))
        c.node("Add", (c.node("Max", (x, zero)), below), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        images, sizes = TensorType(F32, (N, 3, 2)), {"N": 4}
        return (
            Sample(cls(), (images, TensorType(F32, (3, 1))), sizes=sizes),
            Sample(cls(), (images, TensorType(F32, (1,))), sizes=sizes),
            Sample(cls(), (TensorType(F32, (N, 3)), TensorType(F32)), sizes=sizes),
            Sample(cls(), (images, images), sizes=sizes),
        )
