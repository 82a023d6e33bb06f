"""Operations that stand for several others: what they mean is their expansion."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache

from compiler.ir.dims import Dim
from compiler.ir.graph import Graph, Value
from compiler.ir.types import DType, TensorType
from compiler.ops.base import Array, NumpyLowering, OnnxLowering, Op, Sizes, without
from compiler.ops.emit import Emit
from compiler.ops.expansion import expansion_of, expansion_parts, lower_expansion
from compiler.ops.interpret import interpret
from compiler.ops.parts import Cut, Joined


class FusedOp(Op):
    """An operation that stands for several, put in their place by a pass, or made as such by a gradient: a subclass
    says which, and how they are lowered as one."""

    gradient = without("a fused operation is made after the gradients: ask for those of the graph before fusion")

    @abstractmethod
    def expand(self, b: Emit, *inputs: Value) -> tuple[Value, ...]:
        """The operations that this one stands for, made with ``b``; gives the results."""

    def expansion(self, types: tuple[TensorType, ...]) -> Graph:
        """The graph of the expansion for operands of these types. Raises TypeMismatch where they do not fit."""
        return _expansion(self, types)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return tuple(output.value.type for output in self.expansion(inputs).outputs)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return expansion_parts(self.expansion(cut.operands), cut)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        # The sizes are known here, so that the types of the operands are their arrays' own.
        types = tuple(TensorType(_dtype(operand), operand.shape) for operand in operands)
        graph = self.expansion(types)
        arrays = {item.name: operand for item, operand in zip(graph.inputs, operands, strict=True)}
        values = interpret(graph, arrays, sizes)
        return tuple(values[output.value] for output in graph.outputs)

    def onnx(self, c: OnnxLowering) -> None:
        """The nodes of the expansion; a subclass for which ONNX has one node overrides this."""
        lower_expansion(c, self.expansion(c.input_types))


@lru_cache(maxsize=4096)
def _expansion(operation: FusedOp, types: tuple[TensorType, ...]) -> Graph:
    return expansion_of(operation.opcode, types, operation.expand)


def _dtype(array: Array) -> DType:
    dtype = DType.of(array.dtype)
    assert dtype is not None, "operands come from graphs"
    return dtype


class StepLowering:
    """One of the operations that a fused one stands for, as it sees the fused one's lowering: a ``NumpyLowering``."""

    def __init__(
        self, c: NumpyLowering, operands: Sequence[tuple[str, TensorType]], result: tuple[str, TensorType]
    ) -> None:
        self._c = c
        self.inputs = tuple(name for name, _ in operands)
        self.input_types = tuple(type for _, type in operands)
        self.outputs, self.output_types = (result[0],), (result[1],)

    def line(self, statement: str) -> None:
        self._c.line(statement)

    def parts(self, work: Dim) -> int:
        return 1

    def together(self, calls: Sequence[str], work: Dim) -> None:
        for call in calls:
            self.line(call)

    def contiguous(self, index: int) -> bool:
        return False

    def channels_last(self, index: int) -> bool:
        return False

    @property
    def gives_channels_last(self) -> bool:
        return self._c.gives_channels_last

    def shares(self, index: int) -> bool:
        return self.inputs[index] == self.outputs[0]

    def dim(self, dim: Dim) -> str:
        return self._c.dim(dim)

    def shape(self, dims: Sequence[Dim]) -> str:
        return self._c.shape(dims)

    def scalar(self, value: float, dtype: DType) -> str:
        return self._c.scalar(value, dtype)

    def constant(self, array: Array) -> str:
        return self._c.constant(array)

    def bound(self, expression: str, type: TensorType) -> str:
        return self._c.bound(expression, type)

    def prepared(self, wanted: str, expression: str) -> str:
        return self._c.prepared(wanted, expression)

    def view(self, array: str, how: str) -> str:
        return self._c.view(array, how)

    @property
    def place(self) -> str:
        return self._c.place

    def require(self, condition: str, sentence: str) -> None:
        self._c.require(condition, sentence)

    def local(self, wanted: str) -> str:
        return self._c.local(wanted)

    def helper(self, name: str, source: str) -> str:
        return self._c.helper(name, source)

    def function(self, wanted: str, text: str) -> str:
        return self._c.function(wanted, text)

    def scratch(self, type: TensorType, channels_last: bool = False) -> str:
        return self._c.scratch(type, channels_last)

    def side_by_side(self, operands: Sequence[int]) -> str:
        return self._c.side_by_side(operands)
