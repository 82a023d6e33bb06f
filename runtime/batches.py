"""Rows of a data set gathered into batches, into the same arrays again and again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from runtime.order import Rows, Stream, shuffled
from runtime.tensors import Array


@dataclass(frozen=True, eq=False)
class DataSet:
    """Arrays with one row per sample, bound to a program's inputs, and which of their rows belong to the set.

    Arrays are C-contiguous and have exactly the inputs' element types. ``source`` is what messages call the
    set.
    """

    arrays: Mapping[str, Array]
    rows: Rows
    source: str = "the data"

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Rows) -> DataSet:
        """The set of these of its samples."""
        return DataSet(self.arrays, self.rows[rows], self.source)


class Batches:
    """Batches of ``size`` samples, the last one with what is left over; ``seed`` None keeps the order of the
    rows."""

    def __init__(self, data: DataSet, size: int, seed: int | None) -> None:
        self.data = data
        self.size = min(size, len(data))
        self._seed = seed
        self._order = data.rows
        self._epoch: int | None = None
        self._buffers = {
            name: np.empty((self.size, *array.shape[1:]), array.dtype) for name, array in data.arrays.items()
        }

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-len(self.data) // self.size)

    def count(self, index: int) -> int:
        """The number of samples in batch ``index``."""
        return min(self.size, len(self.data) - index * self.size)

    def samples(self, count: int) -> int:
        """The number of samples in the first ``count`` batches, which may be those of several epochs."""
        epochs, rest = divmod(count, len(self))
        return epochs * len(self.data) + min(rest * self.size, len(self.data))

    def at(self, epoch: int, index: int) -> dict[str, Array]:
        """The inputs of batch ``index`` of ``epoch`` by name: valid, and unchanged, until the next call."""
        if self._seed is not None and epoch != self._epoch:
            self._order = self.data.rows[shuffled(len(self.data), self._seed, Stream.EPOCH, epoch)]
            self._epoch = epoch
        rows = self._order[index * self.size : (index + 1) * self.size]
        batch = {}
        for name, array in self.data.arrays.items():
            # The rows are known to exist; with the default mode NumPy would gather into a copy of `out`
            # first.
            batch[name] = np.take(array, rows, axis=0, out=self._buffers[name][: len(rows)], mode="clip")
        return batch
