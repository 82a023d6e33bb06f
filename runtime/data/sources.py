"""Data files as named arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from compiler.diagnostics import Diagnostic, DiagnosticError, Span, did_you_mean, error
from compiler.front.catalogue import entries
from compiler.sources import DataPath, DataSetting, DataSource
from runtime.data.columns import ArrayOrColumn
from runtime.data.readers import FOLDERS, KINDS, Content, ReadError, Request, reader
from runtime.data.readers.content import Names

_NOTHING_ASKED = Request()


class FileArrays(Mapping[str, Any]):
    """The arrays of a data file, read when they are asked for; what goes wrong is told at ``at``, the
    ``data`` statement."""

    def __init__(self, path: Path, source: DataSource, request: Request, at: Span | None) -> None:
        self.path, self.at = path, at
        self.content: Content = self._guarded(lambda: reader(source.name)(path, source, request))

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
    path = setting.path if isinstance(setting, DataSource) else str(setting)
    full = Path(folder) / (path or "")
    if path is not None and not full.exists():
        raise DiagnosticError([_missing(Path(path), full, at)])
    source = setting if isinstance(setting, DataSource) else _plain(full, at)
    return FileArrays(full, source, request, at)


def kind_of(path: str | Path) -> str | None:
    """The reader for a file that tells its kind by its name."""
    name = Path(path).name.lower()
    return next((kind for ending, kind in KINDS.items() if name.endswith(ending)), None)


def _plain(full: Path, at: Span | None) -> DataSource:
    """The reader, with what it does unasked, for a file that tells its kind. Raises DiagnosticError."""
    kind = kind_of(full)
    if full.is_dir():
        if kind is not None:
            raise DiagnosticError([error("E0602", f"cannot read {full}: it is a folder", at, help="name a file in it")])
        kind = FOLDERS
    if kind is None:
        title = f"cannot read {full}: {full.suffix or 'a name without an ending'} is not a known kind of data file"
        advice = "known kinds: .npz, .npy, .csv, IDX and folders of pictures; readers such as text(…) take others"
        if full.suffix.lower() in (".txt", ".md", ".text"):
            advice = f'say how to read it: text("{full.name}", window=64) or lines("{full.name}")'
        raise DiagnosticError([error("E0603", title, at, help=advice)])
    entry = entries("reader").get(kind)
    return DataSource(kind, {}) if entry is None else entry.build(path=DataPath(full.name))


def like(stated: object, path: str | Path) -> DataSetting:
    """The file at ``path``, given in place of what the statement says: read in the same way, unless it tells its own
    kind."""
    same = isinstance(stated, DataSource) and stated.path is not None and (kind_of(path) or stated.name) == stated.name
    return stated.at(str(path)) if isinstance(stated, DataSource) and same else str(path)


def _missing(path: Path, full: Path, at: Span | None) -> Diagnostic:
    title = f"there is no file {full}"
    if not full.parent.is_dir():
        return error("E0601", title, at, help=f"there is no folder {full.parent} either: see how the path is spelled")
    known = sorted(
        entry.name for entry in full.parent.iterdir() if kind_of(entry) or (path.suffix and entry.suffix == path.suffix)
    )
    nearest = did_you_mean(full.name, known)
    notes = [f"data files in {full.parent}: {', '.join(known[:8])}{', …' if len(known) > 8 else ''}"] if known else []
    if nearest:
        return error("E0601", title, at, notes=notes, help=f"did you mean {path.with_name(nearest)}?")
    if not path.is_absolute() and path.is_file():
        advice = f"{path} exists in the current folder, but paths start at the folder of the model file"
        return error("E0601", title, at, notes=notes, help=advice)
    advice = "see how the path is spelled" if at is None else "paths start at the folder of the model file"
    return error("E0601", title, at, notes=notes, help=advice)
