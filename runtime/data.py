"""Data files as named arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from compiler.diagnostics import Diagnostic, DiagnosticError, Span, did_you_mean, error
from compiler.sources import DataSetting, DataSource
from runtime.columns import ArrayOrColumn
from runtime.readers import KINDS, READERS, Content, Reader, ReadError, Request
from runtime.readers.content import Names

_NOTHING_ASKED = Request()


class FileArrays(Mapping[str, Any]):
    """The arrays of a data file, read when they are asked for; what goes wrong is told at ``at``, the
    ``data`` statement."""

    def __init__(
        self, path: Path, reader: Reader, options: Mapping[str, Any], request: Request, at: Span | None
    ) -> None:
        self.path, self.at = path, at
        self.content: Content = self._guarded(lambda: reader(path, options, request))

    @property
    def names(self) -> Names:
        return self.content.names

    def __getitem__(self, name: str) -> Any:
        array: ArrayOrColumn = self._guarded(lambda: self.content[name])
        return array

    def __contains__(self, name: object) -> bool:
        return name in self.content.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)

    def _guarded(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except ReadError as failure:
            title = f"cannot read {self.path}: {failure.why}"
            raise DiagnosticError([error(failure.code, title, self.at, help=failure.help)]) from failure


def load_arrays(
    setting: Path | DataSetting,
    *,
    folder: str | Path = ".",
    at: Span | None = None,
    request: Request = _NOTHING_ASKED,
) -> FileArrays:
    """The named arrays of a data file, or of what a reader reads; a relative path starts at ``folder``, the one of the
    model file.

    Raises DiagnosticError at ``at``: E0601 for a missing file, E0602 for an unreadable one, E0603 for an
    unknown kind, and what the reader raises; E0604 for an array of objects, and E0602 for a damaged one, when it is
    asked for.
    """
    request = replace(request, folder=Path(folder))
    if isinstance(setting, DataSource):
        name, options, path = setting.name, setting.arguments, setting.path
        full = Path(folder) / (path or "")
    else:
        path = str(setting)
        full = Path(folder) / path
        name, options = "", {"path": path}
    if path is not None and not full.exists():
        raise DiagnosticError([_missing(Path(path), full, at)])
    return FileArrays(full, READERS[name or _kind_of(full, at)], options, request, at)


def _kind_of(full: Path, at: Span | None) -> str:
    """The reader for a file that tells its kind. Raises DiagnosticError."""
    if full.is_dir():
        raise DiagnosticError([error("E0602", f"cannot read {full}: it is a folder", at, help="name a file in it")])
    kind = KINDS.get(full.suffix.lower())
    if kind is None:
        title = f"cannot read {full}: {full.suffix or 'a name without an ending'} is not a known kind of data file"
        advice = f"known kinds: {' '.join(KINDS)}; from Python, np.savez(path, name=array, …) writes an .npz file"
        if full.suffix.lower() in (".txt", ".md", ".text"):
            advice = f'say how to read it: text("{full.name}", window=64) or lines("{full.name}")'
        raise DiagnosticError([error("E0603", title, at, help=advice)])
    return kind


def like(stated: object, path: str | Path) -> DataSetting:
    """The file at ``path``, given in place of what the statement says: read in the same way, unless it tells its own
    kind."""
    if isinstance(stated, DataSource) and stated.path is not None:
        kind = KINDS.get(Path(path).suffix.lower(), stated.name)
        if kind == stated.name:
            return stated.at(str(path))
    return str(path)


def _missing(path: Path, full: Path, at: Span | None) -> Diagnostic:
    title = f"there is no file {full}"
    if not full.parent.is_dir():
        return error("E0601", title, at, help=f"there is no folder {full.parent} either: see how the path is spelled")
    known = sorted(entry.name for entry in full.parent.iterdir() if entry.suffix.lower() in (*KINDS, path.suffix))
    nearest = did_you_mean(full.name, known)
    notes = [f"data files in {full.parent}: {', '.join(known[:8])}{', …' if len(known) > 8 else ''}"] if known else []
    if nearest:
        return error("E0601", title, at, notes=notes, help=f"did you mean {path.with_name(nearest)}?")
    if not path.is_absolute() and path.is_file():
        advice = f"{path} exists in the current folder, but paths start at the folder of the model file"
        return error("E0601", title, at, notes=notes, help=advice)
    return error("E0601", title, at, notes=notes, help="paths start at the folder of the model file")
