"""What stands between the tokens of a text and has no meaning: comments, line ends and empty lines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lark import Token, Tree

from compiler.diagnostics import Source
from compiler.front.layout import COMMENT_GAP, INDENT, Comment, Doc, Line

SEPARATORS = ("_NEWLINE", "SEMICOLON")
_BLANKS = re.compile(r"[ \t]*+")
_PIECE = re.compile(r"(?P<line_end>\r\n?|\n)|(?P<comment>#[^\r\n]*)")


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment on a line of its own."""

    comment: Comment
    after_blank: bool  # whether an empty line stands before it


@dataclass(frozen=True, slots=True)
class Gap:
    """What stands between two tokens."""

    trailing: tuple[Comment, ...] = ()  # the comment on the line of the first token, if there is one
    own: tuple[Remark, ...] = ()  # the others
    broken: bool = False  # whether there is a line end in it
    ends_blank: bool = False  # whether an empty line stands at its end

    def own_lines(self) -> tuple[Doc, ...]:
        """The comments on lines of their own, as they stand before a token."""
        return tuple(part for remark in self.own for part in (remark.comment, Line(forced=True)))

    def holds_comments(self) -> bool:
        return bool(self.trailing or self.own)


_EMPTY = Gap()


class Gaps:
    """The gaps of a text. Line ends and semicolons between statements are parts of them, though they are tokens."""

    def __init__(self, source: Source, concrete: Tree[Token]) -> None:
        self._source = source
        self._before: dict[int | None, Gap] = {}
        self._after: dict[int | None, Gap] = {}
        end = 0
        separators: list[int | None] = []
        for token in _tokens(concrete):
            if token.type in SEPARATORS:
                separators.append(token.start_pos)
                continue
            self._note(end, token.start_pos or 0, separators)
            separators = []
            end = token.end_pos or 0
        self._note(end, len(source.text), separators)

    def before(self, token: Token) -> Gap:
        """The gap before a token, where no statement begins or ends with it; the gap that a separator is in."""
        return self._before.get(token.start_pos, _EMPTY)

    def after(self, token: Token) -> Gap:
        """The gap after a token."""
        return self._after.get(token.end_pos, _EMPTY)

    def at_end(self) -> Gap:
        """The gap after the last token of the text, where no separator stands in it."""
        return self._before.get(len(self._source.text), _EMPTY)

    def blanks_after(self, token: Token) -> int:
        """How many blanks stand right after a token."""
        found = _BLANKS.match(self._source.text, token.end_pos or 0)
        return len(found[0]) if found else 0

    def broken_around(self, token: Token) -> bool:
        """Whether a line ends right before or right after a token."""
        return self.before(token).broken or self.after(token).broken

    def _note(self, start: int, end: int, separators: list[int | None]) -> None:
        gap = self._read(start, end)
        self._after[start] = gap
        self._before.update(dict.fromkeys(separators or [end], gap))

    def _read(self, start: int, end: int) -> Gap:
        trailing: tuple[Comment, ...] = ()
        own: list[Remark] = []
        line_ends = 0
        broken = start == 0
        for piece in _PIECE.finditer(self._source.text, start, end):
            if piece["line_end"]:
                line_ends += 1
                broken = True
                continue
            text = piece[0].rstrip(" \t")
            if broken:
                own.append(Remark(Comment(text, trailing=False), line_ends > 1))
            else:
                column = self._column(piece.start())
                apart = column > self._column(start) + COMMENT_GAP
                trailing = (Comment(text, trailing=True, column=column, apart=apart),)
            line_ends = 0
        return Gap(trailing, tuple(own), broken, line_ends > 1) if broken or trailing else _EMPTY

    def _column(self, place: int) -> int:
        """The column of what stands at an offset, from 0."""
        start = self._source.line_start(self._source.location(place)[0])
        return len(self._source.text[start:place].expandtabs(INDENT))


def _tokens(tree: Tree[Token]) -> list[Token]:
    """The tokens of a tree, in order."""
    found: list[Token] = []
    waiting: list[Token | Tree[Token]] = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Token):
            found.append(item)
        else:
            waiting += reversed(item.children)
    return found
