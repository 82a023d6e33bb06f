"""Source texts and places in them. A place is two offsets; lines and columns are worked out when they are shown."""

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

_LINE_END = re.compile(r"\r\n?|\n")


@dataclass(frozen=True, eq=False)
class Source:
    """One text, compared by identity, under the name the user knows it by (a path as it was given)."""

    name: str
    text: str

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_END.finditer(self.text))]

    @property
    def line_count(self) -> int:
        """The number of lines; the empty line after a final newline counts."""
        return len(self._line_starts)

    def location(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both from 1; a column counts characters."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line_start(self, number: int) -> int:
        """The offset at which line `number` (from 1) begins."""
        return self._line_starts[number - 1]

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line ending."""
        start = self._line_starts[number - 1]
        following = self._line_starts[number] if number < self.line_count else len(self.text)
        return self.text[start:following].rstrip("\r\n")

    def span(self, start: int, end: int) -> "Span":
        """The place from character offset `start` up to, not including, `end`."""
        return Span(self, start, end)

    def __repr__(self) -> str:
        return f"Source({self.name!r}, {len(self.text)} characters)"


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of character offsets in one source."""

    source: Source
    start: int
    end: int

    def join(self, other: "Span") -> "Span":
        """The smallest span holding both; `other` must lie in the same source."""
        if other.source is not self.source:
            raise ValueError(f"spans of {self.source.name} and {other.source.name} cannot be joined")
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))

    @property
    def line(self) -> int:
        """Line of the first character, from 1."""
        return self.source.location(self.start)[0]

    @property
    def column(self) -> int:
        """Column of the first character, from 1."""
        return self.source.location(self.start)[1]

    @property
    def text(self) -> str:
        """The source text the span covers."""
        return self.source.text[self.start : self.end]

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"
