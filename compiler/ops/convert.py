"""Changing the element type, and cutting the way of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    Storage,
    Values,
    f32,
    operation,
)
from compiler.ops.parts import Cut, Joined

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

N = symbol("N")


@operation
@dataclass(frozen=True)
class Cast(Op):
    """The elements in another type, as NumPy's ``astype`` has it.

    Floats to integers are cut towards zero, and what does not fit is not defined; numbers to truth values tell
    whether they differ from 0; integers to shorter ones keep their low bits.
    """

    dtype: DType

    opcode = "cast"
    elementwise = True

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return (inputs[0].with_dtype(self.dtype),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        before = inputs[0].type.dtype
        return (b.cast(gradients[0], before) if before.is_float else None,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (operands[0].astype(self.dtype.numpy),)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"np.copyto({c.outputs[0]}, {c.inputs[0]}, casting='unsafe')")

    def onnx(self, c: OnnxLowering) -> None:
        c.node("Cast", c.inputs, c.outputs, to=self.dtype)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        floats, integers = TensorType(DType.F32, (N, 3)), TensorType(DType.I64, (N, 2))
        sizes = {"N": 4}
        fractions = f32([[-1.75, -0.25, 0], [0.5, 1.99, 100.5]])
        return (
            Sample(cls(DType.F64), (floats,), sizes=sizes),
            Sample(cls(DType.F32), (floats,), sizes=sizes),
            Sample(cls(DType.F16), (floats,), sizes=sizes),
            Sample(cls(DType.BF16), (floats,), sizes=sizes),
            Sample(cls(DType.I64), (floats,), sizes={"N": 2}, values=(fractions,)),
            Sample(cls(DType.BOOL), (floats,), sizes={"N": 2}, values=(fractions,)),
            Sample(cls(DType.F32), (integers,), -9, 9, sizes),
            Sample(cls(DType.U8), (integers,), 0, 900, sizes),
            Sample(cls(DType.U32), (integers,), -9, 9, sizes),
            Sample(cls(DType.F32), (TensorType(DType.U8, (N, 2)),), 0, 255, sizes),
            Sample(cls(DType.F32), (TensorType(DType.BOOL),), sizes=sizes),
        )


@operation
@dataclass(frozen=True)
class StopGradient(Op):
    """The operand itself, through which no gradient passes."""

    opcode = "stop_gradient"
    storage = Storage.VIEW
    keeps_contiguous = True

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return inputs

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (None,)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return None if cut.common is None else (cut.common,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return operands

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"{c.outputs[0]} = {c.inputs[0]}")

    def onnx(self, c: OnnxLowering) -> None:
        c.alias(c.inputs[0])

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return (Sample(cls(), (TensorType(DType.F32, (N, 3)),), sizes={"N": 2}),)
