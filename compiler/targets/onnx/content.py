"""ONNX files on their way: in one piece, or with the large weights apart. Needs no onnx."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from compiler.diagnostics import DiagnosticError, error

MOST_BYTES = 2**31 - 1  # where a protobuf message ends


@dataclass(frozen=True)
class SplitModel:
    """A model too large for one file: ``content`` refers to ``data``, which holds its large weights, by the name
    ``location``."""

    content: bytes
    data: bytes | bytearray
    location: str


Content: TypeAlias = bytes | SplitModel


def changed(content: Content, change: Callable[[bytes], bytes]) -> Content:
    """The model with what is no large weight ``changed``."""
    return change(content) if isinstance(content, bytes) else replace(content, content=change(content.content))


def head(content: Content) -> bytes:
    """The model without large weights that are apart."""
    return content if isinstance(content, bytes) else content.content


def content_of(path: Path) -> bytes:
    """The bytes of the file. Raises DiagnosticError E0905."""
    why = help = ""
    try:
        size = path.stat().st_size
        if not path.is_file():
            why, help = "it is not a file", "give the path of an .onnx file"
        elif size > MOST_BYTES:
            why, help = f"it has {size / 2**30:.1f} GiB, and an ONNX file ends at 2 GiB", "check the path"
        else:
            return path.read_bytes()
    except OSError as failure:
        said = failure.strerror or str(failure)
        why, help = said[:1].lower() + said[1:], "check the path and the permissions"
    raise DiagnosticError([error("E0905", f"cannot read {path}: {why}", None, help=help)])
