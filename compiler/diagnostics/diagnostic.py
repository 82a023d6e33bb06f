"""One thing that is told to the user about their source, data or files."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from compiler.diagnostics.codes import all_codes
from compiler.diagnostics.source import Span

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Label:
    """A place and what is to be said about it; the text may be empty."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A mistake (or a warning) with its code, its place and the places that led to it.

    `primary` is None where there is no source to point at, as for a broken data file. `notes` say what is known,
    `help` says what to do. A code without an entry in the catalogue is refused with ValueError.
    """

    code: str
    title: str
    primary: Label | None
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: tuple[str, ...] = ()
    severity: Severity = "error"

    def __post_init__(self) -> None:
        if self.code not in all_codes():
            raise ValueError(f"diagnostic code {self.code} has no entry in the catalogue")


def error(
    code: str,
    title: str,
    at: Span | None,
    text: str = "",
    *,
    labels: Iterable[Label] = (),
    notes: str | Iterable[str] = (),
    help: str | Iterable[str] = (),
) -> Diagnostic:
    """An error at `at`, where `text` stands under the marks; one note or help may be a plain string."""
    primary = None if at is None else Label(at, text)
    return Diagnostic(code, title, primary, tuple(labels), _lines(notes), _lines(help), "error")


def warning(
    code: str,
    title: str,
    at: Span | None,
    text: str = "",
    *,
    labels: Iterable[Label] = (),
    notes: str | Iterable[str] = (),
    help: str | Iterable[str] = (),
) -> Diagnostic:
    """A warning; the arguments are those of `error`."""
    primary = None if at is None else Label(at, text)
    return Diagnostic(code, title, primary, tuple(labels), _lines(notes), _lines(help), "warning")


def _lines(texts: str | Iterable[str]) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)
