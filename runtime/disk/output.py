"""Writing the files that a command was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compiler.diagnostics import DiagnosticError, error
from runtime.disk.files import reason, write_bytes


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Inside, ``path`` may be written, its folder is there; what fails is told as DiagnosticError E0801."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        yield
    except OSError as failure:
        title, advice = f"cannot write {path}: {reason(failure)}", "name a file in a folder that you may write to"
        raise DiagnosticError([error("E0801", title, None, help=advice)]) from failure


def save_output(path: Path, *content: bytes | bytearray | memoryview) -> None:
    """Puts ``content``, piece by piece, at ``path`` in one go; what was there stays where that fails. Raises
    DiagnosticError E0801."""
    with saving(path):
        write_bytes(path, *content)
