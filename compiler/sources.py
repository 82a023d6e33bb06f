"""What the statements `data`, `validate` and `test` say, for the runtime to read and to write down again.

The front end makes these of calls such as ``csv("iris.csv", label=categories("species"))``: the catalogue checks their
names and arguments, and nothing is read before a program runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

SplitKind: TypeAlias = Literal["shuffled", "stratified", "grouped", "last"]


class DataPath(str):
    """The path of a file or folder with data; a relative one starts at the folder of the model file."""

    __slots__ = ()


# The parameters that are given by position.
_FIRST = ("path", "column")


@dataclass(frozen=True)
class Written:
    """A call as it stands in a model file: ``arguments`` are all of them by name, ``shown`` the names of those that do
    not have their defaults. ``inputs`` are those given for inputs of the train block."""

    name: str
    arguments: Mapping[str, Any]
    shown: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def text(self, move: Callable[[str], str] = str) -> str:
        """The call in the language; ``move`` gives the text that a path is written as."""
        given = {**{key: self.arguments[key] for key in self.shown}, **self.inputs}
        parts = (f"{key}={_text(value, move)}" for key, value in given.items() if key not in _FIRST)
        first = (_text(given[key], move) for key in _FIRST if key in given)
        return f"{self.name}({', '.join([*first, *parts])})"


@dataclass(frozen=True)
class Encoding(Written):
    """How a column becomes numbers: ``categories("species")``."""


@dataclass(frozen=True)
class DataSource(Written):
    """Data that the reader ``name`` reads: ``text("shakespeare.txt", window=64)``."""

    @property
    def path(self) -> str | None:
        """The one file or folder it reads, where it is one."""
        path = self.arguments.get("path")
        return None if path is None else str(path)

    def at(self, path: str) -> DataSource:
        """Another file or folder, read in the same way."""
        return replace(self, arguments={**self.arguments, "path": DataPath(path)})


@dataclass(frozen=True)
class Share:
    """A part of the samples set apart: ``share`` above 0 and below 1, chosen as ``kind`` says; ``by`` names the array
    that says which samples are alike (stratified) or belong together (grouped)."""

    kind: SplitKind
    share: float
    by: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {100 * self.share:g}%" + (f" by {self.by}" if self.by else "")

    def text(self) -> str:
        """The call in the language."""
        return f"{self.kind}({self.share!r}{f', by={json.dumps(self.by, ensure_ascii=False)}' if self.by else ''})"


# What `data` takes, and what `validate` and `test` take: a plain number is a share chosen in the way that suits the
# data, and a plain text a file, of which the kind is told by what it is.
DataSetting: TypeAlias = str | DataSource
SetAsideSetting: TypeAlias = float | Share | str | DataSource


def plain_split(source: DataSetting | None) -> SplitKind:
    """How a plain share is chosen: windows of a text overlap, so that what is set apart has to be its last part; other
    samples are shuffled."""
    return "last" if isinstance(source, DataSource) and source.name == "text" else "shuffled"


def shown(setting: SetAsideSetting, move: Callable[[str], str] = str) -> str:
    """The setting as it is written in a model file; ``move`` gives the text that a path is written as."""
    if isinstance(setting, float):
        return repr(setting)
    if isinstance(setting, Share):
        return setting.text()
    return setting.text(move) if isinstance(setting, DataSource) else _text(DataPath(setting), move)


def _text(value: Any, move: Callable[[str], str]) -> str:
    if isinstance(value, Written):
        return value.text(move)
    if isinstance(value, DataPath):
        return json.dumps(move(value), ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_text(part, move) for part in value)}]"
    return repr(value) if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)
