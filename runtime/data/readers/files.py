"""Arrays with a file of their own each, and the arrays of an ``.npz`` file under other names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from compiler.sources import DataSource
from runtime.data.columns import ArrayOrColumn
from runtime.data.readers.content import Content, ReadError, Request
from runtime.data.readers.idx import read_idx
from runtime.data.readers.npz import NpzArrays, opened, read_npy

_NPY = b"\x93NUMPY"


class ArrayFiles(Mapping[str, ArrayOrColumn]):
    """One array from each file, read when it is asked for."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def __getitem__(self, name: str) -> ArrayOrColumn:
        path = self._paths[name]
        with opened(path) as stream:
            start = stream.read(len(_NPY))
        try:
            return read_npy(path) if start == _NPY or path.suffix.lower() == ".npy" else read_idx(path)
        except ReadError as failure:
            raise ReadError(f"{path.name}: {failure.why}", failure.help, failure.code) from failure

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


class Renamed(Mapping[str, ArrayOrColumn]):
    """Arrays, some of them under further names."""

    def __init__(self, arrays: Mapping[str, ArrayOrColumn], names: Mapping[str, str]) -> None:
        self._arrays, self._names = arrays, names

    def __getitem__(self, name: str) -> ArrayOrColumn:
        return self._arrays[self._names.get(name, name)]

    def __contains__(self, name: object) -> bool:
        return name in self._names or name in self._arrays

    def __iter__(self) -> Iterator[str]:
        yield from self._names
        yield from (name for name in self._arrays if name not in self._names)

    def __len__(self) -> int:
        return len({*self._arrays, *self._names})


def array_files(path: Path, source: DataSource, request: Request) -> Content:
    """Each input from the file named for it: ``.npy``, or IDX. Raises ReadError E0601 for a missing file."""
    return Content(ArrayFiles({name: request.locate(str(part)) for name, part in source.inputs.items()}))


def one_array(path: Path, source: DataSource, request: Request) -> Content:
    """The array of a file without names, called after the file."""
    return Content(ArrayFiles({path.name.partition(".")[0]: path}))


def npz(path: Path, source: DataSource, request: Request) -> Content:
    """The arrays of an ``.npz`` file; inputs may take them under other names. Raises ReadError E0605 for a name that
    is not in the file."""
    arrays = NpzArrays(path)
    for name in map(str, source.inputs.values()):
        if name not in arrays:
            held = ", ".join(f"`{held}`" for held in arrays) or "no array"
            raise ReadError(f"there is no array `{name}` in it", f"it holds {held}", "E0605")
    return Content(Renamed(arrays, {name: str(held) for name, held in source.inputs.items()}))
