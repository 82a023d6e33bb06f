"""Writing files so that a reader, or a crash, only ever meets the old content or the new one, whole."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write the new content of ``path`` into; it takes the place of ``path`` when the block ends
    well.

    The content goes to a file beside it, reaches the disk and is renamed. Where the block or the disk fails,
    the temporary file is removed, ``path`` keeps its old content and the error goes on. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def write_bytes(path: Path, *content: bytes | bytearray | memoryview) -> None:
    """Replaces the content of ``path`` by these pieces in one go. Raises OSError, and then the old content stays."""
    with replacing(path) as file:
        for piece in content:
            file.write(piece)


def write_text(path: Path, text: str) -> None:
    """Replaces the content of ``path`` by ``text`` as UTF-8, line ends as they are. Raises OSError."""
    write_bytes(path, text.encode())


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files that a killed process left in ``folder``; nobody else may be writing there."""
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """What the system says of a failure, as the middle of a sentence: ``permission denied``."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def _sync_folder(folder: Path) -> None:
    """Makes a rename last through a power cut, where the system lets a folder be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
