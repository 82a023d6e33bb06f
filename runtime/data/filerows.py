"""Arrays that stay in their files: rows are fetched when they are asked for.

Rows that follow one another are read in one go. Scattered ones come from a mapping of the file into memory, which takes
no call for each of them; where a limit on the memory of the process counts what is mapped, they are read one by one.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from runtime.data.columns import Column, row_blocks
from runtime.data.order import Rows
from runtime.disk.files import reason
from runtime.disk.tensors import Array

# With more runs of rows than this in a batch, a call for each takes longer than the rows.
_FEW_RUNS = 4


class OpenFile:
    """A file that is open for as long as anything refers to it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)


class FileRows(Column):
    """The rows of an array that lies in a file from ``offset`` on, row after row."""

    def __init__(
        self, path: Path, offset: int, shape: tuple[int, ...], stored: np.dtype[Any], file: OpenFile | None = None
    ) -> None:
        """``file`` is the one at ``path``, where it is open already. Raises OSError where it can't be opened."""
        super().__init__(shape, stored)
        self.path, self.offset = path, offset
        self._file = file or OpenFile(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        self._width = stored.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        self._mapped = _mapped(self._file, offset, shape[0], self._width)

    def take(self, rows: Rows, out: Array) -> None:
        if self.dtype == self.stored and self.stored.isnative:
            self._read(rows, out)
        else:
            raw = np.empty((len(rows), *self.shape[1:]), self.stored)
            self._read(rows, raw)
            out[...] = raw

    def blocks(self) -> Iterator[tuple[int, Array]]:
        return row_blocks(self)

    def _read(self, rows: Rows, out: Array) -> None:
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        if self._mapped is not None and len(ends) > _FEW_RUNS:
            self._check_length()
            np.take(self._mapped, rows, axis=0, out=out.reshape(-1).view(np.uint8).reshape(len(rows), -1), mode="clip")
            return
        target = out.reshape(-1).view(np.uint8).data
        start = 0
        for end in ends:
            if end > start:
                self._read_at(int(rows[start]), target[start * self._width : end * self._width])
            start = end

    def _check_length(self) -> None:
        """Reading beyond the end of a mapped file that was cut short would kill the process."""
        held = (os.fstat(self._file.descriptor).st_size - self.offset) // max(1, self._width)
        if held < len(self):
            raise self._failure(OSError(f"it ends in row {held}"))

    def _read_at(self, row: int, target: memoryview) -> None:
        place, done = self.offset + row * self._width, 0
        try:
            while done < len(target):
                count = os.preadv(self._file.descriptor, [target[done:]], place + done)
                if count == 0:
                    raise OSError(f"it ends in row {row + done // max(1, self._width)}")
                done += count
        except OSError as failure:
            raise self._failure(failure) from failure

    def _failure(self, failure: OSError) -> DiagnosticError:
        title = f"cannot read {self.path}: {reason(failure)}"
        advice = "the file was changed or its disk failed: see that it stays as it is"
        return DiagnosticError([error("E0602", title, None, help=advice)])


def _mapped(file: OpenFile, offset: int, rows: int, width: int) -> Array | None:
    """The rows as u8[rows, width], mapped; None where that can't be."""
    size = rows * width
    start = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
    try:
        memory = mmap.mmap(file.descriptor, offset - start + size, access=mmap.ACCESS_READ, offset=start)
    except (
        OSError,
        ValueError,
        OverflowError,
    ):  # more than the limit, or a file that is too short: reading tells where it ends
        return None
    if hasattr(mmap, "MADV_RANDOM"):
        memory.madvise(mmap.MADV_RANDOM)  # rows are scattered: nothing around them is worth reading
    return np.frombuffer(memory, np.uint8, size, offset - start).reshape(rows, width)
