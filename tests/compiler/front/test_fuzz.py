"""Drawn sources: whatever the text, it ends in graphs or in diagnostics, in reasonable time.

Sources are drawn from the grammar, with names and numbers that mean something in places, and made from the files of
the repository by exchanging their parts. With ``--fuzz 100000`` each test
draws that many.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from random import Random
from types import FrameType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from lark import UnexpectedInput
from lark.grammar import NonTerminal, Rule, Symbol
from lark.lexer import PatternStr

import compiler
from compiler.diagnostics import Diagnostic, DiagnosticError, Source, render
from compiler.front.catalogue import entries
from compiler.front.parse import Layout
from grammar import tables

ROOT = Path(__file__).parents[3]
SECONDS = 30  # more than any draw may take
MOST_NODES = 500  # of a graph that is compiled further: passes have tests of their own

_KINDS = ("layer", "function", "loss", "metric", "optimizer", "schedule", "initialiser")
_FAVOURITES = "x y x x N T D it it i f32 i64 same A b n s units relu dense transpose mse adam item shape weight"
_NUMBERS = (
    "0 1 2 3 4 8 8 8 1 2 10 64 0 1 2 3 4 8 8 8 1 2 10 64 -1 0.5 1e-4 20% 100% 1_000 10000 10001 65536 1e308 1e-400 0.0"
    " 7.0 9223372036854775807 4611686018427387904"
)
_STRINGS = ('"s"', '""', '"a\\nb"', '"\\u00e9"', '"digits.npz"', '"../x.dl"', '"none.onnx"')


class TooSlow(Exception):
    """A draw that took longer than it may."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Ends what is inside with TooSlow after so many seconds of computing, where the system can."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcome(text: str) -> list[Diagnostic]:
    """The diagnostics of a text; none where it ends in graphs. Anything else that may happen is an exception."""
    try:
        with limited(SECONDS):
            compile_everything(Source("fuzz.dl", text))
    except DiagnosticError as wrong:
        return list(wrong.diagnostics)
    return []


def compile_everything(source: Source) -> None:
    """Check a source and, where they are small, compile its models and train blocks."""
    checked = compiler.check(source)
    models, trains = checked.elaborated.models, checked.elaborated.trains
    for model in models.values():
        if len(model.graph.nodes) < MOST_NODES:
            compiler.compile_model(checked, model.name)
    for train in trains.values():
        if sum(len(loss.graph.nodes) for loss in train.losses) < MOST_NODES:
            compiler.compile_train(checked, train.name)


def check_outcome(text: str) -> None:
    """Whatever the text, what is said about it has a place in it and can be shown."""
    diagnostics = outcome(text)
    for diagnostic in diagnostics:
        assert diagnostic.primary is not None
        span = diagnostic.primary.span
        assert 0 <= span.start <= span.end <= len(span.source.text)
        assert diagnostic.code in render([diagnostic])


@cache
def _choices(terminal: str) -> tuple[str, ...]:
    """What a terminal may be, names and numbers that mean something in places above all."""
    match terminal:
        case "NAME":
            return (*_FAVOURITES.split() * 5, *(name for kind in _KINDS for name in entries(kind)))
        case "PATTERN":
            return ("A", "A.*", "B.dense*", "*", "A.0.b", "x")
        case "NUMBER":
            return tuple(_NUMBERS.split())
        case "STRING":
            return _STRINGS
        case "COMPARISON":
            return ("==", "!=", "<", ">", ">=")
        case "_NEWLINE":
            return ("\n", "\n", "\r\n", "\r", "\n\n# c -> {\n")
        case _:
            return ({"LAYER": "layer", "RESIDUAL": "residual", "MINUS": "-"}[terminal],)


class Language:
    """The grammar's rules, drawn from. Hypothesis's own ``from_lark`` knows no bounds: almost all that it draws from a
    grammar of expressions grows too large to be kept."""

    DEEPEST = 5  # levels of rules with several parts, after which the lowest expansions are taken

    def __init__(self, rules: Iterable[Rule], words: Mapping[str, str]) -> None:
        self.words = words
        self.every: dict[str, list[Sequence[Symbol]]] = {}
        for rule in rules:
            if all(symbol.name != "ERROR" for symbol in rule.expansion):
                self.every.setdefault(rule.origin.name, []).append(rule.expansion)
        heights = dict.fromkeys(self.every, 1000)
        while heights != (heights := {rule: min(_height(e, heights) for e in self.every[rule]) for rule in heights}):
            pass
        self.lowest = {rule: [min(found, key=lambda e: _height(e, heights))] for rule, found in self.every.items()}
        self.alone = {rule: [e for e in found if len(e) == 1] or found for rule, found in self.every.items()}

    def draw(self, chance: Random, rule: str) -> str:
        """A text of ``rule``."""
        texts: list[str] = []
        waiting: list[tuple[Symbol, int]] = [(NonTerminal(rule), 0)]
        while waiting:
            symbol, depth = waiting.pop()
            name = symbol.name
            if symbol.is_term:
                texts.append(self.words[name] if name in self.words else chance.choice(_choices(name)))
                continue
            kept = self.alone if chance.random() < 0.7 else self.every
            expansion = chance.choice((self.lowest if depth >= self.DEEPEST else kept)[name])
            deeper = depth + (len(expansion) > 1)
            waiting += [(part, deeper) for part in reversed(expansion)]
        return " ".join(texts)


def _height(expansion: Sequence[Symbol], heights: Mapping[str, int]) -> int:
    """The levels of the lowest tree of an expansion. Bodies count for more than they are: an empty one would otherwise
    be the lowest thing that can stand anywhere."""
    parts = (part.name for part in expansion if not part.is_term)
    return 1 + max((heights[name] + 20 * (name == "body") for name in parts), default=0)


@cache
def _language() -> Language:
    built = tables.build()
    words = {
        terminal.name: terminal.pattern.value
        for terminal in built.terminals
        if isinstance(terminal.pattern, PatternStr)
    }
    return Language(built.rules, words)


# Parts that may stand for each other, by the names of their rules.
_EXPRESSIONS = (
    "number string boolean call attribute index unary binary compare logic conditional chain parentheses"
    " tuple_literal list_literal"
)
_EXCHANGED = {
    **dict.fromkeys(_EXPRESSIONS.split(), "expression"),
    **{rule: rule for rule in ("name", "type_expression", "dimension", "body", "keyword", "tensor_parameter")},
    **dict.fromkeys(("stage", "labelled_stage", "assign", "layer"), "stage"),
    **dict.fromkeys(("parameter", "default_parameter"), "parameter"),
    **dict.fromkeys(
        [
            "minimize",
            "measure",
            "draw",
            "validate",
            "batch",
            "epochs",
            "stop",
            "clip",
            "clip_value",
            "average",
            "keep",
            "seed",
            "freeze",
        ],
        "statement",
    ),
    **dict.fromkeys(("model", "block", "train", "const"), "declaration"),
}


@cache
def _corpus() -> tuple[str, ...]:
    """The sources of the repository that have no syntax errors."""
    found = []
    for path in sorted(ROOT.rglob("*.dl")):
        text = path.read_text(encoding="utf-8")
        with suppress(UnexpectedInput):
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
    found = dict.fromkeys(text[start:end] for text in _corpus() for other, start, end in _parts(text) if other == kind)
    odd = {"expression": [*_NUMBERS.split(), *_STRINGS, *entries("layer"), "-1", "(x, x)", "[]", "N", "it", "x[0]"]}
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
    """A source of texts that the grammar allows, with names that mean something."""
    # A single number is drawn, since Hypothesis takes its time for each of many.
    language, chance = _language(), Random(draw(st.integers(0, 2**32)))

    def one(rule: str) -> str:
        return language.draw(chance, rule)

    def several(rule: str) -> str:
        return "\n".join(one(rule) for _ in range(chance.randrange(4)))

    shape = chance.choice(["N, 8", "N, 2, 8, 8", "N", "N, 3", "N, T <= 8, 4", "", "N, n", one("dimension")])
    type = f"{chance.choice(['f32', 'f32', 'f64', 'i64', 'u8', 'bool'])}[{shape}]"
    return (
        f"const n = {one('flow')}\n"
        f"block b(x: [N, D], {one('default_parameter')}) {{\n{several('_stage')}\n}}\n"
        f"model A(x: {type}) {{\n{several('_stage')}\n}}\n"
        f"train t(x: {type}, y: i64[N]) {{\n{several('_statement')}\n"
        f"minimize mean({one('flow')}) with sgd(0.1)\n}}\n"
    )


_QUICK = settings(suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("strategy", [exchanged(), drawn()], ids=["exchanged", "drawn"])
def test_texts_end_in_graphs_or_diagnostics(request: pytest.FixtureRequest, strategy: SearchStrategy[str]) -> None:
    @settings(_QUICK, max_examples=request.config.getoption("--fuzz"))
    @given(strategy)
    def check(text: str) -> None:
        check_outcome(text)

    check()
