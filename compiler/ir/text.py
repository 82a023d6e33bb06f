"""The text form of a graph: printed for people, tests and diffs, and read back by the grammar ``ir.lark``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.ir.dims import Poly
from compiler.ir.graph import Graph, Operation, Origin, Output, Value
from compiler.ir.parse import GraphTextError, parse_graph
from compiler.ir.types import DType, TensorType

__all__ = ["GraphTextError", "parse_graph", "to_text"]

# Where comments begin: the same in every dump, so that one long line moves no other in a diff.
_COMMENT_COLUMN = 72
# The most numbers of an array that a shortened dump shows.
_SHOWN = 8
_PLAIN_VALUE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
_PLAIN_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*([.:][A-Za-z0-9_]+)*")


def to_text(graph: Graph, *, full: bool = True) -> str:
    """The text of ``graph``, ending in a newline; the same graph always gives the same text.

    Attributes are the fields of the operation's dataclass; those equal to their default are left out. ``full=False``
    leaves out the content of long arrays: for people, such a text can't be parsed.
    """
    bounds = [text for s in graph.symbols if (text := s.bounds_text)]
    where = f" where {', '.join(bounds)}" if bounds else ""
    lines = [f"graph {_label(graph.name)}{where} {{"]
    for item in graph.inputs:
        text = f"{item.role.value} {_typed(item.value)}"
        lines.append(_commented(text, graph.origin_of(item.value)))
    if graph.inputs and graph.nodes:
        lines.append("")
    for node in graph.nodes:
        results = ", ".join(map(_typed, node.outputs))
        operands = ", ".join(map(_reference, node.inputs))
        attributes = _attributes(node.operation, full)
        text = f"{results} = {node.operation.opcode}({operands}){attributes and ' ' + attributes}"
        lines.append(_commented(text, node.origin))
    if graph.outputs:
        lines.append("")
    lines += (f"    {_output(output)}" for output in graph.outputs)
    return "\n".join([*lines, "}", ""])


def _commented(text: str, origin: Origin) -> str:
    places = [str(span) for span in origin.spans[:1]]
    via = [f"via {', '.join(origin.via)}"] if origin.via else []
    comment = " ".join([*places, *filter(None, [origin.scope]), *via])
    return f"    {text}".ljust(_COMMENT_COLUMN) + f"  # {comment}" if comment else f"    {text}"


def _output(output: Output) -> str:
    value = _reference(output.value)
    if output.updates is None:
        return f"return {_label(output.name)}={value}"
    name = "" if output.name == output.updates else f" as {_label(output.name)}"
    return f"update {_reference_name(output.updates)}={value}{name}"


def _label(name: str) -> str:
    return name if _PLAIN_LABEL.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _reference_name(name: str) -> str:
    return f"%{name if _PLAIN_VALUE.fullmatch(name) else json.dumps(name, ensure_ascii=False)}"


def _reference(value: Value) -> str:
    return _reference_name(value.name)


def _typed(value: Value) -> str:
    return f"{_reference(value)}: {value.type}"


def _attributes(operation: Operation, full: bool) -> str:
    """The fields that differ from their defaults, in braces; nothing where none does."""
    shown = ", ".join(f"{name}={text}" for name, text in _field_texts(operation, full))
    return f"{{{shown}}}" if shown else ""


def _field_texts(operation: Operation, full: bool) -> Iterator[tuple[str, str]]:
    for field in fields(operation):  # type: ignore[arg-type]  # every operation is a dataclass
        if field.init:
            value = getattr(operation, field.name)
            text = _attribute(value, full)
            if not _is_default(field, value, text, full):
                yield field.name, text


def _is_default(field: Field[Any], value: object, text: str, full: bool) -> bool:
    """Compared as text, which tells 1 from 1.0 and 0.0 from -0.0 and takes arrays."""
    if field.default is not MISSING:
        return value is field.default or text == _attribute(field.default, full)
    return field.default_factory is not MISSING and text == _attribute(field.default_factory(), full)


def _attribute(value: object, full: bool) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int() | float() | Poly() | DType() | TensorType():
            return str(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case Enum():
            return _attribute(value.value, full)
        case np.ndarray():
            return _array(value, full)
        case tuple():
            return f"[{', '.join(_attribute(item, full) for item in value)}]"
        case Operation():
            return f"@{value.opcode}{_attributes(value, full)}"
    if is_dataclass(value):
        return f"[{', '.join(_attribute(getattr(value, field.name), full) for field in fields(value))}]"
    raise TypeError(f"an attribute can't be of type {type(value).__name__}: {value!r}")


def _array(array: npt.NDArray[Any], full: bool) -> str:
    dtype = DType.of(array.dtype)
    if dtype is None:
        raise TypeError(f"an attribute can't be an array of {array.dtype}")
    shown = ", ".join(_numbers(array, dtype)) if full or array.size <= _SHOWN else "…"
    return f"{TensorType(dtype, array.shape)}({shown})"


def _numbers(array: npt.NDArray[Any], dtype: DType) -> list[str]:
    """Each element in the fewest digits from which the parser makes exactly that element again."""
    if not dtype.is_float:
        return [str(number).lower() for number in array.ravel().tolist()]
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN here
        wide = array.ravel().astype(np.float64)
    if dtype is not DType.F32:
        return [repr(number) for number in wide.tolist()]
    # The digits are chosen for a direct reading as f32; the parser reads f64 and rounds that.
    short = array.ravel().astype(str)
    survives = short.astype(np.float64).astype(np.float32) == array.ravel()
    return [str(a) if same else repr(b) for a, b, same in zip(short, wide.tolist(), survives, strict=True)]
