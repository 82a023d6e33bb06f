"""Softmax and its logarithm."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from compiler.ir.dims import product, symbol
from compiler.ir.types import DType, TensorType
from compiler.ops.arrays import filled
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
from compiler.ops.checks import need_floats, normal_axis
from compiler.ops.parts import Cut, Joined
from compiler.ops.reduce import reduced_shape

if TYPE_CHECKING:
    from compiler.ops.emit import Emit


@dataclass(frozen=True)
class Normalisation(Op):
    """A softmax of floats along ``axis``, or its logarithm; without overflow, as the largest element is taken out."""

    axis: int = -1

    inplace = (0,)
    onnx_kind: ClassVar[str]

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        need_floats("take the softmax of", *inputs)
        normal_axis("take the softmax of", inputs[0], self.axis)
        return inputs

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return None if cut.common in (None, self.axis % cut.operands[0].rank) else (cut.common,)

    def numpy(self, c: NumpyLowering) -> None:
        (x,), (out,), type = c.inputs, c.outputs, c.output_types[0]
        totals = c.scratch(type.with_shape(reduced_shape(type.shape, (self.axis % type.rank,), True)))
        c.line(f"np.maximum.reduce({x}, axis={self.axis}, keepdims=True, out={totals})")
        c.line(f"np.subtract({x}, {totals}, out={out})")
        self._numpy_shifted(c, totals)

    @abstractmethod
    def _numpy_shifted(self, c: NumpyLowering, totals: str) -> None:
        """Go on where the result's buffer holds the operand without its largest elements; ``totals`` is free again."""

    def _numpy_totals(self, c: NumpyLowering, powers: str, totals: str) -> None:
        """Fill ``totals`` with the sums of ``powers``, an array like the result."""
        type = c.output_types[0]
        if self.axis % type.rank < type.rank - 1 or type.dtype not in (DType.F32, DType.F64):
            c.line(f"np.add.reduce({powers}, axis={self.axis}, keepdims=True, out={totals})")
            return
        rows = c.view(powers, f"reshape({c.shape((product(type.shape[:-1]), type.shape[-1]))})")
        ones = filled(c, type.shape[-1], "1", type.dtype)
        c.line(f"{rows}.dot({ones}, out={c.view(totals, 'reshape(-1)')})")

    def onnx(self, c: OnnxLowering) -> None:
        c.node(self.onnx_kind, c.inputs, c.outputs, axis=self.axis)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        matrix, cube = TensorType(DType.F32, (symbol("N"), 4)), TensorType(DType.F32, (2, symbol("N"), 3))
        extreme = f32([[1000, -1000, 999], [-1000, -1000, -1000]])
        return (
            Sample(cls(), (matrix,), sizes={"N": 5}),
            Sample(cls(0), (matrix,), sizes={"N": 5}),
            Sample(cls(1), (cube,), sizes={"N": 4}),
            Sample(cls(-1), (TensorType(DType.F32, (6,)),)),
            Sample(cls(-1), (TensorType(DType.F32, (2, 3)),), values=(extreme,)),
        )


@operation
@dataclass(frozen=True)
class Softmax(Normalisation):
    """``exp(x) / sum(exp(x))`` along the axis."""

    opcode = "softmax"
    onnx_kind = "Softmax"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        weighted = b.mul(gradients[0], outputs[0])
        total = b.sum(weighted, (self.axis,), keepdims=True)
        return (b.sub(weighted, b.mul(outputs[0], total)),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x = operands[0].astype(np.float64)
        powers = np.exp(x - x.max(axis=self.axis, keepdims=True))
        return ((powers / powers.sum(axis=self.axis, keepdims=True)).astype(operands[0].dtype),)

    def _numpy_shifted(self, c: NumpyLowering, totals: str) -> None:
        out = c.outputs[0]
        c.line(f"np.exp({out}, out={out})")
        self._numpy_totals(c, out, totals)
        c.line(f"np.divide({out}, {totals}, out={out})")


@operation
@dataclass(frozen=True)
class LogSoftmax(Normalisation):
    """``x - log(sum(exp(x)))`` along the axis."""

    opcode = "log_softmax"
    onnx_kind = "LogSoftmax"

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        total = b.sum(gradients[0], (self.axis,), keepdims=True)
        return (b.sub(gradients[0], b.mul(b.exp(outputs[0]), total)),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x = operands[0].astype(np.float64)
        shifted = x - x.max(axis=self.axis, keepdims=True)
        total = np.log(np.exp(shifted).sum(axis=self.axis, keepdims=True))
        return ((shifted - total).astype(operands[0].dtype),)

    def _numpy_shifted(self, c: NumpyLowering, totals: str) -> None:
        out, powers = c.outputs[0], c.scratch(c.output_types[0])
        c.line(f"np.exp({out}, out={powers})")
        self._numpy_totals(c, powers, totals)
        c.line(f"np.log({totals}, out={totals})")
        c.line(f"np.subtract({out}, {totals}, out={out})")
