"""A model file and the programs that are made of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import compiler
from compiler.diagnostics import Diagnostic, DiagnosticError, Sink, Source, did_you_mean, error
from compiler.front import tree
from compiler.front.parse import parse, source_from_bytes
from compiler.front.resolve import resolve
from compiler.program import ModelProgram, TrainProgram
from runtime.disk.files import reason


@dataclass(frozen=True)
class Project:
    """A checked source, ``folder`` where its paths start, and its programs, each compiled once."""

    checked: compiler.Checked
    folder: Path
    _models: dict[str, ModelProgram] = field(default_factory=dict, repr=False)
    _trains: dict[tuple[str, bool | None], TrainProgram] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process reads the text again: what is made of it can't go there."""
        return _checked_again, (self.source.name, self.source.text, dict(self.checked.overrides), self.folder)

    def __deepcopy__(self, _memo: object) -> Project:
        return self

    @property
    def source(self) -> Source:
        return self.checked.source

    @property
    def constants(self) -> tuple[str, ...]:
        """The names of the file's own constants, which can be set from outside."""
        sink = Sink()
        return tuple(node.name.name for node in parse(self.source, sink).declarations if isinstance(node, tree.Const))

    @property
    def text(self) -> str:
        """The source text with the constants that were set from outside in place."""
        return resolve(self.source, self.checked.overrides)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the text, and of the files that it imports in the order in which it does."""
        imported = self.checked.elaborated.imported
        texts = [self.text, *(source.text for source in imported.sources.values())]
        digest = hashlib.sha256("".join(texts).encode())
        for network in imported.networks.values():
            for parts in network.files("").values():
                for part in parts:
                    digest.update(part)
        return digest.hexdigest()

    def model(self, name: str | None = None) -> ModelProgram:
        """The model ``name``, or the only one. Raises DiagnosticError E0203 where that is not clear."""
        name = name or _only("model", self.checked.models, self.source, "--model {0}, or model={0!r} from Python")
        if name not in self._models:
            self._models[name] = compiler.compile_model(self.checked, name)
        return self._models[name]

    def train(self, name: str | None = None, *, accumulates: bool | None = None) -> TrainProgram:
        """The train block ``name``, or the only one; its steps can take several batches where ``accumulates`` says
        so, by default where it does. Raises DiagnosticError E0203 where that is not clear."""
        name = name or _only(
            "train block", self.checked.trains, self.source, "{0} behind the file, or train={0!r} from Python"
        )
        if (name, accumulates) not in self._trains:
            self._trains[name, accumulates] = compiler.compile_train(self.checked, name, accumulates=accumulates)
        return self._trains[name, accumulates]


def open_project(path: Path, constants: Mapping[str, str] | None = None) -> Project:
    """The model file at ``path``, checked, with ``constants`` set to the values of these texts.

    Raises DiagnosticError: E0809 where the file can't be read, and everything that is wrong with it.
    """
    source = source_from_bytes(str(path), read_model_file(path))
    return Project(compiler.check(source, constants), path.parent)


def read_model_file(path: Path) -> bytes:
    """The content of a model file. Raises DiagnosticError E0809 where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as failure:
        raise DiagnosticError([_unreadable(path, failure)]) from failure


def project_of_text(text: str, folder: Path, constants: Mapping[str, str] | None = None) -> Project:
    """A project of a source text without a file; paths in it start at ``folder``. Raises DiagnosticError."""
    source = Source(str(folder / "<text>"), text)
    return Project(compiler.check(source, constants), folder)


def _checked_again(name: str, text: str, constants: Mapping[str, str], folder: Path) -> Project:
    return Project(compiler.check(Source(name, text), constants), folder)


def constant_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Python values as they are written in a model file. Raises TypeError for what can't stand there."""
    return {name: constant_text(value) for name, value in values.items()}


def constant_text(value: Any) -> str:
    """A Python value as it is written in a model file. Raises TypeError for what can't stand there."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Sequence):
        return f"[{', '.join(map(constant_text, value))}]"
    raise TypeError(f"a constant is a number, a text, true or false, or a list of such, not {type(value).__name__}")


def _only(kind: str, names: Sequence[str], source: Source, how: str) -> str:
    if len(names) == 1:
        return names[0]
    title = f"{source.name} has {len(names)} {kind}s: {', '.join(names)}" if names else f"{source.name} has no {kind}"
    advice = f"say which one, such as {how.format(names[0])}" if names else f"write a {kind}, or take another file"
    raise DiagnosticError([error("E0203", title, None, help=advice)])


def _unreadable(path: Path, failure: OSError) -> Diagnostic:
    neighbours = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    models = sorted(name for name in neighbours if name.endswith(".dl"))
    near = did_you_mean(path.name, models)
    if isinstance(failure, FileNotFoundError):
        listed = f"model files there: {', '.join(models[:8])}" if models else "model files end in .dl"
        advice = f"did you mean {path.with_name(near)}?" if near else listed
        return error("E0809", f"there is no file {path}", None, help=advice)
    advice = "name a file in it" if path.is_dir() else "see whether the path is right and you may read it"
    return error("E0809", f"cannot read {path}: {reason(failure)}", None, help=advice)
