"""Samples that come one after another, from a generator, gathered into arrays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.types import TensorType
from compiler.program import TrainProgram
from runtime.data.columns import ArrayOrColumn
from runtime.data.filerows import FileRows, OpenFile
from runtime.data.memory import holds
from runtime.data.widening import as_array
from runtime.disk.files import reason
from runtime.disk.tensors import Array

_SHAPES = "give every sample the same shapes, or pad them"


def gathered(program: TrainProgram, samples: Iterable[Any]) -> dict[str, ArrayOrColumn]:
    """The arrays of all ``samples``, each a mapping by the names of the inputs or a sequence in their order; an item
    may also be a batch of samples, with one dimension more.

    The samples are read once, to their end, and written to a temporary file that is gone when the process ends; what is
    small is held in memory then. So they are shuffled and split like any other data. Raises DiagnosticError: E0604
    where samples differ in shape or type, E0605 where one lacks an input, E0609 where there is none, E0801 where the
    temporary file can't be written.
    """
    types = {value.name: value.type for value in program.inputs}
    spools: dict[str, _Spool] = {}
    try:
        spools |= {name: _Spool(name, type) for name, type in types.items()}
        for number, item in enumerate(samples):
            arrays = dict(_named(item, tuple(types), number))
            for name, spool in spools.items():
                spool.add(arrays[name], number)
        return {name: spool.finish() for name, spool in spools.items()}
    except OSError as failure:
        title = f"cannot keep the samples of a generator: {reason(failure)}"
        advice = "make room on the disk of temporary files, or name another with the variable TMPDIR"
        raise DiagnosticError([error("E0801", title, None, help=advice)]) from failure
    finally:
        for spool in spools.values():
            spool.close()


def _named(item: Any, names: Sequence[str], number: int) -> Iterator[tuple[str, Any]]:
    """The arrays of an item by name. Raises DiagnosticError E0605."""
    if not isinstance(item, Mapping):
        whole = not isinstance(item, tuple) and (len(names) == 1 or not isinstance(item, Iterable))
        parts = (item,) if whole else tuple(item)
        if len(parts) != len(names):
            count = "one part" if len(parts) == 1 else f"{len(parts)} parts"
            title = f"item {number} has {count}, and the train block takes {len(names)}"
            help = f"give {', '.join(names)} in this order, or a mapping by these names"
            raise DiagnosticError([error("E0605", title, None, help=help)])
        item = dict(zip(names, parts, strict=True))
    missing = [name for name in names if name not in item]
    if missing:
        held = ", ".join(f"`{name}`" for name in item) or "nothing"
        title = f"item {number} has no `{missing[0]}`"
        raise DiagnosticError([error("E0605", title, None, notes=f"it has {held}")])
    yield from ((name, item[name]) for name in names)


class _Spool:
    """The rows of one input, one after another in a temporary file."""

    def __init__(self, name: str, type: TensorType) -> None:
        self.name, self.type = name, type
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="dlc-")  # noqa: SIM115 - closed by finish or close
        self._shape: tuple[int, ...] | None = None
        self._dtype: np.dtype[Any] = type.dtype.numpy
        self._rows = 0

    def add(self, given: Any, number: int) -> None:
        """Adds a sample, or a batch of them."""
        array = as_array(given, self.type.dtype)
        if array.ndim == self.type.rank - 1:
            array = array[None]
        if self._shape is None:
            self._shape, self._dtype = array.shape[1:], array.dtype
        if array.ndim == 0 or array.shape[1:] != self._shape or array.dtype != self._dtype or array.dtype.hasobject:
            first, this = self._described(self._shape, self._dtype), self._described(array.shape[1:], array.dtype)
            title = f"`{self.name}` of item {number} is {this}, and those before are {first}"
            raise DiagnosticError([error("E0604", title, None, help=_SHAPES)])
        self._file.write(np.ascontiguousarray(array).data)
        self._rows += len(array)

    def finish(self) -> ArrayOrColumn:
        """All rows: in memory, or in the file where that is large."""
        if self._shape is None:
            title = f"the generator gave no sample for `{self.name}`"
            raise DiagnosticError([error("E0609", title, None, help="give at least one sample; a generator runs once")])
        self._file.flush()
        shape = (self._rows, *self._shape)
        size = self._dtype.itemsize * int(np.prod(shape, dtype=object))
        if holds(size):
            array: Array = np.fromfile(_rewound(self._file), self._dtype).reshape(shape)
            return array
        kept = OpenFile(os.dup(self._file.fileno()))
        return FileRows(Path("the samples of the generator"), 0, shape, self._dtype, kept)

    def close(self) -> None:
        self._file.close()

    def _described(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
        return f"{dtype}[{', '.join(map(str, shape))}]"


def _rewound(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    return file
