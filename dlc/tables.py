"""Measures that are tables, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from dlc.terminal import table
from runtime.disk.tensors import Array

# The columns that a terminal shows side by side without cutting them, and the confusions that stand for a larger table.
_COLUMNS, _SHOWN = 16, 10


def table_lines(tables: Mapping[str, Array]) -> Iterator[str]:
    """The lines that show confusion matrices by their names: whole, or what is confused most often of many classes."""
    for name, counts in tables.items():
        yield ""
        if len(counts) <= _COLUMNS:
            yield f"{name}: the class of the row, taken for that of the column"
            rows = [[str(row), *map(str, line)] for row, line in enumerate(counts.tolist())]
            yield from table(["", *map(str, range(len(counts)))], rows, numbers=range(len(counts) + 1))
        else:
            yield f"{name}: what was confused most often of {len(counts)} classes"
            yield from table(["class", "taken for", "times"], _commonest(counts), numbers=(0, 1, 2))


def _commonest(counts: Array) -> list[list[str]]:
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    places = np.argsort(wrong, axis=None, kind="stable")[::-1][:_SHOWN]
    cells = [divmod(int(place), len(counts)) for place in places]
    return [[str(row), str(column), str(wrong[row, column])] for row, column in cells if wrong[row, column]]
