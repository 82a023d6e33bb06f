"""Diagnostics as text, in the manner of rustc: the source lines in question with marks and words under them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from compiler.diagnostics.diagnostic import Diagnostic, Label, Severity
from compiler.diagnostics.display import Excerpt, harmless
from compiler.diagnostics.source import Source, Span

_LONGEST = 2_000  # characters of a line, of which a name from elsewhere may have millions
_RESET = "\x1b[0m"
_COLOURS = {
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "frame": "\x1b[1;34m",
    "help": "\x1b[1;36m",
    "bold": "\x1b[1m",
}


def render(diagnostics: Iterable[Diagnostic], colour: bool = False) -> str:
    """All of `diagnostics`, a blank line between them, and a line that counts them where there are several.

    With `colour` the text carries ANSI sequences for a terminal. There is no final newline.
    """
    shown = tuple(diagnostics)
    pen = _Pen(colour)
    blocks = ["\n".join(_Report(diagnostic, pen).lines()) for diagnostic in shown]
    if len(shown) > 1:
        blocks.append(pen.paint("bold", _summary(shown)))
    return "\n\n".join(blocks)


def _summary(diagnostics: Sequence[Diagnostic]) -> str:
    counts = []
    severities: tuple[Severity, ...] = ("error", "warning")
    for severity in severities:
        count = sum(diagnostic.severity == severity for diagnostic in diagnostics)
        if count:
            counts.append(f"{count} {severity}{'s' if count > 1 else ''}")
    return ", ".join(counts)


@dataclass(frozen=True, slots=True)
class _Pen:
    colour: bool

    def paint(self, style: str, text: str) -> str:
        return f"{_COLOURS[style]}{text}{_RESET}" if self.colour and text else text


@dataclass(frozen=True, slots=True)
class _Mark:
    """Marks under one line: the columns they cover (offsets in the line) and what is said after them."""

    line: int
    start: int
    end: int
    text: str
    primary: bool
    goes_on: bool


class _Report:
    """One diagnostic being laid out."""

    def __init__(self, diagnostic: Diagnostic, pen: _Pen) -> None:
        self.diagnostic = diagnostic
        self.pen = pen
        self.labels = ([diagnostic.primary] if diagnostic.primary else []) + list(diagnostic.labels)
        last_line = max((_last_line(label.span) for label in self.labels), default=1)
        self.width = len(str(last_line))

    def lines(self) -> Iterator[str]:
        severity = self.diagnostic.severity
        head = self.pen.paint(severity, f"{severity}[{self.diagnostic.code}]")
        yield head + self.pen.paint("bold", f": {_told(self.diagnostic.title)}")
        for position, source in enumerate(dict.fromkeys(label.span.source for label in self.labels)):
            yield from self._snippet(source, first=position == 0)
        if self.labels and (self.diagnostic.notes or self.diagnostic.help):
            yield self._gutter()
        for note in self.diagnostic.notes:
            yield from self._footer("note", note)
        for advice in self.diagnostic.help:
            yield from self._footer("help", advice)

    def _snippet(self, source: Source, first: bool) -> Iterator[str]:
        labels = [label for label in self.labels if label.span.source is source]
        line, column = source.location(labels[0].span.start)
        arrow = self.pen.paint("frame", " " * self.width + ("-->" if first else ":::"))
        yield f"{arrow} {_told(source.name)}:{line}:{column}"
        yield self._gutter()
        marks = [mark for label in labels for mark in _marks(label, label is self.diagnostic.primary)]
        for number in sorted({mark.line for mark in marks}):
            yield from self._line(source, number, [mark for mark in marks if mark.line == number])

    def _line(self, source: Source, number: int, marks: list[_Mark]) -> Iterator[str]:
        excerpt = Excerpt(source.line(number), [(mark.start, mark.end) for mark in marks])
        yield self._gutter(str(number), excerpt.text)
        for mark in sorted(marks, key=lambda mark: (not mark.primary, mark.start, mark.end)):
            before, length = excerpt.columns(mark.start, mark.end)
            underline = ("^" if mark.primary else "-") * length
            style = self.diagnostic.severity if mark.primary else "frame"
            words = self.pen.paint(style, f"{underline} {_told(mark.text)}".rstrip())
            yield self._gutter("", " " * before + words)
        if any(mark.goes_on for mark in marks):
            yield self.pen.paint("frame", "...")

    def _gutter(self, number: str = "", text: str = "") -> str:
        frame = self.pen.paint("frame", f"{number:>{self.width}} |")
        return f"{frame} {text}".rstrip()

    def _footer(self, kind: str, text: str) -> Iterator[str]:
        first, *others = map(_told, text.split("\n"))
        frame = self.pen.paint("frame", " " * self.width + " =")
        yield f"{frame} {self.pen.paint('help' if kind == 'help' else 'bold', kind + ':')} {first}".rstrip()
        for other in others:
            yield (" " * (self.width + len(" = : ") + len(kind)) + other).rstrip()


def _told(line: str) -> str:
    """One line of a message, whatever is quoted in it."""
    shown = harmless(line).replace("\n", "\\n")
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST // 2]} … {shown[-_LONGEST // 2 :]}"


def _last_line(span: Span) -> int:
    return span.source.location(max(span.start, span.end - 1))[0]


def _marks(label: Label, primary: bool) -> Iterator[_Mark]:
    """A span of one line is one mark; a longer one is marked on its first and on its last line."""
    source, start, end = label.span.source, label.span.start, label.span.end
    first, last = label.span.line, _last_line(label.span)
    start_column = start - source.line_start(first)
    if first == last:
        yield _Mark(first, start_column, end - source.line_start(first), label.text, primary, False)
        return
    yield _Mark(first, start_column, len(source.line(first)), "", primary, last > first + 1)
    text = source.line(last)
    indent = len(text) - len(text.lstrip())
    yield _Mark(last, indent, max(indent, end - source.line_start(last)), label.text, primary, False)
