"""Running sums."""

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
from compiler.ops.checks import need_numbers, normal_axis
from compiler.ops.parts import Cut, Joined

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

N = symbol("N")


@operation
@dataclass(frozen=True)
class CumSum(Op):
    """The sum of the elements up to and including each along ``axis``, or from each on where it is ``reverse``."""

    axis: int = -1
    reverse: bool = False

    opcode = "cumsum"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        need_numbers("sum up", *inputs)
        normal_axis("sum up", inputs[0], self.axis)
        return inputs

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.add(CumSum(self.axis, not self.reverse), gradients[0]),)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return None if cut.common in (None, self.axis % cut.operands[0].rank) else (cut.common,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        (x,) = operands
        turned = np.flip(x, self.axis) if self.reverse else x
        wide = np.float64 if x.dtype.kind == "f" else x.dtype
        sums = np.cumsum(turned, axis=self.axis, dtype=wide).astype(x.dtype)
        return (np.ascontiguousarray(np.flip(sums, self.axis)) if self.reverse else sums,)

    def numpy(self, c: NumpyLowering) -> None:
        type, turn = c.input_types[0], ""
        if self.reverse:
            turn = f"[{', '.join([':'] * (self.axis % type.rank) + ['::-1'])}]"
        c.line(f"np.add.accumulate({c.inputs[0]}{turn}, axis={self.axis}, out={c.outputs[0]}{turn})")

    def onnx(self, c: OnnxLowering) -> None:
        dtype = c.output_types[0].dtype
        # ONNX Runtime's CPU provider has kernels for these only; what i64 keeps of the others is enough to wrap around.
        wide = dtype if dtype in (DType.F32, DType.F64, DType.I32, DType.I64) else DType.I64
        if dtype.is_float and wide is DType.I64:
            wide = DType.F32
        x = c.inputs[0] if wide is dtype else c.node("Cast", c.inputs, to=wide)
        axis = c.scalar(self.axis, DType.I64)
        result = c.node("CumSum", (x, axis), c.outputs if wide is dtype else None, reverse=int(self.reverse))
        if wide is not dtype:
            c.node("Cast", (result,), c.outputs, to=dtype)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        matrix, cube = TensorType(DType.F32, (N, 4)), TensorType(DType.F32, (2, N, 3))
        return (
            Sample(cls(), (matrix,), sizes={"N": 5}),
            Sample(cls(0), (matrix,), sizes={"N": 5}),
            Sample(cls(1, True), (cube,), sizes={"N": 5}),
            Sample(cls(-1, True), (TensorType(DType.U8, (6,)),), 0, 200),
            Sample(cls(), (TensorType(DType.I64, (N,)),), -9, 9, {"N": 5}),
        )
