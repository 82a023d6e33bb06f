"""Rows for a model a batch at a time: arrays and columns in parts, and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.types import DType
from runtime.data.columns import ArrayOrColumn, gather
from runtime.disk.tensors import Array
from runtime.programs.signature import Port

# Rows that run together unless another number is asked for.
ROWS = 256


def rows_symbol(inputs: Sequence[Port], outputs: Sequence[Port]) -> tuple[bool, str | None]:
    """Whether rows can run in parts, and what their number is called, if anything: the first dimension is free, and the
    same for every input and output."""
    firsts = {port.shape[0] if port.shape else 0 for port in (*inputs, *outputs)}
    first = firsts.pop() if len(firsts) == 1 else 0
    return not isinstance(first, int), first if isinstance(first, str) else None


def part(source: ArrayOrColumn, start: int, stop: int) -> Array:
    """Rows ``start`` to ``stop``, those that there are; only these are in memory."""
    if isinstance(source, np.ndarray):
        return source[start:stop]
    return gather(source, np.arange(start, min(stop, len(source))))


def outline(source: ArrayOrColumn) -> Array:
    """An array of the shape and the type of ``source`` that takes no memory, to be looked at and not read."""
    return np.broadcast_to(np.empty((), source.dtype), source.shape)


def in_rows(failure: DiagnosticError, text: str) -> DiagnosticError:
    """The failure of one batch, with the rows in which it is."""
    return DiagnosticError([replace(found, notes=(*found.notes, text)) for found in failure.diagnostics])


@dataclass(frozen=True)
class Lines:
    """Rows that were read together: ``arrays`` of lines ``first`` to ``last`` of the input, counted from 1."""

    first: int
    last: int
    arrays: Mapping[str, Array]

    def __str__(self) -> str:
        return f"line {self.first}" if self.first == self.last else f"lines {self.first} to {self.last}"


def json_lines(stream: Iterable[bytes], source: str, ports: Sequence[Port], rows: int) -> Iterator[Lines]:
    """Batches of at most ``rows`` samples from lines such as ``{"x": [0.5, 1.0]}``: an array for each input, without
    the axis of the batch. Neighbours whose arrays differ in shape come in batches of their own; empty lines are left
    out.

    Raises DiagnosticError E0616 with the line for one that can't be used, E0912 for a model without an axis for rows,
    E0618 where there is no line.
    """
    for port in ports:
        if port.shape == ():
            advice = "give files instead: --input NAME=FILE"
            raise DiagnosticError([error("E0912", f"input `{port.name}` has no axis for rows", None, help=advice)])
    held: list[dict[str, Array]] = []
    first = last = 0
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            row = _row(line, ports)
        except ValueError as failure:
            each = ", ".join(f"{port.name} is {port.row}" for port in ports)
            advice = f"write an object a line, such as {example(ports)}, where {each}"
            title = f"cannot use line {number} of {source}: {failure}"
            raise DiagnosticError([error("E0616", title, None, help=advice)]) from failure
        same = held and all(row[name].shape == array.shape for name, array in held[0].items())
        if held and (not same or len(held) == rows):
            yield Lines(first, last, _stacked(held))
            held = []
        first = first if held else number
        held.append(row)
        last = number
    if not last:
        raise DiagnosticError([error("E0618", f"there is no line in {source}", None, help="give at least one sample")])
    yield Lines(first, last, _stacked(held))


def example(ports: Sequence[Port]) -> str:
    """A line of JSON for these inputs; its arrays are shortened."""
    parts = (f'"{port.name}": ' + "[" * (rank := len(port.shape or (0, 0)) - 1) + "…" + "]" * rank for port in ports)
    return "{" + ", ".join(parts) + "}"


def _stacked(rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _row(line: bytes, ports: Sequence[Port]) -> dict[str, Array]:
    """One sample. Raises ValueError with what is wrong."""
    given = read_json(line)
    if not isinstance(given, dict):
        raise ValueError("it is no object with the inputs by name")
    missing = [port.name for port in ports if port.name not in given]
    known = {port.name for port in ports}
    other = next((name for name in given if name not in known), None)
    if missing:
        raise ValueError(f"there is no `{missing[0]}` in it" + (f", but `{other}`" if other is not None else ""))
    if other is not None:
        raise ValueError(f"the model has no input `{other}`")
    return {port.name: _values(port, given[port.name]) for port in ports}


def read_json(text: bytes) -> Any:
    """The JSON document in ``text``. Raises ValueError with what is wrong with it, as what is said of "it"."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError as failure:
        raise ValueError("it is not UTF-8") from failure
    except json.JSONDecodeError as failure:
        line = f"line {failure.lineno}, " if b"\n" in text.strip() else ""
        raise ValueError(f"it is no JSON: {failure.msg} at {line}column {failure.colno}") from failure
    except RecursionError as failure:
        raise ValueError("its lists are too deep") from failure
    except _NoNumberError:
        raise
    except ValueError as failure:  # Python reads no whole number of thousands of digits
        raise ValueError("a number in it has too many digits") from failure


class _NoNumberError(ValueError):
    """NaN or an infinity, which JSON does not have."""


def _no_constant(word: str) -> Any:
    raise _NoNumberError(f"{word} is no number in JSON")


def from_lists(name: str, dtype: DType, given: Any) -> Array:
    """An array of ``dtype`` from the numbers of a JSON document, nested as its axes are. Raises ValueError for lists
    that are no array, other kinds of values, and numbers that do not fit."""
    try:
        found = np.asarray(given)
    except ValueError as failure:
        raise ValueError(f"`{name}` has lists of different lengths") from failure
    kind = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}[dtype.numpy.kind]
    if found.size and found.dtype.kind not in kind:
        wanted = {"f": "numbers", "b": "true and false"}.get(kind[-1], "whole numbers")
        raise ValueError(f"`{name}` takes {wanted} ({dtype})")
    with np.errstate(over="ignore"):
        array: Array = found.astype(dtype.numpy)
    fits = np.isfinite(array).all() if kind == "iuf" else (array == found).all()
    if not fits:
        raise ValueError(f"`{name}` has a number that does not fit into {dtype}")
    return array


def _values(port: Port, given: Any) -> Array:
    array = from_lists(port.name, port.dtype, given)
    wanted_shape = port.shape and port.shape[1:]
    if wanted_shape is not None and (
        len(wanted_shape) != array.ndim
        or any(isinstance(a, int) and a != b for a, b in zip(wanted_shape, array.shape, strict=True))
    ):
        text = ", ".join("?" if size is None else str(size) for size in wanted_shape)
        raise ValueError(f"`{port.name}` has the shape [{', '.join(map(str, array.shape))}], and a row of it [{text}]")
    return array
