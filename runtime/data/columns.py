"""Rows of data that are not an array in memory: windows of a text, rows of a file, pictures.

A :class:`Column` has a shape and an element type like an array, and makes the rows that are asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from typing import Any, Self, TypeAlias

import numpy as np

from runtime.data.order import Rows
from runtime.disk.tensors import Array

# Elements that are looked at in one go, so that going through a large array needs little memory.
_BLOCK = 1 << 20
# Rows that tell data which is not in memory from other data.
_LOOKED_AT = 64


class Column(ABC):
    """One row for each sample. ``shape`` and ``dtype`` are those of the array that it stands for; ``slow`` tells that
    rows have to be fetched or made, which then is done ahead of their use."""

    slow = True

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self.stored = dtype  # stays where rows are given in another

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def cast(self, dtype: np.dtype[Any]) -> Self:
        """The same rows in another element type, which holds every value of this one."""
        other = copy(self)
        other.dtype = dtype
        return other

    @abstractmethod
    def take(self, rows: Rows, out: Array) -> None:
        """Writes these rows into ``out``, an array of ``dtype``."""

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Everything that is in it, in parts, each with the number of the row at which it begins."""
        yield from row_blocks(self)

    def traits(self) -> Iterator[bytes]:
        """What tells it from other data, without going through all of it where that takes long."""
        yield gather(self, np.unique(np.linspace(0, len(self) - 1, _LOOKED_AT, dtype=np.int64))).tobytes()


# What a data set holds: arrays in memory, or what makes rows.
ArrayOrColumn: TypeAlias = Array | Column


class Windows(Column):
    """Rows that overlap: row ``i`` is elements ``i + shift`` to ``i + shift + window`` of ``values``, of which there is
    only the one copy."""

    slow = False

    def __init__(self, values: Array, window: int, shift: int = 0, beyond: int = 0) -> None:
        """``beyond`` more elements than the window are left at the end, so that a column with another shift has as
        many rows."""
        super().__init__((max(0, len(values) - window - beyond + 1), window), values.dtype)
        self.values, self.shift = values, shift

    def take(self, rows: Rows, out: Array) -> None:
        out[...] = self.values[rows[:, None] + np.arange(self.shift, self.shift + self.shape[1])]

    def blocks(self) -> Iterator[tuple[int, Array]]:
        step = _BLOCK
        for start in range(0, len(self.values), step):
            yield start, self.values[start : start + step, None]

    def traits(self) -> Iterator[bytes]:
        yield self.values.tobytes()


def take(source: ArrayOrColumn, rows: Rows, out: Array) -> None:
    """Writes ``rows``, which are known to exist, of an array or a column into ``out``."""
    if isinstance(source, Column):
        source.take(rows, out)
    else:
        # With the default mode NumPy would gather into a copy of `out` first.
        np.take(source, rows, axis=0, out=out, mode="clip")


def gather(source: ArrayOrColumn, rows: Rows) -> Array:
    """A new array of these rows."""
    out = np.empty((len(rows), *source.shape[1:]), source.dtype)
    take(source, rows, out)
    return out


def whole(source: ArrayOrColumn) -> Array:
    """All rows as an array in memory."""
    return gather(source, np.arange(len(source))) if isinstance(source, Column) else np.asarray(source)


def blocks(source: ArrayOrColumn) -> Iterator[tuple[int, Array]]:
    """The content in parts of whole rows, each with the number of its first row."""
    if isinstance(source, Column):
        yield from source.blocks()
    else:
        yield from row_blocks(source)


def row_blocks(source: ArrayOrColumn) -> Iterator[tuple[int, Array]]:
    """The rows in parts of about a million elements."""
    step = max(1, _BLOCK // max(1, int(np.prod(source.shape[1:], dtype=np.int64))))
    for start in range(0, len(source), step):
        stop = min(start + step, len(source))
        yield start, gather(source, np.arange(start, stop)) if isinstance(source, Column) else source[start:stop]
