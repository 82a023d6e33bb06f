"""Sources, diagnostics, where they are gathered, and the catalogue of codes."""

from __future__ import annotations

import pytest

from compiler.diagnostics import (
    Diagnostic,
    DiagnosticError,
    Label,
    Sink,
    Source,
    Span,
    all_codes,
    did_you_mean,
    error,
    explain,
    render,
    title,
    warning,
)

SOURCE = Source("net.dl", "first\r\nsecond\rthird\n\nlast")


@pytest.mark.parametrize(
    ("offset", "location"),
    [(0, (1, 1)), (4, (1, 5)), (7, (2, 1)), (14, (3, 1)), (19, (3, 6)), (20, (4, 1)), (21, (5, 1)), (25, (5, 5))],
)
def test_locations_know_all_line_endings(offset: int, location: tuple[int, int]) -> None:
    assert SOURCE.location(offset) == location


def test_lines_come_without_their_ends() -> None:
    assert SOURCE.line_count == 5
    assert [SOURCE.line(number) for number in range(1, 6)] == ["first", "second", "third", "", "last"]
    assert [SOURCE.line_start(number) for number in (1, 2, 5)] == [0, 7, 21]


def test_spans() -> None:
    span = SOURCE.span(7, 13)
    assert (span.line, span.column, span.text, str(span)) == (2, 1, "second", "net.dl:2:1")
    assert span.join(SOURCE.span(2, 9)) == Span(SOURCE, 2, 13)
    with pytest.raises(ValueError, match=r"net\.dl and other\.dl"):
        span.join(Source("other.dl", SOURCE.text).span(0, 1))


def test_sources_with_the_same_text_are_not_the_same() -> None:
    assert Source("a", "b") != Source("a", "b")


def test_unknown_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="E9999"):
        error("E9999", "no such thing", None)
    with pytest.raises(ValueError, match=r"\.\./codes"):
        Diagnostic("../codes", "no such thing", None)


def test_one_note_or_help_may_be_a_string() -> None:
    made = error("E0301", "t", SOURCE.span(0, 1), "x", labels=[Label(SOURCE.span(1, 2), "y")], notes="n", help=["h"])
    assert made == Diagnostic(
        "E0301", "t", Label(SOURCE.span(0, 1), "x"), (Label(SOURCE.span(1, 2), "y"),), ("n",), ("h",), "error"
    )


def test_a_sink_sorts_and_drops_repetitions() -> None:
    sink = Sink()
    other = Source("other.dl", "text")
    placeless = error("E0404", "no place", None)
    late, early = error("E0301", "late", SOURCE.span(9, 10)), error("E0301", "early", SOURCE.span(1, 2))
    elsewhere = error("E0301", "elsewhere", other.span(0, 1))
    hint = warning("E0301", "hint", SOURCE.span(4, 5))
    for diagnostic in (placeless, late, elsewhere, early, hint, error("E0301", "late", SOURCE.span(9, 10), "again")):
        sink.report(diagnostic)
    assert sink.errors == [early, late, elsewhere, placeless]
    assert sink.warnings == [hint]
    with pytest.raises(DiagnosticError) as caught:
        sink.finish()
    assert caught.value.diagnostics == (early, hint, late, elsewhere, placeless)
    assert str(caught.value) == render(caught.value.diagnostics)


def test_warnings_alone_stop_nothing() -> None:
    sink = Sink()
    sink.report(warning("E0301", "hint", None))
    sink.finish()
    assert len(sink.warnings) == 1


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("rellu", "relu"),
        ("BatchNorm", "batch_norm"),
        ("Relu", "relu"),
        ("maxpool", "max_pool"),
        ("convolution_of_things", None),
        ("x", None),
    ],
)
def test_did_you_mean(name: str, nearest: str | None) -> None:
    assert did_you_mean(name, ["relu", "batch_norm", "max_pool", "conv", "dense"]) == nearest


def test_a_name_is_not_suggested_for_itself() -> None:
    assert did_you_mean("relu", ["relu", "elu"]) == "elu"
    assert did_you_mean("relu", []) is None


@pytest.mark.parametrize("code", all_codes())
def test_every_explanation_has_its_heading_and_a_story(code: str) -> None:
    first, blank, story, *_ = explain(code).splitlines()
    assert first == f"# {code}: {title(code)}"
    assert title(code)
    assert blank == ""
    assert len(story) > 20


def test_codes_that_do_not_exist_have_no_story() -> None:
    assert "E0101" in all_codes()
    with pytest.raises(KeyError):
        explain("E9999")
