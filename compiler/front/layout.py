"""Documents, texts that know where their lines may break, and how they are laid out in a number of columns.

After Wadler, A prettier printer, 2003, and Oppen, Prettyprinting, 1980. A text that was broken by hand stays broken
there (`forced`), so laying out what was laid out before changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias

INDENT = 4
_FURTHEST_ARROW = 32  # columns beyond the indentation up to which the arrows of a chain stand below its first one
COMMENT_GAP = 2  # columns at least, between code and the comment after it


@dataclass(frozen=True, slots=True)
class Line:
    """A place for a line end: `flat` stands there where the group around it fits on one line."""

    flat: str = " "
    forced: bool = False
    blank: bool = False  # with an empty line


@dataclass(frozen=True, slots=True)
class Next:
    """What follows a text, `flat` between them if it fits there as a whole, on a line of its own if it does not."""

    content: Doc
    flat: str = " "
    forced: bool = False
    deeper: bool = False  # whether that line is indented by one more level


@dataclass(frozen=True, slots=True)
class IfBroken:
    """Text that stands there only where the group around it takes several lines."""

    text: str


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a line of its own, or `trailing`: then what follows on its line is put before it."""

    text: str
    trailing: bool
    column: int = 0  # where it stood in the source, from 0
    apart: bool = False  # whether it stood further from the code than it has to


@dataclass(frozen=True, slots=True)
class Indent:
    """Something whose new lines are indented by one more level."""

    content: Doc


@dataclass(frozen=True, slots=True)
class Concat:
    """Parts one after the other."""

    parts: tuple[Doc, ...]
    forced: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Parts on one line, where they fit and no line end in them is forced; else all of its own `Line`s end lines."""

    parts: tuple[Doc, ...]
    forced: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """A text and what follows it with arrows; those that begin lines stand below the first one, if there is room."""

    first: Doc
    steps: tuple[Next, ...]
    forced: bool


Doc: TypeAlias = str | Line | Next | IfBroken | Comment | Indent | Concat | Group | Chain


def is_forced(doc: Doc) -> bool:
    """Whether `doc` takes several lines however much room there is."""
    match doc:
        case str() | IfBroken():
            return False
        case Comment():
            return True
        case Indent():
            return is_forced(doc.content)
        case Next():
            return doc.forced or is_forced(doc.content)
        case _:
            return doc.forced


def concat(*parts: Doc) -> Doc:
    """The parts one after the other: a plain text where all of them are."""
    if all(isinstance(part, str) for part in parts):
        return "".join(part for part in parts if isinstance(part, str))
    return Concat(parts, any(map(is_forced, parts)))


def group(*parts: Doc) -> Group:
    """The parts as a group; a line end forced in any of them breaks it."""
    return Group(parts, any(map(is_forced, parts)))


def chain(first: Doc, steps: list[Next]) -> Chain:
    """A chain of `first` and the steps, each of which begins with its arrow."""
    return Chain(first, tuple(steps), any(map(is_forced, (first, *steps))))


@dataclass(frozen=True, slots=True)
class Page:
    """A text that was laid out; it is `settled` unless comments had to leave the lines that they stood on."""

    text: str
    settled: bool


def render(doc: Doc, width: int) -> Page:
    """`doc` in at most `width` columns where its lines can be broken so; comments may be longer. Ends with a newline.

    Takes time in proportion to the size of `doc`, and needs no recursion.
    """
    return _Printer(width).run(doc)


@dataclass(slots=True)
class _Written:
    """A line, and the comment after it with the column that it had in the source."""

    code: str
    comment: str = ""
    column: int = 0
    apart: bool = False


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps of a chain whose first part has been written since `line`."""

    steps: tuple[Next, ...]
    line: int


_Job: TypeAlias = tuple[int, bool, Doc | _Steps]  # the indentation, whether lines may end, what is to be written


@dataclass(slots=True)
class _Printer:
    width: int
    lines: list[_Written] = field(default_factory=lambda: [_Written("")])
    column: int = 0
    late: list[str] = field(default_factory=list)  # comments that wait for the line end, after the first one
    jobs: list[_Job] = field(default_factory=list)
    settled: bool = True

    def run(self, doc: Doc) -> Page:
        self.jobs.append((0, True, doc))
        while self.jobs:
            indent, broken, item = self.jobs.pop()
            self._write(indent, broken, item)
        self._new_line(0)
        _align_comments(self.lines, self.width)
        texts = (f"{line.code:<{line.column}}{line.comment}".rstrip(" ") for line in self.lines[:-1])
        return Page("".join(f"{text}\n" for text in texts), self.settled)

    def _write(self, indent: int, broken: bool, doc: Doc | _Steps) -> None:
        match doc:
            case str():
                self._text(doc)
            case Line():
                if doc.forced or broken:
                    self._new_line(indent, doc.blank)
                else:
                    self._text(doc.flat)
            case Next():
                self._next(doc, indent, broken)
            case IfBroken():
                self._text(doc.text if broken else "")
            case Comment():
                self._comment(doc, indent)
            case Indent():
                self.jobs.append((indent + INDENT, broken, doc.content))
            case Concat():
                self.jobs += [(indent, broken, part) for part in reversed(doc.parts)]
            case Group():
                breaks = doc.forced or (broken and not self._fits(doc))
                self.jobs += [(indent, breaks, part) for part in reversed(doc.parts)]
            case Chain():
                self.jobs.append((indent, broken, _Steps(doc.steps, len(self.lines))))
                self.jobs.append((indent, broken, doc.first))
            case _Steps():
                arrow = self.column + 1
                aligned = doc.line == len(self.lines) and arrow - indent <= _FURTHEST_ARROW
                deeper = arrow if aligned else indent + INDENT
                self.jobs += [(deeper, broken, step) for step in reversed(doc.steps)]

    def _text(self, text: str) -> None:
        self.lines[-1].code += text
        self.column += len(text)

    def _next(self, following: Next, indent: int, broken: bool) -> None:
        if following.forced or (broken and not self._fits(concat(following.flat, following.content))):
            indent += INDENT * following.deeper
            self._new_line(indent)
        else:
            self._text(following.flat)
        self.jobs.append((indent, broken, following.content))

    def _comment(self, comment: Comment, indent: int) -> None:
        line = self.lines[-1]
        if not comment.trailing:
            if line.code.strip():
                self._new_line(indent)
            self._text(comment.text)
        elif line.comment:
            self.late.append(comment.text)
            self.settled = False
        else:
            line.comment, line.column, line.apart = comment.text, comment.column, comment.apart

    def _new_line(self, indent: int, blank: bool = False) -> None:
        self.lines[-1].code = self.lines[-1].code.rstrip(" ")
        self.lines += [_Written(" " * indent + comment) for comment in self.late]
        self.late.clear()
        if blank:
            self.lines.append(_Written(""))
        self.lines.append(_Written(" " * indent))
        self.column = indent

    def _fits(self, doc: Doc) -> bool:
        """Whether `doc` on one line, and what follows up to the next possible line end, fits on this line."""
        room = self.width - self.column
        waiting: list[tuple[bool, Doc | _Steps]] = [(False, doc)]
        behind = len(self.jobs)
        while room >= 0:
            if not waiting:
                if not behind:
                    return True
                behind -= 1
                waiting.append(self.jobs[behind][1:])
            broken, item = waiting.pop()
            if isinstance(item, str):
                room -= len(item)
            elif _may_end_line(item, broken):
                return True
            else:
                waiting += reversed(_parts(item, broken))
        return False


def _may_end_line(doc: Doc | _Steps, broken: bool) -> bool:
    match doc:
        case Line() | Next():
            return doc.forced or broken
        case Comment():
            return not doc.trailing
        case _:
            return False


def _parts(doc: Doc | _Steps, broken: bool) -> list[tuple[bool, Doc | _Steps]]:
    """What stands for `doc` on a line, with whether lines may end in it."""
    match doc:
        case Line():
            return [(False, doc.flat)]
        case Next():
            return [(False, doc.flat), (False, doc.content)]
        case IfBroken():
            return [(False, doc.text)] if broken else []
        case Indent():
            return [(broken, doc.content)]
        case Concat():
            return [(broken, part) for part in doc.parts]
        case Group():
            return [(broken or doc.forced, part) for part in doc.parts]
        case Chain():
            return [(broken, doc.first), *((broken, step) for step in doc.steps)]
        case _Steps():
            return [(broken, step) for step in doc.steps]
        case _:
            return []


def _align_comments(lines: list[_Written], width: int) -> None:
    """Sets the columns of comments after code: those that stood below each other, or apart, stay where they were."""
    paragraphs = groupby(lines, key=lambda line: bool(line.code or line.comment))
    commented = [[line for line in paragraph if line.comment] for _, paragraph in paragraphs]
    for paragraph in commented:
        for column, below in groupby(paragraph, key=lambda line: line.column):
            run = list(below)
            least = max(len(line.code) for line in run) + COMMENT_GAP
            kept = column if column < width and (len(run) > 1 or run[0].apart) else 0
            for line in run:
                line.column = max(least, kept)
