"""Large, deep and nonsensical texts: a tree or diagnostics, never anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.diagnostics import DiagnosticError, Sink, Source, render
from compiler.front import tree
from compiler.front.parse import DEEPEST, parse, source_from_bytes

DESIGN = Path(__file__).with_name("design_examples.dl").read_text(encoding="utf-8")
_WORDS = (
    "model block train const import layer residual repeat if else and or not true false as over with patience minimize"
    ' measure data stop freeze A x N f32 3 2.5 20% "s" " ( ) [ ] { } -> = == <= < : , ; . .. @ ** // % - ! $ # \\ é'
)
PIECES = [*_WORDS.split(), "\n", "\r", "\t", "\x00", "\ufeff", "# c -> d\n", "\n  -> "]


def read(text: str) -> tuple[tree.File, Sink]:
    sink = Sink()
    return parse(Source("fuzz.dl", text), sink), sink


def check(text: str) -> None:
    """Whatever the text, errors have places in it and can be shown."""
    file, sink = read(text)
    assert isinstance(file, tree.File)
    assert len(sink.errors) == len(set(sink.errors))
    for diagnostic in sink.errors:
        assert diagnostic.primary is not None
        assert 0 <= diagnostic.primary.span.start <= diagnostic.primary.span.end <= len(text)
        assert diagnostic.primary.text or diagnostic.help
    assert render(sink.diagnostics).count("error[") == len(sink.errors)


@given(st.text())
def test_any_text(text: str) -> None:
    check(text)


@given(st.lists(st.sampled_from(PIECES), max_size=40), st.sampled_from(["", " "]))
def test_any_sequence_of_words_and_signs(pieces: list[str], between: str) -> None:
    check(between.join(pieces))
    check("model A(x: f32[N]) {\n" + between.join(pieces) + "\n}\nmodel B(x: f32[N]) { relu }")


@settings(max_examples=50)
@given(st.data())
def test_damaged_examples(data: st.DataObject) -> None:
    text = DESIGN
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 10)))
        text = text[:start] + data.draw(st.sampled_from(["", *PIECES])) + text[end:]
    check(text)


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    try:
        source = source_from_bytes("fuzz.dl", data)
    except DiagnosticError as broken:
        reported = [one.code for one in broken.diagnostics]
        assert reported == ["E0110"]
    else:
        assert source.text.encode() == data.removeprefix(b"\xef\xbb\xbf")


def test_many_stages() -> None:
    file, sink = read("model A(x: f32[N]) {\n" + "    conv(32, 3, pad=same) -> relu\n" * 5000 + "}\n")
    assert sink.errors == []
    (model,) = file.declarations
    assert isinstance(model, tree.Model)
    assert len(model.body.stages) == 5000


def test_long_runs_of_comments_and_empty_lines() -> None:
    file, sink = read("const a = 1\n" + "# note -> here\n\n" * 50_000 + "const b = (1,\n" + "\n# c\n" * 50_000 + "2)")
    assert sink.errors == []
    assert len(file.declarations) == 2


def test_long_lines() -> None:
    _, sink = read("const a = [" + "1, " * 20_000 + "]\nconst b = a" + " -> f" * 20_000)
    assert sink.errors == []
    _, sink = read('const a = "' + "x" * 1_000_000)
    assert [one.code for one in sink.errors] == ["E0102"]
    _, sink = read("const a = " + "9" * 1_000_000 + "; const b = " + "x" * 1_000_000)
    assert [one.code for one in sink.errors] == ["E0107"]


@pytest.mark.parametrize("levels", [101, 10_000])
@pytest.mark.parametrize(
    ("opening", "closing"), [("(", ")"), ("[", "]"), ("f(", ")"), ("x[", "]"), ("(", ""), ("([", "")]
)
def test_too_many_brackets(opening: str, closing: str, levels: int) -> None:
    _, sink = read("const a = " + opening * levels + "1" + closing * levels)
    assert [one.code for one in sink.errors] == ["E0106"]


def test_too_many_braces() -> None:
    _, sink = read("model A(x: f32[N]) {\n" + "residual {\n" * 10_000 + "relu\n" + "}\n" * 10_000 + "}\n")
    (deep,) = sink.errors
    assert render([deep]) == (
        "error[E0106]: nested too deeply\n   --> fuzz.dl:101:10\n    |\n101 | residual {\n"
        "    |          ^ more than 100 levels deep from here on\n    |\n"
        "    = help: give parts of it names with `name = …`, or move them to a `block`"
    )


@pytest.mark.parametrize(
    ("before", "repeated", "after"),
    [
        ("", "- ", "1"),
        ("", "not ", "1"),
        ("1", " + 1", ""),
        ("2", " ** 2", ""),
        ("x", ".a", ""),
        ("x", "()", ""),
        ("x", "[0]", ""),
        ("", "1 if x else ", "1"),
        ("a", " and a", ""),
    ],
)
def test_too_many_operators(before: str, repeated: str, after: str) -> None:
    for levels, expected in ((DEEPEST - 10, []), (DEEPEST + 10, ["E0106"]), (20_000, ["E0106"])):
        _, sink = read("const a = " + before + repeated * levels + after)
        assert [one.code for one in sink.errors] == expected


def test_too_many_branches() -> None:
    _, sink = read("model A(x: f32[N]) {\n if a { b }" + " else if a { b }" * 10_000 + "\n}\n")
    assert [one.code for one in sink.errors] == ["E0106"]


def test_as_many_brackets_as_are_allowed() -> None:
    for opening, closing in ("()", "[]", ("f(", ")")):
        _, sink = read("const a = " + opening * 100 + "1" + closing * 100)
        assert sink.errors == []
