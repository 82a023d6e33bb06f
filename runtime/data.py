"""Data files as named arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from compiler.diagnostics import Diagnostic, DiagnosticError, Span, did_you_mean, error
from runtime.readers import READERS, ReadError
from runtime.tensors import Array


class FileArrays(Mapping[str, Array]):
    """The arrays of a data file, read when they are asked for; what goes wrong is told at ``at``, the
    ``data`` statement."""

    def __init__(self, path: Path, reader: Callable[[Path], Mapping[str, Array]], at: Span | None) -> None:
        self.path, self.at = path, at
        self._content = self._guarded(lambda: reader(path))

    def __getitem__(self, name: str) -> Array:
        array: Array = self._guarded(lambda: self._content[name])
        return array

    def __contains__(self, name: object) -> bool:
        return name in self._content

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def _guarded(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except ReadError as failure:
            title = f"cannot read {self.path}: {failure.why}"
            raise DiagnosticError([error(failure.code, title, self.at, help=failure.help)]) from failure


def load_arrays(path: str | Path, *, folder: str | Path = ".", at: Span | None = None) -> FileArrays:
    """The named arrays of a data file; a relative path starts at ``folder``, the one of the model file.

    Raises DiagnosticError at ``at``: E0601 for a missing file, E0602 for an unreadable one, E0603 for an
    unknown kind; E0604 for an array of objects, and E0602 for a damaged one, when it is asked for.
    """
    full = Path(folder) / path
    if not full.exists():
        raise DiagnosticError([_missing(Path(path), full, at)])
    if full.is_dir():
        raise DiagnosticError([error("E0602", f"cannot read {full}: it is a folder", at, help="name a file in it")])
    reader = READERS.get(full.suffix.lower())
    if reader is None:
        known = " ".join(READERS)
        title = f"cannot read {full}: {full.suffix or 'a name without an ending'} is not a known kind of data file"
        advice = f"known kinds: {known}; from Python, np.savez(path, name=array, …) writes an .npz file"
        raise DiagnosticError([error("E0603", title, at, help=advice)])
    return FileArrays(full, reader, at)


def _missing(path: Path, full: Path, at: Span | None) -> Diagnostic:
    title = f"there is no file {full}"
    if not full.parent.is_dir():
        return error("E0601", title, at, help=f"there is no folder {full.parent} either: see how the path is spelled")
    known = sorted(entry.name for entry in full.parent.iterdir() if entry.suffix.lower() in READERS)
    nearest = did_you_mean(full.name, known)
    notes = [f"data files in {full.parent}: {', '.join(known[:8])}{', …' if len(known) > 8 else ''}"] if known else []
    if nearest:
        return error("E0601", title, at, notes=notes, help=f"did you mean {path.with_name(nearest)}?")
    if not path.is_absolute() and path.is_file():
        advice = f"{path} exists in the current folder, but paths start at the folder of the model file"
        return error("E0601", title, at, notes=notes, help=advice)
    return error("E0601", title, at, notes=notes, help="paths start at the folder of the model file")
