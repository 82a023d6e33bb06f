"""ONNX files on their way: in one piece, or with the large weights apart. Needs no onnx."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias


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
