"""``.npz`` files, array by array. Nothing is ever unpickled."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from runtime.files import reason
from runtime.readers.content import ReadError
from runtime.tensors import Array

_WHOLE = "make the file again, or take another copy of it; np.load(path) reads it when it is whole"
# What NumPy, zipfile and zlib raise for content that is not what it should be.
_DAMAGE = (BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError)


class NpzArrays(Mapping[str, Array]):
    """The arrays of an ``.npz`` file; each is read, and its mistakes reported, when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as file:
            self._names = tuple(file.files)

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        with self._open() as file:
            try:
                array = file[name]
            except MemoryError as error:
                raise ReadError(f"there is not enough memory for `{name}`", "use a smaller part of it") from error
            except _DAMAGE as error:
                if "Object arrays" in str(error):
                    raise _object_array(name) from error
                raise ReadError(f"`{name}` in it is truncated or damaged ({error})", _WHOLE) from error
        if not isinstance(array, np.ndarray):
            raise ReadError(f"`{name}` in it is not an array", "write the file with np.savez")
        return array

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @contextmanager
    def _open(self) -> Iterator[NpzFile]:
        # NumPy would leave a file that it opened itself, and could not read, to the garbage collector.
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(open(self._path, "rb"))
            except OSError as error:
                raise ReadError(reason(error), "see whether the path is right and you may read it") from error
            try:
                content = np.load(stream, allow_pickle=False)
            except (OSError, *_DAMAGE) as error:
                raise ReadError("it is truncated, damaged or not an .npz file", _WHOLE) from error
            if not isinstance(content, NpzFile):
                why = "it holds a single array without a name, as np.save writes it"
                raise ReadError(why, "write it with np.savez")
            yield content


def _object_array(name: str) -> ReadError:
    return ReadError(
        f"`{name}` holds Python objects, not numbers, and objects are never unpickled",
        f"save numbers in one rectangular shape: np.savez(path, {name}=np.array(rows, dtype=np.float32))",
        "E0604",
    )
