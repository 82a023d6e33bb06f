"""From text to tree: Lark's LALR parser, fed token by token so that it can go on after an error.

After an error the parser's stack is cut back to the innermost body being read (or to the file), the token ERROR takes
the place of the stage that failed, and the text is skipped to the end of that stage.
"""

import codecs
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any, cast

from lark import Lark, Token, UnexpectedCharacters, UnexpectedToken
from lark.lark import PostLex

from compiler.diagnostics import Diagnostic, DiagnosticError, Sink, Source, Span
from compiler.front import syntax_errors, tree
from compiler.front.build import TreeBuilder, building
from compiler.front.skip import begins_declaration, skip_stage
from grammar import tables

DEEPEST = 200  # levels of nodes in a tree, so that those who walk it may recurse
_MOST_BRACKETS = 100  # open at one place
_MOST_ERRORS = 20
_OPENING = ("LPAR", "LSQB", "LBRACE")
_CLOSING = ("RPAR", "RSQB", "RBRACE")


def parse(source: Source, sink: Sink) -> tree.File:
    """The tree of a source text, at most `DEEPEST` nodes deep; takes time in proportion to the length of the text.

    Syntax errors go to `sink`. The tree then lacks what they stand in, so what it lacks must not be reported.
    """
    with building(source, sink):
        file = _Parse(source, sink).run()
    deep = _too_deep(file)
    if deep is None:
        return file
    sink.report(syntax_errors.nested_too_deeply(source, deep.start, DEEPEST))
    return tree.File(file.span, (), ())


def source_from_bytes(name: str, data: bytes) -> Source:
    """The source text in a file's bytes, a byte order mark removed. Raises DiagnosticError if it is not UTF-8."""
    text = data.removeprefix(codecs.BOM_UTF8)
    try:
        return Source(name, text.decode())
    except UnicodeDecodeError as broken:
        raise DiagnosticError([syntax_errors.not_utf8(name, text, broken.start)]) from None


class Layout(PostLex):
    """Drops line ends inside `(` and `[`, where they mean nothing; braces inside those bring them back."""

    always_accept = ("_NEWLINE",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        opened: list[str] = []
        for token in stream:
            if token.type in _OPENING:
                opened.append(token.type)
            elif token.type in _CLOSING and opened:
                opened.pop()
            elif token.type == "_NEWLINE" and opened and opened[-1] != "LBRACE":
                continue
            yield token


@cache
def _parser() -> Lark:
    return tables.load(transformer=TreeBuilder(), postlex=Layout())


class _TooManyBracketsError(Exception):
    """Carries the bracket that is one too many."""

    def __init__(self, bracket: Token) -> None:
        self.bracket = bracket


class _Parse:
    """One text being read."""

    def __init__(self, source: Source, sink: Sink) -> None:
        self.source = source
        self.sink = sink
        self.interactive: Any = _parser().parse_interactive(source.text)  # untyped in Lark
        self.state = self.interactive.parser_state
        self.recent: deque[Token] = deque(maxlen=2)  # the last tokens that fitted

    def run(self) -> tree.File:
        """Reads to the end, whatever it takes."""
        for errors_left in reversed(range(_MOST_ERRORS)):
            at_end = False
            try:
                return self._read()
            except _TooManyBracketsError as deep:
                place = deep.bracket.start_pos or 0
                mistake = syntax_errors.nested_too_deeply(self.source, place, _MOST_BRACKETS)
                at_end = True
            except UnexpectedToken as unexpected:
                mistake = self._after_token(unexpected.token)
                at_end = unexpected.token.type == "$END"
            except UnexpectedCharacters as unexpected:
                mistake = self._after_character(cast(int, unexpected.pos_in_stream))
            if not errors_left:
                mistake = replace(mistake, notes=(*mistake.notes, "too many errors: what follows was not read"))
            self.sink.report(mistake)
            if at_end:
                break
        return tree.File(self.source.span(0, len(self.source.text)), (), ())

    def _read(self) -> tree.File:
        depth = len(self._open_brackets())
        for token in self.interactive.lexer_thread.lex(self.state):
            self.interactive.feed_token(token)
            self.recent.append(token)
            if token.type in _OPENING:
                depth += 1
                if depth > _MOST_BRACKETS:
                    raise _TooManyBracketsError(token)
            elif token.type in _CLOSING:
                depth -= 1
        file: tree.File = self.interactive.feed_eof(self.recent[-1] if self.recent else None)
        return file

    def _after_token(self, token: Token) -> Diagnostic:
        """Recovers from a token that does not fit."""
        accepted = self.interactive.accepts() - {"ERROR"}
        opened = self._open_brackets()
        if opened and self._read_as_declaration(self.recent[-1]):
            return syntax_errors.unclosed(self.source, opened[-1], self.recent[-1])
        balanced = token.type == "$END" or self._resume(token.start_pos or 0)
        situation = syntax_errors.Situation(self.source, token, list(self.recent), accepted, opened, balanced)
        return syntax_errors.unexpected_token(situation, _parser())

    def _read_as_declaration(self, word: Token) -> bool:
        """Goes on at `word` outside all bodies, if what looks like a stage there is a declaration."""
        start = word.start_pos or 0
        line_start = self.source.line_start(self.source.location(start)[0])
        if self.source.text[line_start:start].strip() or not begins_declaration(self.source.text, start):
            return False
        self._cut_back(inside_body=False)
        self._go_to(line_start - 1)
        return True

    def _after_character(self, position: int) -> Diagnostic:
        """Recovers from a character no token begins with."""
        self._resume(position)
        return syntax_errors.unexpected_character(self.source, position)

    def _open_brackets(self) -> list[Token]:
        opened = []
        for value in self.state.value_stack:
            if isinstance(value, Token) and value.type in _OPENING:
                opened.append(value)
            elif isinstance(value, Token) and value.type in _CLOSING:
                opened.pop()
        return opened

    def _resume(self, position: int) -> bool:
        """Gives up the stage that `position` lies in; says whether its open brackets are closed later."""
        opened = self._open_brackets()
        self._cut_back(inside_body=True)
        kept = self._open_brackets()
        pending = [str(token) for token in opened[len(kept) :]]
        position, balanced = skip_stage(self.source.text, position, pending, inside_body=bool(kept))
        self._go_to(position)
        return balanced

    def _go_to(self, position: int) -> None:
        self.interactive.lexer_thread.state.line_ctr.char_pos = position

    def _cut_back(self, inside_body: bool) -> None:
        """Drops what was read of a stage, until ERROR can stand in its place; never into braces already closed."""
        closed = 0
        while True:
            if not closed and (inside_body or not self._open_brackets()):
                try:
                    self.interactive.feed_token(Token("ERROR", ""))
                    return
                except UnexpectedToken:
                    pass
            self.state.state_stack.pop()
            value = self.state.value_stack.pop()
            if isinstance(value, Token) and value.type in _CLOSING:
                closed += 1
            elif isinstance(value, Token) and value.type in _OPENING and closed:
                closed -= 1


def _too_deep(file: tree.File) -> Span | None:
    """Where the tree is deeper than it may be. No node is deeper than it is long, so short ones are not looked at."""
    waiting: list[tuple[tree.Node, int]] = [(file, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > DEEPEST:
            return node.span
        if node.span.end - node.span.start + depth < DEEPEST:
            continue
        for field in type(node).__slots__:
            value = getattr(node, field)
            for child in value if isinstance(value, tuple) else (value,):
                if isinstance(child, tree.Node):
                    waiting.append((child, depth + 1))
    return None
