"""Measures that are tables, and precisions side by side, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dlc.terminal import table
from runtime.disk.tensors import Array
from runtime.inference.precision.variant import Variant

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


def variant_lines(variants: Sequence[Variant]) -> Iterator[str]:
    """The lines of a table of precisions, the f32 file among them, and what is to be said of single layers."""
    times, figures = tuple(variants[0].times), tuple(variants[0].figures)
    head = ["precision", "bytes", "size", *(f"{rows} row{'s' * (rows > 1)}" for rows in times), *figures]
    rows = [
        [
            variant.precision,
            f"{len(variant.content):,}",
            f"{100 * variant.share:.0f}%",
            *(f"{variant.times[rows]:.2f}" for rows in times),
            *(f"{variant.figures[name]:.4f}" for name in figures),
        ]
        for variant in variants
    ]
    yield from table(head, rows, numbers=range(1, len(head)))
    yield "(times as a part of those of f32)"
    yield from (f"{variant.precision}: {note}" for variant in variants for note in variant.notes())


def _commonest(counts: Array) -> list[list[str]]:
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    places = np.argsort(wrong, axis=None, kind="stable")[::-1][:_SHOWN]
    cells = [divmod(int(place), len(counts)) for place in places]
    return [[str(row), str(column), str(wrong[row, column])] for row, column in cells if wrong[row, column]]
