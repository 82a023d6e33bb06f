"""Values of inputs against the range that the file tells for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from compiler.diagnostics import Diagnostic, DiagnosticError, error
from compiler.ops.base import Array

Ranges = Mapping[str, tuple[int, int]]
Names = Mapping[str, tuple[str, ...]]


def check_ranges(arrays: Mapping[str, Array], ranges: Ranges, names: Names, described: Mapping[str, str]) -> None:
    """Raises DiagnosticError E0917 for each array with a value that the model has no entry for. ``names`` are what the
    numbers of an input stand for, ``described`` what holds an array in the user's words."""
    found = [
        diagnostic
        for name, (low, high) in ranges.items()
        if name in arrays
        for diagnostic in _outside(name, arrays[name], low, high, names.get(name, ()), described.get(name, ""))
    ]
    if found:
        raise DiagnosticError(found)


def _outside(name: str, array: Array, low: int, high: int, words: tuple[str, ...], holder: str) -> Iterator[Diagnostic]:
    if array.size == 0 or (array.min() >= low and array.max() <= high):
        return
    outside = np.flatnonzero((array < low) | (array > high))
    place = [int(index) for index in np.unravel_index(int(outside[0]), array.shape)]
    where = f" at {place}" if place else ""
    notes = [f"{len(outside):,} of {array.size:,} values lie outside"]
    if words:
        notes.append(f"the numbers stand for {len(words)} names: {low} is {words[0]!r}, {high} is {words[-1]!r}")
    yield error(
        "E0917",
        f"input `{name}` takes {low} to {high}, and {holder or 'the array'} holds {array.flat[outside[0]]}{where}",
        None,
        notes=notes,
        help="number the entries as the training data did, from 0 on",
    )
