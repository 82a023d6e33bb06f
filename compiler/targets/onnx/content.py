"""ONNX files on their way: in one piece, or with the large weights apart. Needs no onnx."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from compiler.ops.base import Array

MOST_BYTES = 2**31 - 1  # where a protobuf message ends
# Of weights in one message: this much of it is kept for everything else.
MOST_WEIGHTS = MOST_BYTES - 2**24
# Where a weight begins in a data file, so that it can be mapped into memory.
_PAGE = 4096


@dataclass(frozen=True)
class SplitModel:
    """A model too large for one file: ``content`` tells where in a file of another name, ``location``, the ``arrays``
    are, one behind the other, each from the start of a page on."""

    content: bytes
    arrays: Mapping[str, Array]
    location: str

    @property
    def size(self) -> int:
        """The bytes of the data."""
        return sum(map(len, self.data()))

    def data(self) -> Iterator[memoryview]:
        """What the data file holds, piece by piece."""
        end = 0
        for array, start in zip(self.arrays.values(), starts(self.arrays.values()), strict=True):
            yield memoryview(bytes(start - end))
            end = start + array.nbytes
            yield little_endian(array)

    def digest(self) -> str:
        """The SHA-256 of the data, as text."""
        digest = hashlib.sha256()
        for piece in self.data():
            digest.update(piece)
        return digest.hexdigest()


Content: TypeAlias = bytes | SplitModel


def starts(arrays: Iterable[Array]) -> Iterator[int]:
    """Where each of the arrays begins in a data file."""
    end = 0
    for array in arrays:
        start = end + -end % _PAGE
        yield start
        end = start + array.nbytes


def changed(content: Content, change: Callable[[bytes], bytes]) -> Content:
    """The model with what is no large weight ``changed``."""
    return change(content) if isinstance(content, bytes) else replace(content, content=change(content.content))


def head(content: Content) -> bytes:
    """The model without large weights that are apart."""
    return content if isinstance(content, bytes) else content.content


def fingerprint(content: Content) -> str:
    """The SHA-256 of the model, with its data, as text."""
    digest = hashlib.sha256(head(content))
    if isinstance(content, SplitModel):
        for piece in content.data():
            digest.update(piece)
    return digest.hexdigest()


def is_ort(content: bytes) -> bool:
    """Whether it is a file of ONNX Runtime's own format."""
    return content[4:8] == b"ORTM"


def content_of(path: Path) -> bytes:
    """The bytes of the file. Raises DiagnosticError E0905."""
    why = help = ""
    try:
        size = path.stat().st_size
        if not path.is_file():
            held = next(iter(sorted(path.glob("*.onnx"))), None)
            why = "it is a folder" if path.is_dir() else "it is not a file"
            help = f"name the file in it: {held}" if held else "give the path of an .onnx file"
        elif size > MOST_BYTES:
            why, help = f"it has {size / 2**30:.1f} GiB, and an ONNX file ends at 2 GiB", "check the path"
        else:
            return path.read_bytes()
    except OSError as failure:
        said = failure.strerror or str(failure)
        why, help = said[:1].lower() + said[1:], "check the path and the permissions"
    raise DiagnosticError([error("E0905", f"cannot read {path}: {why}", None, help=help)])


def little_endian(array: Array) -> memoryview:
    """The bytes of the elements in row-major order, little endian; those of the array itself where it has them so."""
    big = array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big")
    return np.ascontiguousarray(array.byteswap() if big else array).reshape(-1).view(np.uint8).data
