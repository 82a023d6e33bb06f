"""The canonical layout of a `.dl` file, which `dlc fmt` writes. What it means and its comments stay as they are.

Statements stand on lines of their own, indented by four columns for each body around them. A body stays on one line
if it was on one and fits. Lines go on with `->` below the first arrow where they were broken there, or would be longer
than `WIDTH` columns; where that is not enough, brackets are opened up, their contents indented and followed by a
comma. Empty lines are kept, one where there were several, and stand around declarations of several lines. Comments
after code keep their column, so that what stood below each other still does, and are two columns away at least.
Numbers and strings are as they were written. Lists of lists with a row on each line, and statements of train blocks
below each other, stay aligned in columns where they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import zip_longest
from typing import TypeGuard

from lark import Lark, Token
from lark.visitors import Transformer_NonRecursive

from compiler.diagnostics import Sink, Source
from compiler.front.layout import (
    Comment,
    Doc,
    IfBroken,
    Indent,
    Line,
    Next,
    Page,
    chain,
    concat,
    group,
    is_forced,
    render,
)
from compiler.front.parse import Layout, parse
from compiler.front.pieces import (
    DIGITS,
    Body,
    Child,
    Declaration,
    Entry,
    If,
    Pair,
    Row,
    Statement,
    align_rows,
    align_statements,
)
from compiler.front.trivia import SEPARATORS, Gap, Gaps
from grammar import tables

WIDTH = 100


def format_source(source: Source) -> str:
    """The text of `source` in its canonical layout. Raises DiagnosticError where it has syntax errors.

    Takes time in proportion to the length of the text. The result has the same tree, up to places, and the same
    comments in the same order; formatted again it stays as it is. Its lines end with a line feed.
    """
    sink = Sink()
    parse(source, sink)
    sink.finish()
    page = _laid_out(source)
    # Comments that had to leave their line are now before something else, which says how far they are indented.
    return page.text if page.settled else _laid_out(Source(source.name, page.text)).text


def _laid_out(source: Source) -> Page:
    concrete = _parser().parse(source.text)
    return render(_Formatter(Gaps(source, concrete)).transform(concrete), WIDTH)


@cache
def _parser() -> Lark:
    """The parser of the language, giving trees that keep everything but spaces and comments."""
    return tables.load(postlex=Layout())


class _Formatter(Transformer_NonRecursive[Token, Doc]):
    """From what was written to a document, with one method for each rule that is more than words side by side."""

    def __init__(self, gaps: Gaps) -> None:
        super().__init__(visit_tokens=False)
        self.gaps = gaps

    def __default__(self, data: object, children: Sequence[Child], meta: object) -> Doc:
        """Words side by side, commas right after what stands before them."""
        return concat(*self._words(children))

    # Files, declarations and bodies

    def start(self, children: Sequence[Child]) -> Doc:
        parts: list[Doc] = []
        before = False  # whether the declaration before takes several lines
        for entries in self._paragraphs(children):
            last = entries[-1].content
            tall = isinstance(last, Declaration) and last.tall
            apart = (before or (tall and parts)) and not any(entry.after_blank for entry in entries)
            before = tall
            for entry in entries:
                if parts:
                    parts.append(Line(forced=True, blank=entry.after_blank or bool(apart)))
                parts.append(self._doc(entry.content))
                apart = False
        return concat(*parts)

    def model(self, children: Sequence[Child]) -> Declaration:
        opening = 2
        closing = next(index for index, child in enumerate(children) if _is(child, "RPAR"))
        parts = [*self._words(children[:opening]), self._brackets(children[opening : closing + 1], fill=False)]
        outputs = children[closing + 1 : -1]
        if len(outputs) == 2:
            parts += [" ", *self._words(outputs)]
        elif outputs:
            parts += [" ", self._doc(outputs[0]), " ", self._brackets(outputs[1:], fill=False)]
        return _declaration(concat(*parts), children[-1])

    block = model

    def train(self, children: Sequence[Child]) -> Declaration:
        brace = next(index for index, child in enumerate(children) if _is(child, "LBRACE"))
        head = [*self._words(children[:2]), self._brackets(children[2:brace], fill=False)]
        return _declaration(concat(*head), self.body(children[brace:]))

    def weights(self, children: Sequence[Child]) -> Doc | Declaration:
        brace = next((index for index, child in enumerate(children) if _is(child, "LBRACE")), None)
        head = concat(*self._words(children[:brace]))
        return head if brace is None else _declaration(head, self.body(children[brace:]))

    def stored(self, children: Sequence[Child]) -> Doc:
        return concat(*map(self._doc, children))

    def body(self, children: Sequence[Child]) -> Body:
        opening, closing = _token(children[0]), _token(children[-1])
        first = [remark.comment for remark in self.gaps.before(opening).own]
        behind = self.gaps.after(opening).trailing
        if first:  # what follows the brace stays after what stands before it
            first += [replace(comment, trailing=False) for comment in behind]
            behind = ()
        entries = [Entry(comment, after_blank=False) for comment in first]
        entries += self._entries(children[1:-1])
        remarked = self.gaps.before(opening).holds_comments()  # it then has to end its line at the brace
        forced = remarked or any(self.gaps.before(child).broken for child in children if _separates(child))
        after = self.gaps.after(closing).trailing
        parts: list[Doc] = ["{", *behind]
        if not entries and len(parts) == 1 and not remarked:
            return Body("{}", after)
        if forced:
            entries = align_statements(entries)
        inside: list[Doc] = []
        for entry in entries:
            inside += [
                Line("; " if inside else " ", forced, entry.after_blank and bool(inside)),
                self._doc(entry.content),
            ]
        return Body(concat(*parts, Indent(concat(*inside)), Line(" ", forced), "}"), after)

    def _paragraphs(self, children: Sequence[Child]) -> Iterator[list[Entry]]:
        """The entries of a file, each declaration with the comments before it."""
        entries: list[Entry] = []
        for entry in self._entries(children):
            entries.append(entry)
            if not isinstance(entry.content, Comment):
                yield entries
                entries = []
        if entries:
            yield entries

    def _entries(self, children: Sequence[Child]) -> Iterator[Entry]:
        gap = Gap() if children else self.gaps.at_end()
        for child in children:
            if _separates(child):
                gap = self.gaps.before(child)
                continue
            yield from (Entry(remark.comment, remark.after_blank) for remark in gap.own)
            yield Entry(child, gap.ends_blank)
            gap = Gap()
        yield from (Entry(remark.comment, remark.after_blank) for remark in gap.own)

    # Statements and stages

    def statement(self, children: Sequence[Child]) -> Statement:
        word = _token(children[0])
        return Statement(str(word), concat(*self._words(children[1:])), self.gaps.blanks_after(word) > 1)

    data = validate = test = batch = epochs = steps = stop = clip = seed = freeze = statement
    clip_value = accumulate = average = keep = statement

    def minimize(self, children: Sequence[Child]) -> Statement:
        word, loss, *tail = children
        parts = [self._doc(loss)]
        starts = [index for index, child in enumerate(tail) if _is(child, "OVER") or _is(child, "WITH")]
        for start, end in zip_longest(starts, starts[1:]):
            words = concat(*self._words(tail[start:end]))
            parts.append(Next(words, " ", self.gaps.broken_around(_token(tail[start])), deeper=True))
        return Statement("minimize", concat(*parts), self.gaps.blanks_after(_token(word)) > 1)

    def labelled_stage(self, children: Sequence[Child]) -> Doc:
        label, colon, stage = map(self._doc, children)
        return concat(label, colon, " ", stage)

    named_output = labelled_stage

    def tensor_parameter(self, children: Sequence[Child]) -> Doc:
        name, colon, type, *default = map(self._doc, children)
        words = [part for word in default for part in (" ", word)]
        return concat(name, colon, " ", type, *words)

    def chain(self, children: Sequence[Child]) -> Doc:
        first, *others = children
        steps = [
            Next(concat(self._doc(arrow), " ", self._doc(step)), " ", self.gaps.broken_around(_token(arrow)))
            for arrow, step in zip(others[::2], others[1::2], strict=True)
        ]
        return chain(self._doc(first), steps)

    def residual(self, children: Sequence[Child]) -> Doc:
        *head, body = children
        assert isinstance(body, Body)
        return concat(*self._words(head), " ", group(body.doc), *body.after)

    repeat = residual

    def if_stage(self, children: Sequence[Child]) -> If:
        word, condition, then, *others = children
        assert isinstance(then, Body)
        head = concat(self._doc(word), " ", self._doc(condition), " ")
        if not others:
            return If(head, (then.doc,), then.after, is_forced(then.doc))
        between, otherwise = _token(others[0]), others[1]
        apart = Line(forced=self.gaps.before(between).holds_comments())
        parts = (then.doc, *then.after, apart if apart.forced else " ", self._doc(between), " ")
        if isinstance(otherwise, If):
            return If(head, (*parts, otherwise.head, *otherwise.parts), otherwise.after, forced=True)
        assert isinstance(otherwise, Body)
        return If(head, (*parts, otherwise.doc), otherwise.after, any(map(is_forced, (*parts, otherwise.doc))))

    # Expressions

    def infix(self, children: Sequence[Child]) -> Doc:
        left, operator, right = children
        before = Line(forced=True) if self.gaps.broken_around(_token(operator)) else " "
        return concat(self._doc(left), before, self._doc(operator), " ", self._doc(right))

    binary = compare = logic = infix

    def conditional(self, children: Sequence[Child]) -> Doc:
        then, *others = children
        parts = [self._doc(then)]
        for word, value in zip(others[::2], others[1::2], strict=True):
            before = Indent(Line(forced=True)) if self.gaps.broken_around(_token(word)) else " "
            parts += [before, self._doc(word), " ", self._doc(value)]
        return concat(*parts)

    def unary(self, children: Sequence[Child]) -> Doc:
        operator, operand = children
        return concat(self._doc(operator), " " if operator == "not" else "", self._doc(operand))

    def attribute(self, children: Sequence[Child]) -> Doc:
        value, point, name = map(self._doc, children)
        return concat(value, _after_number(value), point, name)

    def module(self, children: Sequence[Child]) -> Doc:
        return concat(*map(self._doc, children))

    slice = module

    def call(self, children: Sequence[Child]) -> Doc:
        function = self._doc(children[0])
        return concat(function, _after_number(function), self._brackets(children[1:]))

    def index(self, children: Sequence[Child]) -> Doc:
        return concat(self._doc(children[0]), self._stiff_brackets(children[1:]))

    def type_expression(self, children: Sequence[Child]) -> Doc:
        opening = next(index for index, child in enumerate(children) if _is(child, "LSQB"))
        return concat(*map(self._doc, children[:opening]), self._stiff_brackets(children[opening:]))

    def parentheses(self, children: Sequence[Child]) -> Doc:
        return self._brackets(children, comma=False)

    def tuple_literal(self, children: Sequence[Child]) -> Row:
        alone = sum(_is(child, "COMMA") for child in children) == 1 and _is(children[-2], "COMMA")
        return self._row(children, self._brackets(children, lone=alone))

    def list_literal(self, children: Sequence[Child]) -> Row:
        signs = [self.gaps.broken_around(_token(sign)) for sign in children[2:-1:2]]
        if all(signs[: len(children[1:-1:2]) - 1]):
            children = [*children[:1], *align_rows(children[1:-1]), *children[-1:]]
        return self._row(children, self._brackets(children))

    def _row(self, children: Sequence[Child], doc: Doc) -> Row:
        opening, *commas = map(_token, children[:-1:2])
        closing = _token(children[-1])
        cells = [self._doc(item) for item in children[1:-1:2]]
        plain = [cell for cell in cells if isinstance(cell, str)]
        broken = self.gaps.after(opening).broken or any(map(self.gaps.broken_around, commas))
        row = len(plain) == len(cells) and not broken and not self.gaps.before(closing).broken
        return Row(
            doc,
            before=self.gaps.before(opening).own_lines(),
            cells=tuple(plain) if row else (),
            brackets=f"{opening}{closing}",
            after=self.gaps.after(closing).trailing,
            spaced=any(self.gaps.blanks_after(sign) > (sign == ",") for sign in (opening, *commas)),
        )

    def keyword(self, children: Sequence[Child]) -> Pair:
        name, sign, value = map(self._doc, children)
        return Pair(name, sign, value)

    def default_parameter(self, children: Sequence[Child]) -> Doc:
        return concat(*map(self._doc, children))

    def measure(self, children: Sequence[Child]) -> Statement:
        return self.statement(
            [concat(c.name, " ", c.sign, " ", c.value) if isinstance(c, Pair) else c for c in children]
        )

    draw = measure

    # Parts of several rules

    def _doc(self, child: Child) -> Doc:
        match child:
            case Token():
                gap = self.gaps.before(child)
                return concat(*gap.own_lines(), str(child), *self.gaps.after(child).trailing)
            case Pair():
                return concat(child.name, child.sign, child.value)
            case Body():
                return concat(group(child.doc), *child.after)
            case Statement():
                return concat(child.word, " ", child.rest)
            case Row() | If() | Declaration():
                return child.doc
            case _:
                return child

    def _words(self, children: Sequence[Child]) -> list[Doc]:
        parts: list[Doc] = []
        for child in children:
            if parts and not _is(child, "COMMA"):
                parts.append(" ")
            parts.append(self._doc(child))
        return parts

    def _brackets(self, children: Sequence[Child], *, comma: bool = True, lone: bool = False, fill: bool = True) -> Doc:
        """Brackets and what they hold. Where they take several lines, each item has its own, but plain ones share lines
        if `fill`; a `comma` follows the last one, as it always does a `lone` item of a tuple."""
        opening, closing = _token(children[0]), _token(children[-1])
        inside: list[Doc] = []
        forced = self.gaps.after(opening).broken
        plain = False  # whether the item before is a plain text
        for item, sign in zip_longest(children[1:-1:2], children[2:-1:2]):
            content = self._doc(item)
            last = sign is None or sign is children[-2]
            mark = self._mark(sign, "," if lone or not last else IfBroken("," if comma else ""))
            if fill and plain and isinstance(content, str):
                inside.append(Next(concat(content, mark), " ", forced))
            else:
                inside += [Line(" " if inside else "", forced), content, mark]
            plain = isinstance(content, str)
            forced = isinstance(sign, Token) and self.gaps.broken_around(sign)
        end = self.gaps.before(closing)
        inside += [part for remark in end.own for part in (Line(forced=True), remark.comment)]
        if inside:
            inside = [Indent(concat(*inside)), Line("", end.broken)]
        return self._enclosed(opening, inside, closing)

    def _stiff_brackets(self, children: Sequence[Child]) -> Doc:
        """Square brackets of types and indices, which stay on one line unless a call or a comment in them does not."""
        opening, closing = _token(children[0]), _token(children[-1])
        items = list(map(self._doc, children[1:-1:2]))
        separators = list(map(self._doc, children[2:-1:2]))
        commented = self.gaps.after(opening).holds_comments() or self.gaps.before(closing).holds_comments()
        if commented or not all(isinstance(part, str) for part in (*items, *separators)):
            return self._brackets(children)
        return self._enclosed(opening, [part for item in items for part in (", ", item)][1:], closing)

    def _enclosed(self, opening: Token, inside: Sequence[Doc], closing: Token) -> Doc:
        """What stands in brackets, with them; the comments around them have no part in how they are broken."""
        parts = (str(opening), *self.gaps.after(opening).trailing, *inside, str(closing))
        enclosed = group(*parts) if any(not isinstance(part, str) for part in parts) else concat(*parts)
        return concat(*self.gaps.before(opening).own_lines(), enclosed, *self.gaps.after(closing).trailing)

    def _mark(self, sign: Child | None, written: Doc) -> Doc:
        """A comma, `written` as it has to be, with the comments around the one in the source."""
        if not isinstance(sign, Token):
            return written
        return concat(*self.gaps.before(sign).own_lines(), written, *self.gaps.after(sign).trailing)


def _declaration(head: Doc, body: Child) -> Declaration:
    assert isinstance(body, Body)
    alone = concat(head, " ", group(body.doc))
    return Declaration(concat(alone, *body.after), is_forced(alone) or render(alone, WIDTH).text.count("\n") > 1)


def _after_number(doc: Doc) -> Doc:
    """The space that keeps a number from running into what follows it."""
    return " " if isinstance(doc, str) and doc.startswith(DIGITS) else ""


def _separates(child: Child) -> TypeGuard[Token]:
    return isinstance(child, Token) and child.type in SEPARATORS


def _is(child: Child, type: str) -> bool:
    return isinstance(child, Token) and child.type == type


def _token(child: Child) -> Token:
    assert isinstance(child, Token)
    return child
