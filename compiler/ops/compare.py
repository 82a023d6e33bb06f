"""Comparisons, logic and the choice between two tensors, elementwise."""

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
    operation,
)
from compiler.ops.broadcast import broadcast_types
from compiler.ops.checks import need_bools, need_numbers, need_one_dtype

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

BOOL, F32, I64 = DType.BOOL, DType.F32, DType.I64
N = symbol("N")
SIZES = {"N": 4}


class Comparison(Op):
    """Two operands of one element type to truth values."""

    elementwise = True
    orders: ClassVar[bool] = True  # whether it asks for an order, which truth values do not have
    ufunc: ClassVar[str]
    onnx_kind: ClassVar[str]

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        need_one_dtype("compare", *inputs)
        if self.orders:
            need_numbers("compare the order of", *inputs)
        return (TensorType(BOOL, broadcast_types("compare", *inputs)),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return None, None

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.asarray(getattr(np, self.ufunc)(*operands)),)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"np.{self.ufunc}({c.inputs[0]}, {c.inputs[1]}, out={c.outputs[0]})")

    def onnx(self, c: OnnxLowering) -> None:
        c.node(self.onnx_kind, c.inputs, c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        numbers, row = TensorType(F32, (N, 3)), TensorType(I64, (3,))
        truth = TensorType(BOOL, (5,))
        return (
            Sample(cls(), (numbers, TensorType(F32, (3,))), sizes=SIZES),
            Sample(cls(), (TensorType(I64, (N, 1)), row), 0, 2, SIZES),
            Sample(cls(), (TensorType(DType.U8, (9,)), TensorType(DType.U8)), 0, 3),
            *(() if cls.orders else (Sample(cls(), (truth, truth)),)),
        )


@operation
@dataclass(frozen=True)
class Equal(Comparison):
    """``a == b``."""

    opcode = "equal"
    commutative = True
    orders = False
    ufunc, onnx_kind = "equal", "Equal"


@operation
@dataclass(frozen=True)
class NotEqual(Comparison):
    """``a != b``."""

    opcode = "not_equal"
    commutative = True
    orders = False
    ufunc = "not_equal"

    def onnx(self, c: OnnxLowering) -> None:
        c.node("Not", (c.node("Equal", c.inputs),), c.outputs)


@operation
@dataclass(frozen=True)
class Less(Comparison):
    """``a < b``."""

    opcode = "less"
    ufunc, onnx_kind = "less", "Less"


@operation
@dataclass(frozen=True)
class LessEqual(Comparison):
    """``a <= b``."""

    opcode = "less_equal"
    ufunc, onnx_kind = "less_equal", "LessOrEqual"


@operation
@dataclass(frozen=True)
class Greater(Comparison):
    """``a > b``."""

    opcode = "greater"
    ufunc, onnx_kind = "greater", "Greater"


@operation
@dataclass(frozen=True)
class GreaterEqual(Comparison):
    """``a >= b``."""

    opcode = "greater_equal"
    ufunc, onnx_kind = "greater_equal", "GreaterOrEqual"


class Logic(Op):
    """Truth values to truth values."""

    elementwise = True
    operands: ClassVar[int] = 2
    verb: ClassVar[str]
    ufunc: ClassVar[str]
    onnx_kind: ClassVar[str]

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        need_bools(self.verb, *inputs)
        return (TensorType(BOOL, broadcast_types(self.verb, *inputs)),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (None,) * len(inputs)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.asarray(getattr(np, self.ufunc)(*operands)),)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"np.{self.ufunc}({', '.join(c.inputs)}, out={c.outputs[0]})")

    def onnx(self, c: OnnxLowering) -> None:
        c.node(self.onnx_kind, c.inputs, c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        full, row = TensorType(BOOL, (N, 3)), TensorType(BOOL, (3,))
        return Sample(cls(), (full, row)[: cls.operands], sizes=SIZES), Sample(
            cls(), (row, full)[: cls.operands], sizes=SIZES
        )


@operation
@dataclass(frozen=True)
class LogicalAnd(Logic):
    """Whether both hold."""

    opcode = "logical_and"
    commutative = True
    inplace = (0, 1)
    verb, ufunc, onnx_kind = "take 'and' of", "logical_and", "And"


@operation
@dataclass(frozen=True)
class LogicalOr(Logic):
    """Whether one or both hold."""

    opcode = "logical_or"
    commutative = True
    inplace = (0, 1)
    verb, ufunc, onnx_kind = "take 'or' of", "logical_or", "Or"


@operation
@dataclass(frozen=True)
class LogicalNot(Logic):
    """Whether it does not hold."""

    opcode = "logical_not"
    inplace = (0,)
    operands = 1
    verb, ufunc, onnx_kind = "take 'not' of", "logical_not", "Not"
