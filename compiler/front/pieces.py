"""What the formatter knows of the parts of a text before they are laid out, and the columns that they form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from lark import Token

from compiler.front.layout import Comment, Doc, concat, group

DIGITS = tuple(".0123456789")

Child: TypeAlias = "Token | Doc | Pair | Row | Statement | Body | If | Declaration"


@dataclass(frozen=True, slots=True)
class Pair:
    """`kernel=3` among arguments, `error = mae(a, b)` among measures."""

    name: Doc
    sign: Doc
    value: Doc


@dataclass(frozen=True, slots=True)
class Row:
    """A list or tuple. Where it has `cells`, texts without comments, it may be a row of a table."""

    doc: Doc
    before: tuple[Doc, ...]  # comments
    cells: tuple[str, ...]
    brackets: str
    after: tuple[Comment, ...]
    spaced: bool  # whether there are more blanks in it than there have to be


@dataclass(frozen=True, slots=True)
class Statement:
    """`batch 64`: a word of a train block and what it is followed by."""

    word: str
    rest: Doc
    spaced: bool  # whether there are more blanks between them than there have to be


@dataclass(frozen=True, slots=True)
class Body:
    """What stands in braces, with them: its line ends belong to the group that it is put into."""

    doc: Doc
    after: tuple[Comment, ...]  # on the line of the closing brace


@dataclass(frozen=True, slots=True)
class If:
    """`if c { … } else { … }`: the parts are its bodies and what stands between them, which form one group."""

    head: Doc
    parts: tuple[Doc, ...]
    after: tuple[Comment, ...]
    forced: bool

    @property
    def doc(self) -> Doc:
        return concat(self.head, replace(group(*self.parts), forced=self.forced), *self.after)


@dataclass(frozen=True, slots=True)
class Declaration:
    """A model, block or train block; one of several lines has empty lines around it."""

    doc: Doc
    tall: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A statement, or a comment on a line of its own, in a file or body."""

    content: Child
    after_blank: bool


def align_statements(entries: Sequence[Entry]) -> list[Entry]:
    """The entries; of statements right below each other, one of which was set apart from its word, all are."""
    aligned: list[Entry] = []
    start = 0
    for end in range(1, len(entries) + 1):
        if end < len(entries) and isinstance(entries[end].content, Statement) and not entries[end].after_blank:
            continue
        run = entries[start:end]
        found = [entry.content for entry in run if isinstance(entry.content, Statement)]
        width = max((len(statement.word) for statement in found), default=0)
        if not any(statement.spaced for statement in found):
            width = 0
        for entry in run:
            match entry.content:
                case Statement() as statement:
                    aligned.append(replace(entry, content=replace(statement, word=f"{statement.word:<{width}}")))
                case _:
                    aligned.append(entry)
        start = end
    return aligned


def align_rows(children: Sequence[Child]) -> Sequence[Child]:
    """What stands in a list; the columns of a table whose cells were set below each other stay so, numbers to the
    right."""
    rows = [child for child in children[::2] if isinstance(child, Row)]
    if len(rows) < len(children[::2]) or len({len(row.cells) for row in rows}) != 1 or len(rows[0].cells) < 2:
        return children
    if len(rows) < 2 or not any(row.spaced for row in rows):
        return children
    padded: list[Child] = list(children)
    columns = [list(column) for column in zip(*(row.cells for row in rows), strict=True)]
    for index, (row, cells) in enumerate(zip(rows, _lines(columns), strict=True)):
        padded[2 * index] = concat(*row.before, f"{row.brackets[0]}{cells}{row.brackets[1]}", *row.after)
    return padded


def _lines(columns: Sequence[Sequence[str]]) -> list[str]:
    """The rows of columns, with commas; numbers stand to the right."""
    padded = []
    for column in columns:
        last = column is columns[-1]
        texts = column if last else [f"{cell}," for cell in column]
        width = max(map(len, texts))
        if all(cell.startswith((*DIGITS, "-")) for cell in column):
            padded.append([text.rjust(width) for text in texts])
        else:
            padded.append(list(texts) if last else [text.ljust(width) for text in texts])
    return [" ".join(cells) for cells in zip(*padded, strict=True)]
