"""Imports: other files of the same folder, and the standard library, read once each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from compiler.diagnostics import DiagnosticError, Label, Sink, Source, Span, did_you_mean, error
from compiler.foreign import Network, Reader
from compiler.front import tree
from compiler.front.declarations import Declarations
from compiler.front.parse import parse, source_from_bytes
from compiler.front.values import Foreign

ONNX = ".onnx"
LIBRARY = Path(__file__).parent.parent / "library"
# A file of declarations is small; what is larger was named by mistake.
LARGEST_FILE = 16 * 1024 * 1024


@dataclass(frozen=True)
class Imported:
    """The files that a file imports, directly or not: ``sources`` by where they really are, and ``targets``, which of
    them is named at the place of each import statement's path; ``networks`` are what ONNX files among them hold, and
    ``foreign`` the models that these are here. The standard library is not among them: it comes with dlc."""

    sources: dict[Path, Source] = field(default_factory=dict)
    targets: dict[Span, Path] = field(default_factory=dict)
    networks: dict[Path, Network] = field(default_factory=dict)
    foreign: list[Foreign] = field(default_factory=list)


def library() -> dict[str, Path]:
    """The files of the standard library by the names under which they are imported, such as ``std.mlp``."""
    return {f"std.{path.stem}": path for path in sorted(LIBRARY.glob("*.dl"))}


def declare(file: tree.File, overrides: Mapping[str, str], sink: Sink, reader: Reader) -> tuple[Declarations, Imported]:
    """The declarations of a file, with those of everything that it imports, and the files these stand in; ``reader``
    reads networks in other formats."""
    main = Path(file.span.source.name)
    importer = _Importer(main.parent, sink, reader)
    return importer.declare(file, main, overrides), importer.imported


def files_of(main: Path) -> set[Path]:
    """A model file and those of its folder that it imports, directly or not, as far as they can be read. The standard
    library is not among them; a file that is imported but not there is."""
    folder = main.parent.resolve()
    found: set[Path] = set()
    waiting = [main]
    while waiting:
        path = waiting.pop()
        if path in found or not path.resolve().is_relative_to(folder):
            continue
        found.add(path)
        if path.suffix == ONNX:
            continue
        try:
            file = parse(source_from_bytes(str(path), path.read_bytes()), Sink())
        except (OSError, DiagnosticError):
            continue
        names = [statement.source.value for statement in file.imports if isinstance(statement.source, tree.String)]
        waiting += [path.parent / name for name in names if name.endswith((".dl", ONNX))]
    return found | {main}


class _Importer:
    """Reads imported files. ``folder`` is that of the main file: nothing outside it is read."""

    def __init__(self, folder: Path, sink: Sink, reader: Reader) -> None:
        self.folder = folder
        self.sink = sink
        self.reader = reader
        self.imported = Imported()
        self._known: dict[Path, Declarations | None] = {}
        self._open: list[tuple[Path, Span]] = []

    def declare(self, file: tree.File, path: Path, overrides: Mapping[str, str] | None = None) -> Declarations:
        imports = [(statement, self._import(statement, path)) for statement in file.imports]
        return Declarations(file, self.sink, overrides, imports, self.folder)

    def _import(self, statement: tree.Import, importer: Path) -> Declarations | Foreign | None:
        source = statement.source
        path = self._library_file(source) if isinstance(source, tree.ModuleName) else self._file(source, importer)
        if path is None:
            return None
        real = path.resolve()
        if isinstance(source, tree.String) and source.value.endswith(ONNX):
            return self._network(statement, source, path)
        if real in (place for place, _ in self._open) or real == importer.resolve():
            self._report_cycle(statement, real, importer)
            return None
        if real not in self._known:
            self._open.append((importer.resolve(), statement.span))
            self._known[real] = self._read(path, statement)
            self._open.pop()
        if isinstance(source, tree.String):
            self.imported.targets[source.span] = real
        return self._known[real]

    def _network(self, statement: tree.Import, source: tree.String, path: Path) -> Foreign | None:
        """The model that an ONNX file is; each import statement makes one of its own, with the weights of its name."""
        alias = statement.alias
        if alias is None:
            word = "".join(part.capitalize() for part in re.findall(r"[A-Za-z0-9]+", path.stem)) or "Net"
            help = f'write import "{source.value}" as {word if word[0].isalpha() else f"Net{word}"}'
            title = f"{source.value} needs a name: it becomes a model"
            self.sink.report(error("E0204", title, statement.span, "what is it called?", help=help))
            return None
        real = path.resolve()
        self.imported.targets[source.span] = real
        if real not in self.imported.networks:
            try:
                self.imported.networks[real] = self.reader(path)
            except DiagnosticError as refused:
                for diagnostic in refused.diagnostics:
                    self.sink.report(replace(diagnostic, primary=Label(source.span, "imported here")))
                return None
        made = Foreign(alias.name, source.value, alias.span, self.imported.networks[real])
        self.imported.foreign.append(made)
        return made

    def _read(self, path: Path, statement: tree.Import) -> Declarations | None:
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise OSError("the file is too large to be a source text")
            name = f"std.{path.stem}" if path.parent == LIBRARY else str(path)
            source = source_from_bytes(name, path.read_bytes())
        except OSError as problem:
            reason = problem.strerror or str(problem)
            self.sink.report(error("E0204", f"cannot read {path}: {reason}", statement.source.span))
            return None
        except DiagnosticError as broken:
            for diagnostic in broken.diagnostics:
                self.sink.report(diagnostic)
            return None
        before = len(self.sink.errors)
        file = parse(source, self.sink)
        if isinstance(statement.source, tree.String):
            self.imported.sources[path.resolve()] = source
        return self.declare(file, path) if len(self.sink.errors) == before else None

    def _file(self, name: tree.String, importer: Path) -> Path | None:
        if not name.value.endswith((".dl", ONNX)):
            detail = "only .dl and .onnx files can be imported"
            self.sink.report(error("E0204", f"cannot import {name.value}", name.span, detail))
            return None
        path = importer.parent / name.value
        if not path.resolve().is_relative_to(self.folder.resolve()):
            self.sink.report(
                error(
                    "E0204",
                    f"{name.value} lies outside the folder of the main file",
                    name.span,
                    "not read",
                    help="copy the file into the folder, or below it",
                )
            )
            return None
        if path.is_file():
            return path
        if path.is_dir():
            found = error("E0204", f"{name.value} is a folder", name.span, "not a file", help="name a file in it")
            self.sink.report(found)
            return None
        near = did_you_mean(path.name, [other.name for other in path.parent.glob(f"*{path.suffix}")])
        help = (f"did you mean {near}?",) if near else ()
        self.sink.report(error("E0204", f"there is no file {name.value}", name.span, "not found", help=help))
        return None

    def _library_file(self, module: tree.ModuleName) -> Path | None:
        known = library()
        name = ".".join(part.name for part in module.parts)
        if name in known:
            return known[name]
        near = did_you_mean(name, known)
        listed = f"did you mean {near}?" if near else f"there is {', '.join(known)}"
        help = f'a file is named in quotes: import "{name}"' if name.endswith(".dl") else listed
        self.sink.report(
            error("E0204", f"the standard library has no module {name}", module.span, "not found", help=help)
        )
        return None

    def _report_cycle(self, statement: tree.Import, real: Path, importer: Path) -> None:
        places = [place for place, _ in self._open] + [importer.resolve()]
        cycle = [*places[places.index(real) :], real]
        labels = [Label(span, "imported here") for place, span in self._open if place in cycle]
        self.sink.report(
            error(
                "E0205",
                f"files import each other: {' -> '.join(path.name for path in cycle)}",
                statement.span,
                "this closes the circle",
                labels=labels,
                help="move what both need into a third file",
            )
        )
