"""Rows of a data set gathered into batches, into the same arrays again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from runtime.data.ahead import Ahead
from runtime.data.columns import ArrayOrColumn, Column, take
from runtime.data.order import Rows, Stream, shuffled
from runtime.data.readers.content import Names
from runtime.disk.tensors import Array


@dataclass(frozen=True, eq=False)
class DataSet:
    """Arrays with one row per sample, bound to a program's inputs, and which of their rows belong to the set.

    Arrays are C-contiguous and have exactly the inputs' element types, as the columns have that are no arrays.
    ``source`` is what messages call the set; ``names`` tell what the numbers of an array stand for. Where ``window`` is
    not 0, rows are windows of so many elements that begin one element apart, of which every ``stride``-th is trained
    on.
    """

    arrays: Mapping[str, ArrayOrColumn]
    rows: Rows
    source: str = "the data"
    names: Names = field(default_factory=dict)
    window: int = 0
    stride: int = 1

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Rows) -> DataSet:
        """The set of these of its samples."""
        return replace(self, rows=self.rows[rows])

    def apart(self) -> DataSet:
        """The set with windows side by side instead of overlapping, so that every element is looked at once; other sets
        are as they are."""
        if not self.window:
            return self
        return replace(self, rows=np.arange(self.rows.min(), self.rows.max() + 1, self.window))


class Batches:
    """Batches of ``size`` samples, the last one with what is left over; ``seed`` None keeps the order of the
    rows."""

    def __init__(self, data: DataSet, size: int, seed: int | None) -> None:
        self.data = data
        self.size = min(size, len(data))
        self._seed = seed
        self._order = data.rows
        self._epoch: int | None = None
        self._buffers = [self._make_buffers()]
        # Where rows have to be fetched, those of the next batch are, while this one is at work.
        slow = any(isinstance(array, Column) and array.slow for array in data.arrays.values())
        self._ahead = Ahead(self._fill, self._following) if slow else None
        if slow:
            self._buffers.append(self._make_buffers())

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-len(self.data) // self.size)

    def count(self, index: int) -> int:
        """The number of samples in batch ``index``."""
        return min(self.size, len(self.data) - index * self.size)

    def blank(self, count: int) -> dict[str, Array]:
        """Arrays such as a batch of ``count`` samples has, with anything in them."""
        return {name: buffer[:count] for name, buffer in self._buffers[0].items()}

    def samples(self, count: int) -> int:
        """The number of samples in the first ``count`` batches, which may be those of several epochs."""
        epochs, rest = divmod(count, len(self))
        return epochs * len(self.data) + min(rest * self.size, len(self.data))

    def at(self, epoch: int, index: int) -> dict[str, Array]:
        """The inputs of batch ``index`` of ``epoch`` by name: valid, and unchanged, until the next call."""
        return self._ahead.get((epoch, index)) if self._ahead else self._fill((epoch, index), 0)

    def once(self) -> Iterator[dict[str, Array]]:
        """The batches of the first epoch, each valid until the next; what fetches rows ends with them."""
        try:
            for index in range(len(self)):
                yield self.at(0, index)
        finally:
            self.close()

    def close(self) -> None:
        """Ends the thread that fetches rows, where there is one; more batches may be asked for afterwards."""
        if self._ahead:
            self._ahead.close()

    def _make_buffers(self) -> dict[str, Array]:
        arrays = self.data.arrays.items()
        return {name: np.empty((self.size, *array.shape[1:]), array.dtype) for name, array in arrays}

    def _following(self, place: tuple[int, int]) -> tuple[int, int] | None:
        """The batch that comes after one; in the order of the rows nothing comes after the last."""
        epoch, index = place
        if index + 1 < len(self):
            return epoch, index + 1
        return None if self._seed is None else (epoch + 1, 0)

    def _fill(self, place: tuple[int, int], buffer: int) -> dict[str, Array]:
        epoch, index = place
        if self._seed is not None and epoch != self._epoch:
            self._order = self.data.rows[shuffled(len(self.data), self._seed, Stream.EPOCH, epoch)]
            self._epoch = epoch
        rows = self._order[index * self.size : (index + 1) * self.size]
        batch = {}
        for name, array in self.data.arrays.items():
            batch[name] = self._buffers[buffer][name][: len(rows)]
            take(array, rows, batch[name])
        return batch
