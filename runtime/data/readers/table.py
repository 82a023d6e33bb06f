"""Tables in text form: columns as the arrays that inputs take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from compiler.diagnostics import did_you_mean
from compiler.ir.types import TensorType
from compiler.sources import DataSource, Encoding
from runtime.data.readers.cells import Collector, Guessed, Numbers
from runtime.data.readers.content import Content, ReadError, Request, left_out
from runtime.data.readers.encodings import collector, encode
from runtime.data.readers.rows import TableFile, read_cells
from runtime.disk.tensors import Array


class Table(Mapping[str, Array]):
    """The arrays of the inputs, and every column of the file by its own name: one that no input takes is read when it
    is asked for, as numbers where all of it is numbers and as text otherwise."""

    def __init__(self, file: TableFile, inputs: Mapping[str, Array], left_out: frozenset[int]) -> None:
        self._file, self._inputs, self._left_out = file, inputs, left_out

    def __getitem__(self, name: str) -> Array:
        if name in self._inputs:
            return self._inputs[name]
        if name not in self._file.names:
            raise KeyError(name)
        return self.columns([name])[name]

    def columns(self, names: Sequence[str]) -> dict[str, Array]:
        """Columns by their own names, read in one go."""
        cells = [Guessed(name) for name in names]
        read_cells(self._file, cells, left_out=self._left_out)
        return {column.column: column.array() for column in cells}

    def __contains__(self, name: object) -> bool:
        return name in self._inputs or name in self._file.names

    def __iter__(self) -> Iterator[str]:
        yield from self._inputs
        yield from (name for name in self._file.names if name not in self._inputs)

    def __len__(self) -> int:
        return len({*self._inputs, *self._file.names})


@dataclass(frozen=True)
class _Part:
    """One column of an input, and what collects it; without an ``encoding`` it holds numbers."""

    collector: Collector
    encoding: Encoding | None = None


def table(path: Path, source: DataSource, request: Request) -> Content:
    """The table at ``path``, as :func:`compiler.front.catalogue.readers.csv` has it.

    Raises ReadError: E0602 for what is no table, E0605 for a column that is not there, E0616 for a row that can't be
    used, E0617 for a word without a number, E0618 for a table without rows.
    """
    file = TableFile(path, source.arguments["delimiter"], source.arguments["names"])
    wanted = _wanted(file, source, request)
    collectors = [part.collector for parts in wanted.values() for part in parts]
    bad = read_cells(file, collectors, request=request)
    arrays: dict[str, Array] = {}
    names: dict[str, tuple[str, ...]] = {}
    for name, parts in wanted.items():
        made, named = _arrays(name, parts, request)
        names |= named
        arrays[name] = _joined(made, request.inputs[name])
    notes = left_out(len(bad), "row", "that can't be used")
    return Content(Table(file, arrays, bad), names, notes)


def _wanted(file: TableFile, source: DataSource, request: Request) -> dict[str, list[_Part]]:
    """What each input takes; one for which there is nothing is left out, as nobody knows yet that it is missed."""
    found: dict[str, list[_Part]] = {}
    asked = {name: _listed(source.inputs.get(name, name)) for name in request.inputs}
    named = {_column(part) for parts in asked.values() for part in parts}
    for name, type in request.inputs.items():
        if name not in source.inputs and name not in file.names:
            continue
        parts: list[_Part] = []
        for part in asked[name]:
            if isinstance(part, Encoding):
                _check_column(file, _column(part))
                parts.append(_Part(collector(part), part))
            else:
                parts += [_Part(Numbers(column, type.dtype)) for column in _matching(file, part, named)]
        found[name] = parts
    return found


def _listed(given: Any) -> tuple[str | Encoding, ...]:
    return given if isinstance(given, tuple) else (given,)


def _column(part: str | Encoding) -> str:
    return part if isinstance(part, str) else str(part.arguments["column"])


def _matching(file: TableFile, name: str, named: set[str]) -> list[str]:
    """The columns that a name stands for. Raises ReadError E0605 where there is none."""
    if name not in file.names and "*" in name:
        found = [column for column in file.names if fnmatchcase(column, name) and column not in named]
        if found:
            return found
    _check_column(file, name)
    return [name]


def _check_column(file: TableFile, name: str) -> None:
    if name in file.names:
        return
    near = did_you_mean(name, file.names)
    shown = ", ".join(file.names[:8]) + (", …" if len(file.names) > 8 else "")
    help = f"did you mean {near}?" if near else f"its columns are {shown}"
    other = next((sign for sign in (";", "\t", ",", "|") if sign in file.names[0]), None)
    if len(file.names) == 1 and other is not None:
        written = "\\t" if other == "\t" else other
        help = f'its columns seem to stand between other signs: csv(…, delimiter="{written}")'
    raise ReadError(f"there is no column {name} in it", help, "E0605")


def _arrays(name: str, parts: Sequence[_Part], request: Request) -> tuple[list[Array], dict[str, tuple[str, ...]]]:
    """The parts of an input as arrays, and the names of their numbers."""
    made: list[Array] = []
    names: dict[str, tuple[str, ...]] = {}
    for part in parts:
        if part.encoding is None:
            assert isinstance(part.collector, Numbers)
            made.append(part.collector.array())
            continue
        key = name if len(parts) == 1 else f"{name}.{part.collector.column}"
        array, names[key] = encode(part.encoding, part.collector, request.names.get(key), request.inputs[name].dtype)
        made.append(array)
    return made, names


def _joined(parts: Sequence[Array], type: TensorType) -> Array:
    """The parts beside one another, in the shape that the input declares where they fill it."""
    if len(parts) == 1 and parts[0].ndim == type.rank:
        return parts[0]
    whole = np.concatenate([part if part.ndim > 1 else part[:, None] for part in parts], axis=1)
    sizes = [dim for dim in type.shape[1:] if isinstance(dim, int)]
    fills = len(sizes) == type.rank - 1 and int(np.prod(sizes, dtype=np.int64)) == whole.shape[1]
    return whole.reshape(len(whole), *sizes) if fills else whole
