"""What an operation sees of a generated function while it writes its statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compiler.ir.dims import Dim, bounds
from compiler.ir.graph import Node, Value
from compiler.ir.types import DType, TensorType
from compiler.ops.base import Array
from compiler.targets.numpy.memory import Block
from compiler.targets.numpy.plan import byte_size, operation_of

if TYPE_CHECKING:
    from compiler.targets.numpy.function import FunctionWriter


class NodeLowering:
    """One node's view of the function that is being written: a ``NumpyLowering``.

    ``once`` says that its statements are executed when the function is bound, as those of views and constants are.
    """

    def __init__(self, writer: FunctionWriter, index: int, node: Node, once: bool) -> None:
        self._writer, self._index, self._node, self._once = writer, index, node, once
        self.inputs: tuple[str, ...] = tuple([writer.expressions[value] for value in node.inputs])
        self.input_types: tuple[TensorType, ...] = tuple([value.type for value in node.inputs])
        self.output_types: tuple[TensorType, ...] = tuple([value.type for value in node.outputs])

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple([self._writer.expressions[value] for value in self._node.outputs])

    def line(self, statement: str) -> None:
        if not self._once:
            self._writer.statement(statement, self._node.origin)
            return
        name, _, expression = statement.partition(" = ")
        if expression.isidentifier() and name in self.outputs:
            # Another name for an array says nothing: its own is used.
            self._writer.expressions[self._node.outputs[self.outputs.index(name)]] = expression
            self._writer.names.give_back(name)
            self._writer.fixed.discard(name)
        else:
            self._writer.once.append(statement)

    def parts(self, work: Dim) -> int:
        return self._writer.parts(work)

    def together(self, calls: Sequence[str], work: Dim) -> None:
        if len(calls) > 1:
            calls = [f"{self._writer.shared_call(calls, work)}()"]
        for call in calls:
            self.line(call)

    def contiguous(self, index: int) -> bool:
        return self._node.inputs[index] in self._writer.plan.contiguous

    def channels_last(self, index: int) -> bool:
        return self._lies_last(self._node.inputs[index])

    @property
    def gives_channels_last(self) -> bool:
        return self._lies_last(self._node.outputs[0])

    def _lies_last(self, value: Value) -> bool:
        one = value in self._writer.plan.contiguous and value.type.rank > 2 and value.type.shape[1] == 1
        return one or value in self._writer.plan.channels_last

    def shares(self, index: int) -> bool:
        operand = self._writer.plan.shared.get(self._node.outputs[0])
        return operand is not None and self._node.inputs[operand] is self._node.inputs[index]

    def dim(self, dim: Dim) -> str:
        return self._writer.dim(dim)

    def shape(self, dims: Sequence[Dim]) -> str:
        return self._writer.shape(dims)

    def scalar(self, value: float, dtype: DType) -> str:
        return self._writer.shared.scalar(value, dtype)

    def constant(self, array: Array) -> str:
        return self._writer.shared.constant(array)

    def bound(self, expression: str, type: TensorType) -> str:
        return self._writer.make_once(f"{self._node.operation.opcode}_table", expression, byte_size(type))

    def prepared(self, wanted: str, expression: str) -> str:
        return self._writer.prepare(wanted, expression)

    def view(self, array: str, how: str) -> str:
        expression = how.format(array) if "{}" in how else f"{array}.{how}"
        if array not in self._writer.fixed and array not in self._writer.shared.constants:
            return expression
        return self._writer.make_once(f"{array}_{how.partition('(')[0]}", expression)

    @property
    def place(self) -> str:
        assert operation_of(self._node).may_refuse(self.input_types), (
            f"{self._node.operation.opcode} has to say that it may refuse"
        )
        origin = self._node.origin
        written = origin.spans[0].text.partition("\n")[0] if origin.spans else ""
        return origin.scope if "." in origin.scope else written or origin.scope or self._node.operation.opcode

    def require(self, condition: str, sentence: str) -> None:
        self._writer.required[condition] = f"{self.place}: {sentence}"

    def require_sizes(self) -> None:
        """Have the program refuse the sizes that the operation does not take."""
        for size, least, sentence in operation_of(self._node).requirements(self.input_types):
            if bounds(size)[0] < least:
                self.require(f"{self.dim(size)} >= {least}", sentence)

    def local(self, wanted: str) -> str:
        return self._writer.names.new(wanted)

    def helper(self, name: str, source: str) -> str:
        return self._writer.shared.helper(name, source)

    def function(self, wanted: str, text: str) -> str:
        return self._writer.shared.function(wanted, text)

    def scratch(self, type: TensorType, channels_last: bool = False) -> str:
        block, operation = Block(byte_size(type), self._index, self._index), operation_of(self._node)
        result = self._node.outputs[0]
        # Elementwise operations work in arrays that lie as their result does.
        alike = operation.elementwise and type.shape == result.type.shape and result in self._writer.plan.channels_last
        return self._writer.declare(f"{operation.opcode}_work", type, block, channels_last or alike)

    def side_by_side(self, operands: Sequence[int]) -> str:
        plan, opcode = self._writer.plan, self._node.operation.opcode
        row = plan.rows[self._index, tuple(operands)]
        values = [self._node.inputs[operand] for operand in operands]
        sizes = [value.type.size for value in values]
        flat = self._writer.declare(f"{opcode}_row", values[0].type.with_shape((sum(sizes),)), row)
        start: Dim = 0
        for value, size in zip(values, sizes, strict=True):
            block = plan.blocks.get(plan.root[value])
            if block is None or plan.inside.get(block) != (row, start * value.type.dtype.bytes):
                piece = self.view(flat, f"{{}}[{start}:{start + size}].reshape({self.shape(value.type.shape)})")
                self.line(f"np.copyto({piece}, {self._writer.expressions[value]})")
            start += size
        return flat
