"""The canonical layout of a `.dl` file, which `dlc fmt` writes. What it means and its comments stay as they are.

Statements stand on lines of their own, indented by four columns for each body around them. A body stays on one line
if it was on one and fits. Lines go on with `->` below the first arrow where they were broken there, or would be longer
than `WIDTH` columns; where that is not enough, brackets are opened up, their contents indented and followed by a
comma. Empty lines are kept, one where there were several, and stand around declarations of several lines. Comments
after code keep their column, so that what stood below each other still does, and are two columns away at least.
Numbers and strings are as they were written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias

from lark import Lark, Token
from lark.visitors import Transformer_NonRecursive

from compiler.diagnostics import Sink, Source
from compiler.front.layout import Comment, Doc, Group, IfBroken, Indent, Line, Next, chain, concat, group, render
from compiler.front.parse import Layout, parse
from compiler.front.trivia import SEPARATORS, Gap, Gaps
from grammar import tables

WIDTH = 100
_CLOSING = ("RPAR", "RSQB")

Child: TypeAlias = "Token | Doc | _Pair | _Body | _Tall"


def format_source(source: Source) -> str:
    """The text of `source` in its canonical layout. Raises DiagnosticError where it has syntax errors.

    Takes time in proportion to the length of the text. The result has the same tree, up to places, and the same
    comments in the same order; formatted again it stays as it is. Its lines end with a line feed.
    """
    sink = Sink()
    parse(source, sink)
    sink.finish()
    concrete = _parser().parse(source.text)
    return render(_Formatter(Gaps(source, concrete)).transform(concrete), WIDTH)


@cache
def _parser() -> Lark:
    """The parser of the language, giving trees that keep everything but spaces and comments."""
    return tables.load(postlex=Layout())


@dataclass(frozen=True, slots=True)
class _Pair:
    """`kernel=3` among arguments, `error = mae(a, b)` among measures."""

    name: Doc
    sign: Doc
    value: Doc


@dataclass(frozen=True, slots=True)
class _Body:
    """What stands in braces, with them. Its lines belong to the group that it is put into."""

    doc: Doc
    after: tuple[Comment, ...]  # on the line of the closing brace


@dataclass(frozen=True, slots=True)
class _Tall:
    """A declaration of several lines, which empty lines stand around."""

    doc: Doc


@dataclass(frozen=True, slots=True)
class _Entry:
    """A statement, or a comment on a line of its own, in a file or body."""

    content: Doc | _Tall
    after_blank: bool
    forced: bool  # whether it has to begin a line


class _Formatter(Transformer_NonRecursive[Token, Doc]):
    """From what was written to a document, with one method for each rule that is more than words side by side."""

    def __init__(self, gaps: Gaps) -> None:
        super().__init__(visit_tokens=False)
        self.gaps = gaps

    def __default__(self, data: object, children: Sequence[Child], meta: object) -> Doc:
        """Words side by side, commas close to what stands before them."""
        parts: list[Doc] = []
        for child in children:
            if parts and not (isinstance(child, Token) and child.type == "COMMA"):
                parts.append(" ")
            parts.append(self._doc(child))
        return concat(*parts)

    # Files, declarations and bodies

    def start(self, children: Sequence[Child]) -> Doc:
        parts: list[Doc] = []
        paragraph: list[Doc] = []  # what stands between two empty lines
        tall = False  # whether the declaration before takes several lines
        entries = list(self._entries(children, self.gaps.at_end()))
        for index, entry in enumerate(entries):
            apart = tall and not any(later.after_blank for later in _up_to_statement(entries[index:]))
            

    def _entries(self, children: Sequence[Child], gap: Gap) -> Iterator[_Entry]:
        """Statements, and the comments between them. `gap` is the one before the first separator."""
