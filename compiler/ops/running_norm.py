"""Normalisation of each channel by statistics that were collected before: batch norm when it is not trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.types import DType, TensorType
from compiler.ops.arrays import channel_axes, row_major
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
from compiler.ops.batch_norm import SIZES, N, W, channels_of, column, grid, normalised
from compiler.ops.expansion import expansion_of, lower_expansion
from compiler.ops.parts import Cut, Joined

if TYPE_CHECKING:
    from compiler.ir.graph import Value
    from compiler.ops.emit import Emit


@operation
@dataclass(frozen=True)
class RunningNorm(Op):
    """Operands x ``[N, C, …]``, mean and variance [C], and, both or neither, scale and bias [C].

    ``(x - mean) / sqrt(variance + epsilon) * scale + bias``.
    """

    epsilon: float = 1e-5

    opcode = "running_norm"
    inplace = (0,)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        channels_of(inputs[0], inputs[1:])
        return inputs[:1]

    def factors(self, b: Emit, mean: Value, variance: Value, *parameters: Value) -> tuple[Value, Value]:
        """What each channel is multiplied by, and then what is added to it."""
        factor = b.reciprocal(b.sqrt(b.add(variance, self.epsilon)))
        if not parameters:
            return factor, b.neg(b.mul(mean, factor))
        scale, bias = parameters
        factor = b.mul(scale, factor)
        return factor, b.sub(bias, b.mul(mean, factor))

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        x, mean, variance, *scale = inputs[:4]
        received, axes = gradients[0], channel_axes(x.type.rank)
        root = b.sqrt(b.add(variance, self.epsilon))
        factor = b.div(scale[0], root) if scale else b.reciprocal(root)
        total = b.sum(received, axes)
        standard = b.div(b.sub(x, column(b, mean, x.type)), column(b, root, x.type))
        weighted = b.sum(b.mul(received, standard), axes)
        to_mean = b.neg(b.mul(total, factor))
        to_variance = b.mul(b.mul(weighted, factor), b.div(-0.5, root))
        to_x = b.mul(received, column(b, factor, x.type))
        return to_x, to_mean, to_variance, *((weighted, total) if scale else ())

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return None if cut.axes[0] in (None, 1) else cut.samples(cut.axes[0])

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, mean, variance, *parameters = (operand.astype(np.float64) for operand in operands)
        return (normalised(x, mean, variance, self.epsilon, *parameters).astype(operands[0].dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        type, vector = c.input_types[0], c.input_types[1]
        mean, variance, *parameters = (row_major(c, index) for index in range(1, len(c.inputs)))
        factor, shift = c.scratch(vector), c.scratch(vector)
        c.line(f"np.add({variance}, {c.scalar(self.epsilon, type.dtype)}, out={factor})")
        c.line(f"np.sqrt({factor}, out={factor})")
        if parameters:
            c.line(f"np.divide({parameters[0]}, {factor}, out={factor})")
        else:
            c.line(f"np.reciprocal({factor}, out={factor})")
        c.line(f"np.multiply({mean}, {factor}, out={shift})")
        c.line(f"np.subtract({parameters[1] if parameters else c.scalar(0, type.dtype)}, {shift}, out={shift})")
        cube, columns = f"reshape({c.shape(grid(type))})", "reshape(-1, 1)"
        out = c.view(c.outputs[0], cube)
        c.line(f"np.multiply({c.view(row_major(c, 0), cube)}, {c.view(factor, columns)}, out={out})")
        c.line(f"np.add({out}, {c.view(shift, columns)}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        x, mean, variance, *parameters = c.inputs
        dtype = c.input_types[0].dtype
        if dtype is DType.F64:
            # ONNX's own has an epsilon of f32.
            lower_expansion(c, expansion_of(self.opcode, c.input_types, self.expand))
            return
        if not parameters:
            channels = c.shape(c.input_types[1].shape)
            parameters = [c.node("Expand", (c.scalar(value, dtype), channels)) for value in (1, 0)]
        c.node("BatchNormalization", (x, *parameters, mean, variance), c.outputs, epsilon=self.epsilon)

    def expand(self, b: Emit, x: Value, *others: Value) -> tuple[Value, ...]:
        """The operations that this one stands for, made with ``b``."""
        factor, shift = (column(b, value, x.type) for value in self.factors(b, *others))
        return (b.add(b.mul(x, factor), shift),)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        images, rows = TensorType(DType.F32, (N, 2, 3, W)), TensorType(DType.F32, (N, 5))
        two, five = TensorType(DType.F32, (2,)), TensorType(DType.F32, (5,))
        return (
            Sample(cls(), (images, two, two, two, two), 0.25, 2, SIZES),
            Sample(cls(0.125), (images, two, two), 0.25, 2, SIZES),
            Sample(cls(), (rows, five, five, five, five), 0.25, 2, SIZES),
            Sample(cls(), (rows, five, five), 0.25, 2, SIZES),
        )
