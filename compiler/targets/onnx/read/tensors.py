"""Tensors of a file while it is read: a value of the graph, or content that is known, or both."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from compiler.ir.dims import Poly, Symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType
from compiler.ops.base import Array
from compiler.ops.emit import Emit
from compiler.targets.onnx.proto import ELEMENT_TYPE

DTYPES: dict[int, DType] = {int(number): dtype for dtype, number in ELEMENT_TYPE.items()}


class Unsupported(Exception):
    """What a file asks for and can't be brought into the graph; the message is the reason, a part of a sentence."""


class NotKnown(Unsupported):
    """A tensor has to be known while the file is read, such as a shape, and is not."""

    def __init__(self, tensor: str, what: str) -> None:
        super().__init__(f"its {what} ({tensor}) is worked out while the network runs")
        self.tensor = tensor


class Unbounded(Unsupported):
    """A size may be larger than what the file has for it, such as the table of positions of a transformer."""

    def __init__(self, size: Symbol, most: int) -> None:
        super().__init__(f"{size} may be more than the {most} that there are of what it is cut from")
        self.size, self.most = size, most


class Known:
    """A tensor whose content is known: numbers, or sizes that depend on symbols (``array`` holds objects then, i64).

    ``weight`` marks what a file stores as a parameter: it becomes an input of the graph, so that it can be trained,
    wherever its value rather than its content is asked for.
    """

    def __init__(self, name: str, array: Array, weight: bool = False) -> None:
        self.name, self.array, self.weight = name, array, weight
        self.value: Value | None = None

    @property
    def symbolic(self) -> bool:
        return self.array.dtype == object

    @property
    def dtype(self) -> DType:
        return DType.I64 if self.symbolic else dtype_of_array(self.array)

    @property
    def type(self) -> TensorType:
        return TensorType(self.dtype, self.array.shape)


Tensor = Known | Value


def dtype_of(number: int) -> DType:
    """The element type by its number in ONNX. Raises Unsupported for one that the language does not have."""
    if number not in DTYPES:
        kinds = onnx.TensorProto.DataType
        raise Unsupported(
            f"its elements are of type {kinds.Name(number).lower() if number in kinds.values() else number}"
        )
    return DTYPES[number]


def dtype_of_array(array: Array) -> DType:
    found = DType.of(array.dtype)
    if found is None:
        raise Unsupported(f"its elements are of type {array.dtype}")
    return found


def tidy(array: Array) -> Array:
    """``array`` as numbers where none of its sizes depends on a symbol."""
    if array.dtype != object or any(isinstance(dim, Poly) for dim in array.flat):
        return array
    return array.astype(np.int64)


def materialise(b: Emit, content: Array) -> Value:
    """Content as a value: a constant, or sizes put together while the program runs."""
    if content.dtype != object:
        dtype_of_array(content)
        return b.constant(np.ascontiguousarray(content).reshape(content.shape))
    parts: list[Any] = [b.reshape(b.size(dim), (1,)) for dim in content.flat]
    return b.reshape(parts[0] if len(parts) == 1 else b.concat(parts, 0), content.shape)
