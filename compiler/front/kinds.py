"""What the arguments of catalogue entries may be: the kinds of parameters, in code and in words."""

from __future__ import annotations

from typing import Any

from compiler.front.catalogue.entry import (
    Columns,
    DType,
    Each,
    Factors,
    Lengths,
    ModelWeights,
    Numbers,
    Operand,
    Pads,
    Rate,
    Tensors,
    Words,
)
from compiler.front.signature import as_dim
from compiler.front.values import DslValue, Tensor, is_number
from compiler.ir.dims import Dim
from compiler.ir.graph import Value
from compiler.sources import DataPath


def as_kind(kind: Any, value: DslValue) -> Any:
    """``value`` as ``kind``, or None where it is not of that kind."""
    if kind is Value:
        return value.value if isinstance(value, Tensor) else None
    if kind == Operand:
        if isinstance(value, Tensor):
            return value.value
        return value if is_number(value) else None
    if kind == Tensors:
        parts = value if isinstance(value, tuple) else (value,)
        tensors = tuple(part.value for part in parts if isinstance(part, Tensor))
        return tensors if tensors and len(tensors) == len(parts) else None
    if kind == Numbers:
        numbers = [float(part) for part in value if is_number(part)] if isinstance(value, tuple) else []
        return tuple(numbers) if isinstance(value, tuple) and len(numbers) == len(value) else None
    if kind == Pads:
        return _as_pads(value)
    if kind in _SPATIAL:
        return _as_each(value, _SPATIAL[kind])
    if kind is int:
        return value if isinstance(value, int) and not isinstance(value, bool) else None
    if kind in (float, Rate):
        return float(value) if is_number(value) else None
    if kind is DataPath:
        return DataPath(value) if isinstance(value, str) else None
    if kind == Words:
        words = value if isinstance(value, tuple) and value else (None,)
        return words if all(isinstance(word, str) for word in words) else None
    if kind == Dim:
        return as_dim(value)
    return value if isinstance(value, kind) else None


def _as_each(value: DslValue, one: Any) -> Any:
    """One of what ``one`` takes, or a tuple of them."""
    if not isinstance(value, tuple):
        return one(value)
    parts = tuple(one(part) for part in value)
    return parts if parts and None not in parts else None


def _as_pads(value: DslValue) -> Any:
    if value in ("same", "valid"):
        return value
    if isinstance(value, tuple) and all(isinstance(part, tuple) and len(part) == 2 for part in value):
        pairs = tuple(_as_each(part, _whole) for part in value)
        return pairs if pairs and None not in pairs else None
    return _as_each(value, _whole)


def _whole(value: DslValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: DslValue) -> float | None:
    return float(value) if is_number(value) else None


# What the kinds that speak of spatial dimensions have for each of them.
_SPATIAL: dict[Any, Any] = {Each: _whole, Factors: _number, Lengths: as_dim}


KIND_WORDS: dict[Any, str] = {
    Value: "a tensor",
    Operand: "a tensor or a number",
    Tensors: "a tensor, or several in parentheses",
    Numbers: "a list of numbers",
    Each: "a whole number, or one for each spatial dimension",
    Factors: "a number, or one for each spatial dimension",
    Lengths: "a size, or one for each spatial dimension",
    Pads: "same, valid, a whole number, or one or a pair of them for each spatial dimension",
    int: "a whole number",
    float: "a number",
    Rate: "a number or a schedule",
    bool: "true or false",
    str: "a text",
    Words: "a list of texts",
    DataPath: "the path of a file, as a text",
    Columns: "a column's name, an encoding, or a list of them",
    DType: "an element type",
    Dim: "a size",
    ModelWeights: "a model, or a part of one",
}
