"""IDX files, in which MNIST and its kin come, compressed with gzip or not.

The format, from https://yann.lecun.com/exdb/mnist: two zero bytes, a byte for the element type, a byte for the number
of dimensions, a big-endian u32 for the size of each, then the elements row by row, big-endian.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from runtime.data.columns import ArrayOrColumn
from runtime.data.filerows import FileRows
from runtime.data.memory import holds
from runtime.data.readers.content import ReadError
from runtime.data.readers.npz import opened

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_AGAIN = "get the file again"


def is_idx(start: bytes) -> bool:
    """Whether a file, or what a compressed one holds, begins as IDX files do."""
    return len(start) >= 4 and start[:2] == b"\0\0" and start[2] in _DTYPES and start[3] > 0


def read_idx(path: Path) -> ArrayOrColumn:
    """The array in an IDX file, in the machine's byte order. One that is too large for the memory stays in the file.

    Raises ReadError E0602 for a file that is damaged, cut short, something else, or too large and compressed.
    """
    with opened(path) as stream:
        compressed = stream.read(2) == _GZIP
        stream.seek(0)
        if not compressed:
            return _read(path, stream, compressed)
        try:
            with gzip.open(stream) as inner:
                return _read(path, inner, compressed)
        except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
            raise ReadError(f"it is truncated or damaged ({failure})", _AGAIN) from failure


def _read(path: Path, stream: IO[bytes] | gzip.GzipFile, compressed: bool) -> ArrayOrColumn:
    start = stream.read(4)
    if not is_idx(start):
        raise ReadError("it is no IDX file", "IDX files begin with two zero bytes, their type and their dimensions")
    sizes = stream.read(4 * start[3])
    shape = tuple(np.frombuffer(sizes[: len(sizes) // 4 * 4], ">u4").astype(int).tolist())
    dtype = np.dtype(_DTYPES[start[2]])
    if len(shape) < start[3]:
        raise ReadError("it ends before its array begins", _AGAIN)
    size = dtype.itemsize * math.prod(shape)
    held = size if compressed else path.stat().st_size - stream.tell()
    if held < size:
        raise _short(held, size)
    if not holds(size):
        if compressed:
            raise ReadError("it is too large for the memory, and compressed", "decompress it: gunzip --keep FILE")
        return FileRows(path, stream.tell(), shape, dtype)
    content = stream.read(size)
    if len(content) < size:
        raise _short(len(content), size)
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _short(held: int, size: int) -> ReadError:
    return ReadError(f"it ends after {held:,} of {size:,} bytes of its array", _AGAIN)
