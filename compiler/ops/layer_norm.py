"""Normalisation over the last axes of each sample: layer norm and RMS norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.ir.dims import Dim, product, symbol
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.base import OnnxLowering, Sample, f32, operation
from compiler.ops.checks import normal_axis
from compiler.ops.row_norm import RowNorm

N, T = symbol("N"), symbol("T")
SIZES = {"N": 3, "T": 4}


@dataclass(frozen=True)
class TrailingNorm(RowNorm):
    """A norm over ``axis`` and all axes behind it; scale and bias have the shape of these."""

    axis: int = -1
    epsilon: float = 1e-5

    def rows(self, x: TensorType) -> tuple[Dim, Dim]:
        axis = normal_axis(self.verb, x, self.axis)
        if 0 in x.shape[axis:]:
            raise TypeMismatch("E0301", f"cannot {self.verb} {x}: a row of it is empty")
        return product(x.shape[:axis]), product(x.shape[axis:])

    def parameters(self, x: TensorType) -> tuple[Dim, ...]:
        return x.shape[self.axis % x.rank :]

    def grid(self, x: TensorType) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
        count, length = self.rows(x)
        return (count, length), (length,)


@operation
@dataclass(frozen=True)
class LayerNorm(TrailingNorm):
    """Mean 0 and variance 1 over the last axes. J. L. Ba et al., "Layer normalization" (2016),
    https://arxiv.org/abs/1607.06450."""

    opcode = "layer_norm"
    verb = "take the layer norm of"

    def onnx_whole(self, c: OnnxLowering) -> None:
        x, *parameters = c.inputs
        if not parameters:
            # ONNX's own has to have a scale.
            shape, one = self.parameters(c.input_types[0]), c.scalar(1, c.input_types[0].dtype)
            parameters = [c.node("Expand", (one, c.shape(shape)))]
        c.node("LayerNormalization", (x, *parameters), c.outputs, axis=self.axis, epsilon=self.epsilon)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        matrix, cube = TensorType(DType.F32, (N, 5)), TensorType(DType.F32, (N, T, 6))
        row, plane = TensorType(DType.F32, (6,)), TensorType(DType.F32, (4, 6))
        far = f32([[100, 101, 103, 99], [-1000, -1001, -1000, -1003], [5, 5, 5, 5.01]])
        return (
            Sample(cls(), (matrix,), sizes=SIZES),
            Sample(cls(epsilon=0.125), (cube, row), sizes=SIZES),
            Sample(cls(), (cube, row, row), sizes=SIZES),
            Sample(cls(-2), (TensorType(DType.F32, (N, 4, 6)), plane, plane), sizes=SIZES),
            Sample(cls(1), (cube,), sizes=SIZES),
            Sample(cls(0), (row, row, row)),
            Sample(cls(), (TensorType(DType.F32, (3, 4)),), values=(far,)),
        )


@operation
@dataclass(frozen=True)
class RmsNorm(TrailingNorm):
    """Root mean square 1 over the last axes. B. Zhang and R. Sennrich, "Root mean square layer normalization" (2019),
    https://arxiv.org/abs/1910.07467."""

    opcode = "rms_norm"
    centred = False
    verb = "take the RMS norm of"

    def onnx_whole(self, c: OnnxLowering) -> None:
        (x, *scale), dtype = c.inputs, c.input_types[0].dtype
        rank = c.input_types[0].rank
        if c.opset >= 23 and scale:
            c.node("RMSNormalization", c.inputs, c.outputs, axis=self.axis, epsilon=self.epsilon)
            return
        # In these words ONNX Runtime finds it, and runs it as one kernel.
        axes = np.arange(self.axis % rank, rank)
        squares = c.node("Pow", (x, c.scalar(2, dtype)))
        mean = c.node("ReduceMean", (squares, c.constant(axes)), keepdims=1)
        root = c.node("Sqrt", (c.node("Add", (mean, c.scalar(self.epsilon, dtype))),))
        standard = c.node("Div", (x, root), None if scale else c.outputs)
        if scale:
            c.node("Mul", (standard, *scale), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        matrix, cube = TensorType(DType.F32, (N, 5)), TensorType(DType.F32, (N, T, 6))
        row, plane = TensorType(DType.F32, (6,)), TensorType(DType.F32, (4, 6))
        return (
            Sample(cls(), (matrix,), sizes=SIZES),
            Sample(cls(epsilon=0.125), (cube, row), sizes=SIZES),
            Sample(cls(-2), (TensorType(DType.F32, (N, 4, 6)), plane), sizes=SIZES),
            Sample(cls(1), (cube,), sizes=SIZES),
        )
