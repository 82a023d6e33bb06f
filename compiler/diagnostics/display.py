"""How a source line is shown: tabs and odd characters replaced, long lines cut, columns counted as a terminal does.
And how a text from elsewhere is: without what a terminal would obey."""

import re
import unicodedata
from collections.abc import Sequence

_TAB = "    "
_MAXIMUM = 110  # columns of source shown; longer lines are cut to what surrounds the marks
_CONTEXT = 30  # columns kept before the first mark of a cut line
_CUT = "…"
# Control characters but for tabs and the ends of lines, those that turn the direction of writing around, and halves of
# characters.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    """``text`` with what a terminal would obey, rather than show, written as ``\\u001b``: names and labels of files
    from elsewhere may hold sequences that hide lines, or type for whoever reads them. JSON says the same as before, as
    this is its own way to write such a character."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Excerpt:
    """The shown form of one line, and where its characters ended up in it.

    `ranges` are the marked character ranges of the line; they decide which part of a long line is kept.
    """

    def __init__(self, line: str, ranges: Sequence[tuple[int, int]]) -> None:
        shown = [_shown(character) for character in line]
        self._edges = [0]
        for text in shown:
            self._edges.append(self._edges[-1] + _width(text))
        first, last = 0, len(shown)
        if self._edges[-1] > _MAXIMUM:
            first, last = self._window(min(start for start, _ in ranges))
        self._first, self._last = first, last
        self._lead = len(_CUT) if first > 0 else 0
        tail = _CUT if last < len(shown) else ""
        self.text = _CUT * (first > 0) + "".join(shown[first:last]) + tail

    def _window(self, marked: int) -> tuple[int, int]:
        """The characters kept of a line that is too long: some before the first mark, the rest after it."""
        edges, count = self._edges, len(self._edges) - 1
        left = max(0, min(edges[min(marked, count)] - _CONTEXT, edges[-1] - _MAXIMUM))
        first = next(index for index in range(count + 1) if edges[index] >= left)
        last = max(index for index in range(first, count + 1) if edges[index] - edges[first] <= _MAXIMUM)
        return first, last

    def columns(self, start: int, end: int) -> tuple[int, int]:
        """For a range of characters: columns of the shown line before it, and columns it covers, at least one.

        A range that leaves the kept part is cut at its edge; the mark of cutting counts as covered then.
        """
        inside = [min(max(offset, self._first), self._last) for offset in (start, end)]
        offset = self._edges[self._first] - self._lead
        left, right = (self._edges[index] - offset for index in inside)
        if start < self._first:
            left -= self._lead
        if end > self._last < len(self._edges) - 1:
            right += len(_CUT)
        return left, max(1, right - left)


def _shown(character: str) -> str:
    if character == "\t":
        return _TAB
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return "\N{REPLACEMENT CHARACTER}"
    return character


def _width(text: str) -> int:
    """Terminal columns: wide East Asian characters take two, combining ones none."""
    columns = 0
    for character in text:
        if unicodedata.east_asian_width(character) in "WF":
            columns += 2
        elif not unicodedata.combining(character):
            columns += 1
    return columns
