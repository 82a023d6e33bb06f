"""Readers of data files: each gives named arrays.

A new one is a function of a path, the options of its entry in :mod:`compiler.front.catalogue.readers` and a
:class:`Request`, and a row of ``READERS``; files that tell their kind by their ending have one in ``KINDS`` as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.readers.content import Content, Reader, ReadError, Request


def _npz(path: Path, options: Mapping[str, Any], request: Request) -> Content:
    from runtime.readers.npz import NpzArrays

    return Content(NpzArrays(path))


def _text(path: Path, options: Mapping[str, Any], request: Request) -> Content:
    from runtime.readers.text import windows

    return windows(path, options, request)


def _lines(path: Path, options: Mapping[str, Any], request: Request) -> Content:
    from runtime.readers.text import lines

    return lines(path, options, request)


# Each imports its module when it is used, so that a command starts as fast as what it reads allows.
READERS: dict[str, Reader] = {"npz": _npz, "text": _text, "lines": _lines}
# The readers that need no options, by the endings of their files.
KINDS: dict[str, str] = {".npz": "npz"}

__all__ = ["KINDS", "READERS", "Content", "ReadError", "Reader", "Request"]
