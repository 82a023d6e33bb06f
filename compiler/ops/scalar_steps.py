"""Arithmetic on single numbers as one operation: Python does it sooner than NumPy on arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.ir.graph import Operation
from compiler.ir.types import DType, TensorType
from compiler.ops.base import Array, NumpyLowering, Op, Sample, operation, without
from compiler.ops.chain import Step
from compiler.ops.constant import Constant
from compiler.ops.convert import Cast
from compiler.ops.elementwise import Add, Divide, Maximum, Minimum, Multiply, Power, Subtract
from compiler.ops.steps import Steps
from compiler.ops.unary import Floor, Negative, Reciprocal, Sqrt, Square

_SYMBOLS: dict[type[Op], str] = {Add: "+", Subtract: "-", Multiply: "*", Divide: "/", Power: "**"}
_CALLS: dict[type[Op], str] = {Sqrt: "sqrt", Floor: "floor", Minimum: "minimum", Maximum: "maximum"}
_TYPES = (DType.F32, DType.F64, DType.I64)


def can_be_scalar_step(operation: Op, inputs: Sequence[TensorType]) -> bool:
    """Whether an operation on operands of these types is arithmetic on single numbers."""
    if any(type.shape or type.dtype not in _TYPES for type in inputs):
        return False
    if isinstance(operation, Cast):
        return operation.dtype in (DType.F32, DType.F64)
    return type(operation) in (*_SYMBOLS, *_CALLS, Negative, Reciprocal, Square)


def can_be_literal(operation: Operation) -> bool:
    """Whether an operation is a number that can stand in an expression."""
    if not isinstance(operation, Constant) or operation.array.shape:
        return False
    return DType.of(operation.array.dtype) in _TYPES and math.isfinite(operation.array.item())


@operation
@dataclass(frozen=True)
class ScalarSteps(Steps):
    """Operations on 0-d tensors and on numbers, which stand in them as constants."""

    opcode = "scalar_steps"
    onnx = without("arithmetic on single numbers is not grouped for ONNX")

    __hash__ = Steps.__hash__

    def overwritable(self, result: int) -> tuple[int, ...]:
        # Every operand is read before anything is written.
        return tuple(range(self.operands))

    def numpy(self, c: NumpyLowering) -> None:
        name = c.function("numbers", self._text())
        c.line(f"{name}({', '.join([*c.inputs, *c.outputs])})")

    def _text(self) -> str:
        """The function from its parameters on."""
        operands = [f"x{index + 1}" for index in range(self.operands)]
        results = [f"next_{index + 1}" for index in range(len(self.results))]
        names, lines = list(operands), [f"{name} = {name}[()]" for name in operands]
        read = {value for step in self.steps for value in step.operands}
        for step in self.steps:
            x = [names[value] for value in step.operands]
            if isinstance(step.operation, Constant):
                names.append(repr(step.operation.array.item()))
            elif isinstance(step.operation, Cast) and len(names) not in read:
                # Where the number goes it is converted anyway.
                names.append(*x)
            else:
                names.append(f"n{len(lines) - self.operands + 1}")
                lines.append(f"{names[-1]} = {_expression(step.operation, x)}")
        kept = (names[self.operands + number] for number in self.results)
        lines += [f"{result}[()] = {name}" for result, name in zip(results, kept, strict=True)]
        documentation = '"""Arithmetic on single numbers, each in an array: what is next is written into `next_…`."""'
        return "\n    ".join([f"({', '.join([*operands, *results])}):", documentation, *lines])

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        wide, narrow, whole = (TensorType(dtype) for dtype in (DType.F64, DType.F32, DType.I64))
        time = (
            Step(Constant(_f64(1)), ()),
            Step(Constant(_f64(0.9)), ()),
            Step(Cast(DType.F64), (0,)),
            Step(Add(), (4, 2)),
            Step(Power(), (3, 5)),
            Step(Subtract(), (2, 6)),
            Step(Sqrt(), (7,)),
            Step(Divide(), (1, 8)),
            Step(Cast(DType.F32), (9,)),
        )
        others = (
            Step(Square(), (0,)),
            Step(Negative(), (2,)),
            Step(Reciprocal(), (3,)),
            Step(Multiply(), (4, 1)),
            Step(Minimum(), (5, 0)),
            Step(Maximum(), (6, 1)),
            Step(Floor(), (7,)),
        )
        return (
            Sample(cls(2, time, (3, 7, 8)), (whole, wide), 1, 9),
            Sample(cls(2, others, (2, 6)), (narrow, narrow), 0.5, 2),
        )


def _f64(value: float) -> Array:
    return np.array(value, np.float64)


def _expression(operation: Op, operands: Sequence[str]) -> str:
    """The value of an operation on these expressions, names or numbers, as NumPy's scalars have it."""
    x = operands[0]
    match operation:
        case Cast():
            return f"np.{operation.dtype.numpy.name}({x})"
        case Negative():
            return f"-{x}"
        case Reciprocal():
            return f"1.0 / {x}"
        case Square():
            return f"{x} * {x}"
    if type(operation) in _CALLS:
        return f"np.{_CALLS[type(operation)]}({', '.join(operands)})"
    return f" {_SYMBOLS[type(operation)]} ".join(operands)
