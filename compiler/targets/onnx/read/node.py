"""One node of a file as the functions that read it see it, and the registry of these functions.

Reading an operator is one function, ``@reads("Conv")``: it takes a :class:`Node` and gives its results, as values of
the graph or as arrays where they are known. What it can't bring into the graph exactly it refuses with Unsupported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import onnx

from compiler.foreign import Host
from compiler.ir.dims import Dim
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType
from compiler.ops.base import Array
from compiler.ops.emit import Emit
from compiler.targets.onnx.read.tensors import Known, NotKnown, Tensor, Unsupported, dtype_of

Result: TypeAlias = Value | Array
Results: TypeAlias = Result | Sequence[Result | None]


class Writer(Protocol):
    """Makes values of tensors, in the graph of ``host``, which None says is none that trains."""

    @property
    def host(self) -> Host | None: ...

    def value(self, tensor: Tensor) -> Value: ...

    def around(self, name: str) -> Tensor:
        """A tensor that a graph inside the node reads by name."""

    def statistic(self, tensor: Tensor) -> tuple[str, Value]:
        """The name and the value of a weight that is a statistic; the name is "" where it is no weight."""


class Node:
    """``b`` is where values are made, ``opset`` the version of the operators. Operands count from 0."""

    def __init__(
        self,
        proto: onnx.NodeProto,
        opset: int,
        b: Emit,
        operands: Sequence[Tensor | None],
        writer: Writer,
    ) -> None:
        self.b, self.opset, self.kind, self.host = b, opset, proto.op_type, writer.host
        self._operands, self._writer = operands, writer
        self._names = list(proto.input)
        self._outputs = list(proto.output)
        self._attributes = {item.name: item for item in proto.attribute}

    # Operands.

    @property
    def count(self) -> int:
        """How many operands there are, those left out at the end not among them."""
        return len(self._operands)

    def has(self, index: int) -> bool:
        return index < len(self._operands) and self._operands[index] is not None

    def type(self, index: int) -> TensorType:
        return self._operand(index).type

    def value(self, index: int) -> Value:
        return self._writer.value(self._operand(index))

    def statistic(self, index: int) -> tuple[str, Value]:
        """An operand that follows the data where the network trains; its name is "" where it is no weight."""
        return self._writer.statistic(self._operand(index))

    def around(self, name: str) -> Value:
        """What a graph inside this node reads by name."""
        return self._writer.value(self._writer.around(name))

    def optional(self, index: int) -> Value | None:
        return self.value(index) if self.has(index) else None

    def values(self, start: int = 0) -> list[Value]:
        return [self.value(index) for index in range(start, self.count)]

    def is_known(self, index: int) -> bool:
        return isinstance(self._operand(index), Known)

    def is_weight(self, index: int) -> bool:
        operand = self._operand(index)
        return isinstance(operand, Known) and operand.weight

    def content(self, index: int, what: str) -> Array:
        """The content of an operand, which may have sizes in it that depend on symbols."""
        operand = self._operand(index)
        if not isinstance(operand, Known):
            raise NotKnown(self._names[index], what)
        return operand.array

    def known(self, index: int, what: str) -> Array:
        """The content of an operand that has to be of numbers."""
        array = self.content(index, what)
        if array.dtype == object:
            raise Unsupported(f"its {what} depends on the size of an input")
        return array

    def dims(self, index: int, what: str) -> list[Dim]:
        return [dim if not isinstance(dim, np.generic) else int(dim) for dim in self.content(index, what).reshape(-1)]

    def integers(self, index: int, what: str) -> list[int]:
        return [int(number) for number in self.known(index, what).reshape(-1)]

    def number(self, index: int, what: str) -> float:
        return float(self.known(index, what).reshape(-1)[0])

    def _operand(self, index: int) -> Tensor:
        operand = self._operands[index] if index < len(self._operands) else None
        if operand is None:
            raise Unsupported(f"operand {index + 1} is left out")
        return operand

    # Attributes.

    def attribute(self, name: str, default: Any = None) -> Any:
        """The attribute; texts are str."""
        if name not in self._attributes:
            return default
        found = onnx.helper.get_attribute_value(self._attributes[name])
        return found.decode() if isinstance(found, bytes) else list(found) if _is_list(found) else found

    def dtype(self, name: str, default: DType) -> DType:
        number = self.attribute(name)
        return default if number is None else dtype_of(number)

    def axes(self, index: int, since: int) -> list[int] | None:
        """Axes that are an operand from opset ``since`` on and an attribute before; None where not given."""
        if self.opset < since:
            found = self.attribute("axes")
            return None if found is None else [int(axis) for axis in found]
        return self.integers(index, "axes") if self.has(index) else None

    # Results.

    def reads(self, index: int) -> bool:
        """Whether result ``index`` has a name, so that it may be read."""
        return index < len(self._outputs) and bool(self._outputs[index])

    @property
    def results(self) -> int:
        return len(self._outputs)

    def refuse_results(self, first: int, why: str) -> None:
        """Raise Unsupported where a result from ``first`` on is asked for."""
        if any(self._outputs[first:]):
            raise Unsupported(why)


Reader: TypeAlias = Callable[[Node], Results]
_Function = TypeVar("_Function", bound=Reader)
_READERS: dict[str, Reader] = {}


def reads(*kinds: str) -> Callable[[_Function], _Function]:
    """Register the function that reads these operators."""

    def register(function: _Function) -> _Function:
        for kind in kinds:
            if kind in _READERS:
                raise TypeError(f"two functions read {kind}")
            _READERS[kind] = function
        return function

    return register


def readers() -> Mapping[str, Reader]:
    """The function for each operator, by its name."""
    return _READERS


def normal(axis: int, rank: int) -> int:
    """The axis counted from 0. Raises Unsupported for one that does not exist."""
    if not -rank <= axis < max(rank, 1):
        raise Unsupported(f"its axis {axis} is none of a tensor of rank {rank}")
    return axis % rank if rank else 0


def _is_list(found: Any) -> bool:
    return hasattr(found, "__iter__") and not isinstance(found, str) and not hasattr(found, "DESCRIPTOR")
