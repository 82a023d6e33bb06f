"""Drawn sources: whatever the text, it ends in graphs or in diagnostics, in reasonable time.

Sources are drawn from the grammar, with names and numbers that mean something in places, and made from the files of
the repository by exchanging their parts. ``pytest tests/compiler/front/test_fuzz.py --fuzz 100000`` draws that many.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FrameType

import lark
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark

import compiler
import grammar
from compiler.diagnostics import DiagnosticError, Source, render
from compiler.front.catalogue import entries
from compiler.front.parse import Layout
from grammar import tables

ROOT = Path(__file__).parents[3]
SECONDS = 10  # more than any draw may take

_KINDS = ("layer", "function", "loss", "metric", "optimizer", "initialiser")
_NAMES = ("x", "y", "x", "N", "T", "it", "i", "f32", "i64", "same", "A", "B", "b", "n", "s", "units", "é")
_NUMBERS = (
    "0 1 2 3 4 8 8 8 1 2 10 64 0.5 1e-4 20% 100% -1 1_000 10000 10001 65536 9223372036854775807 9223372036854775808"
    " 1e308 1e309 1e-400 123456789012345678901234567890 0.0 7.0"
)
_STRINGS = ('"s"', '""', '"a\\nb"', '"\\u00e9"', '"digits.npz"', '"../x.dl"', '"none.onnx"')


class TooSlow(Exception):
    """A draw that took longer than it may."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Ends what is inside with TooSlow after so many seconds, where the system can."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(text: str) -> str:
    """How the compiler takes a text: ``graphs``, or the codes of its diagnostics, which have places and can be shown."""
    try:
        with limited(SECONDS):
            checked = compiler.check(Source("fuzz.dl", text))
            for name in checked.models:
                compiler.compile_model(checked, name)
            for name in checked.trains:
                compiler.compile_train(checked, name)
    except DiagnosticError as wrong:
        assert wrong.diagnostics
        for diagnostic in wrong.diagnostics:
            assert diagnostic.primary is not None
            span = diagnostic.primary.span
            assert 0 <= span.start <= span.end <= len(span.source.text)
        assert render(wrong.diagnostics)
        return " ".join(sorted({diagnostic.code for diagnostic in wrong.diagnostics}))
    return "graphs"


@cache
def _names() -> tuple[str, ...]:
    return (*_NAMES * 6, *(name for kind in _KINDS for name in entries(kind)))


@cache
def _drawn(start: str) -> st.SearchStrategy[str]:
    """Texts of the rule ``start`` of the grammar."""
    text = grammar.text("dl").replace("| ERROR", "").replace("%declare ERROR", "")
    # Hypothesis knows no possessive repetition, which is there for speed only.
    text = text.replace("*+", "*").replace("++", "+").replace("?+", "?")
    language = lark.Lark(text, start=start, parser="lalr", maybe_placeholders=False)
    words = {
        terminal.name: st.just(f" {terminal.pattern.value} ")
        for terminal in language.terminals
        if terminal.pattern.type == "str" and terminal.pattern.value.isalpha()
    }
    chosen = {
        "NAME": st.sampled_from(_names()).map(lambda name: f" {name} "),
        "NUMBER": st.sampled_from(_NUMBERS.split()),
        "STRING": st.sampled_from(_STRINGS),
        "MINUS": st.just("-"),
        "COMPARISON": st.sampled_from(["==", "!=", "<", ">", ">="]),
        "LAYER": st.just("layer "),
        "RESIDUAL": st.just("residual"),
        "_NEWLINE": st.sampled_from(["\n", "\n", "\n\n", "\r\n", "\n# c\n"]),
        "CONTINUATION": st.just(" "),
        "BLANK": st.just(" "),
        "COMMENT": st.just(""),
    }
    known = {terminal.name for terminal in language.terminals}
    explicit = {name: strategy for name, strategy in {**words, **chosen}.items() if name in known}
    return from_lark(language, start=start, explicit=explicit)


# Parts that may stand for each other, by the names of their rules.
_EXPRESSIONS = (
    "name number string boolean call attribute index unary binary compare logic conditional chain parentheses"
    " tuple_literal list_literal"
)
_EXCHANGED = {
    **dict.fromkeys(_EXPRESSIONS.split(), "expression"),
    **{rule: rule for rule in ("type_expression", "dimension", "body", "parameter", "tensor_parameter", "keyword")},
    **dict.fromkeys(("stage", "labelled_stage", "assign", "layer"), "stage"),
    **dict.fromkeys(("minimize", "measure", "validate", "batch", "epochs", "stop", "clip", "seed", "freeze"), "statement"),
    **dict.fromkeys(("model", "block", "train", "const"), "declaration"),
}


@cache
def _corpus() -> tuple[str, ...]:
    """The sources of the repository that have no syntax errors."""
    found = []
    for path in sorted(ROOT.rglob("*.dl")):
        text = path.read_text(encoding="utf-8")
        with suppress(lark.UnexpectedInput):
            _parts(text)
            found.append(text)
    return tuple(found)


@cache
def _parts(text: str) -> tuple[tuple[str, int, int], ...]:
    """The parts of a text that can be exchanged: their kind and place."""
    concrete = tables.load(postlex=Layout(), propagate_positions=True).parse(text)
    return tuple(
        (_EXCHANGED[tree.data], tree.meta.start_pos, tree.meta.end_pos)
        for tree in concrete.iter_subtrees_topdown()
        if tree.data in _EXCHANGED and not tree.meta.empty
    )


@cache
def _pieces(kind: str) -> tuple[str, ...]:
    """What can stand in the place of a part of this kind: the parts of all sources, and odd things."""
    found = dict.fromkeys(
        text[start:end] for text in _corpus() for other, start, end in _parts(text) if other == kind
    )
    odd = {"expression": [*_NUMBERS.split(), *_STRINGS, *entries("layer"), "(x, x)", "[]", "N", "it", "x[0]"]}
    return (*found, *odd.get(kind, ()))


@st.composite
def exchanged(draw: st.DrawFn) -> str:
    """A source of the repository with some of its parts exchanged."""
    text = draw(st.sampled_from(_corpus()))
    parts = _parts(text)
    chosen = draw(st.lists(st.sampled_from(parts), min_size=1, max_size=4, unique=True))
    end = len(text) + 1
    for kind, start, stop in sorted(chosen, key=lambda part: part[1:], reverse=True):
        if stop <= end:
            piece = draw(st.sampled_from(_pieces(kind)))
            text = text[:start] + (f"({piece})" if kind == "expression" else piece) + text[stop:]
            end = start
    return text


@st.composite
def drawn(draw: st.DrawFn) -> str:
    """A source made of texts that the grammar allows, where names mean something."""

    def several(rule: str, end: str, most: int = 4) -> str:
        return end.join(draw(st.lists(_drawn(rule), max_size=most)))

    constants = "\n".join(f"const {name} = {draw(_drawn('flow'))}" for name in draw(st.sampled_from(["", "n", "ns"])))
    shape = draw(st.sampled_from(["N, 8", "N, 2, 8, 8", "N", "N, 3", "N, T <= 8, 4", "", "N, n"]))
    dtype = draw(st.sampled_from(["f32", "f32", "f64", "i64", "u8", "bool"]))
    return (
        f"{constants}\n"
        f"block b(x: [N, D], units{several('default_parameter', '')[:0]}) {{\n{several('stage', chr(10))}\n}}\n"
        f"model A(x: {dtype}[{shape}]) {{\n{several('stage', chr(10))}\n}}\n"
        f"train t(x: {dtype}[{shape}], y: i64[N]) {{\n{several('assign', chr(10), 1)}\n"
        f"minimize {draw(_drawn('flow'))} with {draw(st.sampled_from(['sgd(0.1)', 'adam(1e-3)']))}\n"
        f"{several('measure', chr(10), 1)}\n}}\n"
    )


_QUICK = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(_QUICK, max_examples=300)
@given(exchanged())
def test_files_with_parts_exchanged(text: str) -> None:
    outcome(text)


@settings(_QUICK, max_examples=300)
@given(drawn())
def test_texts_that_the_grammar_allows(text: str) -> None:
    outcome(text)
