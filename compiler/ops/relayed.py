"""Lowerings to ONNX inside another one: of a part of an operation, or of what a node has graphs for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from compiler.ir.dims import Dim
from compiler.ir.types import DType, TensorType
from compiler.ops.base import Array, OnnxLowering


class RelayedLowering:
    """An ``OnnxLowering`` with operands and results of its own, whose nodes go where those of ``c`` go. For each result
    ``read`` says whether anything reads it."""

    def __init__(
        self,
        c: OnnxLowering,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        types: tuple[Sequence[TensorType], Sequence[TensorType]],
        read: Sequence[bool],
    ) -> None:
        self._c, self._read = c, read
        self.inputs, self.outputs = inputs, outputs
        self.input_types, self.output_types = tuple(types[0]), tuple(types[1])
        self.opset, self.device = c.opset, c.device

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str] | None = None, **attributes: Any) -> str:
        return self._c.node(kind, inputs, outputs, **attributes)

    def constant(self, array: Array, hint: str = "") -> str:
        return self._c.constant(array, hint)

    def scalar(self, value: float, dtype: DType) -> str:
        return self._c.scalar(value, dtype)

    def is_read(self, index: int) -> bool:
        return self._read[index]

    def shape(self, dims: Sequence[Dim]) -> str:
        return self._c.shape(dims)

    def alias(self, name: str) -> None:
        self._c.alias(name)

    def name(self, wanted: str) -> str:
        return self._c.name(wanted)

    def graph(
        self,
        name: str,
        inputs: Sequence[TensorType],
        results: Sequence[TensorType],
        write: Callable[[OnnxLowering], None],
        text: str = "",
    ) -> object:
        return self._c.graph(name, inputs, results, write, text)


# What both branches of an If say that can be taken whatever its condition is.
EITHER = "gives what the other branch gives"


def branch(c: OnnxLowering, name: str, write: Callable[[OnnxLowering], None]) -> object:
    """A graph for an attribute of an If of which both branches give the same: what ``write`` is given has the operands
    of the operation that ``c`` lowers, and the results that are read of it, which the graph gives in their order."""
    read = [c.is_read(index) for index in range(len(c.outputs))]

    def inside(inner: OnnxLowering) -> None:
        made = iter(inner.outputs)
        outputs = tuple(next(made) if there else "" for there in read)
        write(RelayedLowering(inner, c.inputs, outputs, (c.input_types, c.output_types), read))

    types = [type for type, there in zip(c.output_types, read, strict=True) if there]
    return c.graph(name, (), types, inside, EITHER)
