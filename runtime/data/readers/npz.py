"""NumPy's own files. Nothing is ever unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from numpy.lib import format as npy_format
from numpy.lib.npyio import NpzFile

from runtime.data.columns import ArrayOrColumn
from runtime.data.filerows import FileRows
from runtime.data.memory import holds
from runtime.data.readers.content import ReadError
from runtime.disk.files import reason
from runtime.disk.tensors import Array

_WHOLE = "make the file again, or take another copy of it; np.load(path) reads it when it is whole"
# What NumPy, zipfile and zlib raise for content that is not what it should be.
_DAMAGE = (BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError)
# The fixed part of what stands before the content of a member of a zip file, and where in it the lengths of the name
# and of the extra field are (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7).
_LOCAL_HEADER, _NAME_LENGTH, _EXTRA_LENGTH = 30, 26, 28


class NpzArrays(Mapping[str, ArrayOrColumn]):
    """The arrays of an ``.npz`` file; each is read, and its mistakes reported, when it is asked for. One that is too
    large for the memory stays in the file, where it is not compressed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as file:
            self._names = tuple(file.files)

    def __getitem__(self, name: str) -> ArrayOrColumn:
        if name not in self._names:
            raise KeyError(name)
        with self._open() as file:
            try:
                array = self._left_in_file(name) or file[name]
            except MemoryError as error:
                raise ReadError(f"there is not enough memory for `{name}`", "use a smaller part of it") from error
            except _DAMAGE as error:
                if "Object arrays" in str(error):
                    raise _object_array(name) from error
                raise ReadError(f"`{name}` in it is truncated or damaged ({error})", _WHOLE) from error
        if not isinstance(array, np.ndarray | FileRows):
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
            stream = stack.enter_context(opened(self._path))
            try:
                content = np.load(stream, allow_pickle=False)
            except (OSError, *_DAMAGE) as error:
                raise ReadError("it is truncated, damaged or not an .npz file", _WHOLE) from error
            if not isinstance(content, NpzFile):
                why = "it holds a single array without a name, as np.save writes it"
                raise ReadError(why, "write it with np.savez, or name it .npy and read it with files(INPUT=…)")
            yield content

    def _left_in_file(self, name: str) -> FileRows | None:
        """The array where it lies, if it is too large for the memory. Raises ReadError where it can't stay there."""
        with opened(self._path) as stream, zipfile.ZipFile(stream) as archive:
            member = next((info for info in archive.infolist() if info.filename in (name, f"{name}.npy")), None)
            if member is None or holds(member.file_size):
                return None
            if member.compress_type != zipfile.ZIP_STORED:
                why = f"`{name}` is too large for the memory, and compressed, so that it can't be read row by row"
                raise ReadError(why, "write it without compression: np.savez instead of np.savez_compressed")
            stream.seek(member.header_offset)
            header = stream.read(_LOCAL_HEADER)
            before = sum(int.from_bytes(header[place : place + 2], "little") for place in (_NAME_LENGTH, _EXTRA_LENGTH))
            stream.seek(member.header_offset + _LOCAL_HEADER + before)
            return rows_in(self._path, stream)


def read_npy(path: Path) -> ArrayOrColumn:
    """The array in an ``.npy`` file; one that is too large for the memory stays in it. Raises ReadError."""
    with opened(path) as stream:
        try:
            if not holds(path.stat().st_size):
                found = rows_in(path, stream)
                if found is not None:
                    return found
                stream.seek(0)
            array: Array | Any = np.load(stream, allow_pickle=False)
        except MemoryError as error:
            raise ReadError("there is not enough memory for it", "use a smaller part of it") from error
        except (OSError, *_DAMAGE) as error:
            if "Object arrays" in str(error):
                raise _object_array("the array") from error
            raise ReadError(
                "it is truncated, damaged or not a .npy file", "write it again: np.save(path, array)"
            ) from error
    if not isinstance(array, np.ndarray):
        raise ReadError("it is an .npz file under another name", "name it .npz")
    return array


def rows_in(path: Path, stream: IO[bytes]) -> FileRows | None:
    """The array whose header ``stream`` stands at, left in the file; None where its rows do not lie one after the
    other. Raises ValueError for what is no array, ReadError for one of objects."""
    version = npy_format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):  # later ones are for names of fields
        return None
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, by_column, dtype = read(stream)
    if dtype.hasobject:
        raise _object_array("the array")
    if by_column or not shape:
        return None
    if path.stat().st_size < stream.tell() + dtype.itemsize * math.prod(shape):
        raise EOFError("the file is shorter than the array")
    return FileRows(path, stream.tell(), shape, dtype)


def opened(path: Path) -> IO[bytes]:
    """The file to read from. Raises ReadError."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise ReadError(reason(error), "see whether the path is right and you may read it") from error


def _object_array(name: str) -> ReadError:
    called, example = (f"`{name}`", name) if name.isidentifier() else (name, "array")
    return ReadError(
        f"{called} holds Python objects, not numbers, and objects are never unpickled",
        f"save numbers in one rectangular shape: np.savez(path, {example}=np.array(rows, dtype=np.float32))",
        "E0604",
    )
