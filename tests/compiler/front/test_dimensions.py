"""Bounds of symbols, and patterns with any number of dimensions."""

from __future__ import annotations

import numpy as np
import pytest

import compiler
import dlc
from compiler import Checked
from compiler.diagnostics import DiagnosticError, Source


def check(text: str) -> Checked:
    return compiler.check(Source("net.dl", text))


def refusal(text: str) -> tuple[str, str]:
    with pytest.raises(DiagnosticError) as caught:
        check(text)
    (found,) = caught.value.diagnostics
    return found.code, found.title


@pytest.mark.parametrize(
    ("dimension", "bounds"),
    [
        ("T", ""),
        ("1 <= T", ""),
        ("2 <= T", "2 <= T"),
        ("T <= most", "T <= 64"),
        ("2 * 2 <= T <= most", "4 <= T <= 64"),
    ],
)
def test_bounds(dimension: str, bounds: str) -> None:
    checked = check(f"const most = 64\nmodel Net(x: f32[N, {dimension}]) {{ relu }}")
    assert [symbol.bounds_text for symbol in checked.elaborated.models["Net"].graph.symbols] == ["", bounds]


def test_a_lower_bound_makes_sure_that_something_is_left() -> None:
    text = "model Net(x: f32[N, {}, 8]) -> f32[N, 8] {{ mean(x[:, 2:], 1) + x[:, 2] }}"
    check(text.format("3 <= T"))
    with pytest.raises(DiagnosticError):
        check(text.format("2 <= T"))


@pytest.mark.parametrize(
    ("dimension", "code", "title"),
    [
        ("3 <= T <= 2", "E0404", "no size is at least 3 and at most 2"),
        ("0 <= T", "E0404", "a size is at least 1, not 0"),
        ("2 <= 4", "E0404", "only a new symbol can be given a bound"),
        ("2 <= N", "E0404", "only a new symbol can be given a bound"),
        ("N <= T", "E0404", "only a new symbol can be given a bound"),
    ],
)
def test_bounds_that_are_none(dimension: str, code: str, title: str) -> None:
    assert refusal(f"model Net(x: f32[N, {dimension}]) {{ relu }}") == (code, title)


def test_blocks_ask_for_bounds() -> None:
    text = "block Second(x: [N, 2 <= T, D]) {{ x[:, 1] }}\nmodel Net(x: f32[N, {}, 4]) {{ Second }}"
    check(text.format("2 <= T"))
    check(text.format("2"))
    assert refusal(text.format("T")) == ("E0302", "Second takes x: [N, 2 <= T, D], but gets f32[N, T, 4]")
    assert refusal(text.format("1")) == ("E0301", "Second takes x: [N, 2 <= T, D], but gets f32[N, 1, 4]")


def test_what_breaks_a_bound_is_refused_when_the_model_runs() -> None:
    model = dlc.loads("model Net(x: f32[N, 2 <= T <= 4]) -> f32[N, T - 1] { x[:, 1:] - x[:, :-1] }")
    assert model.predict(np.array([[1.0, 3.0]], np.float32)).tolist() == [[2.0]]
    with pytest.raises(DiagnosticError, match=r"T is 1 in dimension 1 of `x`, but 2 <= T <= 4"):
        model.predict(np.ones((1, 1), np.float32))
    with pytest.raises(DiagnosticError, match="cut dimension 1 to 4 or less"):
        model.predict(np.ones((1, 5), np.float32))


def test_the_samples_of_a_batch_have_no_least_number() -> None:
    text = "model Net(x: f32[N, 2]) { dense(1) }\ntrain net(x: f32[2 <= N, 2]) { minimize mean(Net(x)) with sgd(0.1) }"
    assert refusal(text)[0] == "E0506"


REST = """
block Unit(x: [N, ..., D], y: [N, ..., D] = none) -> [N, ..., 2 * D] { dense(2 * D) }
model Net(x: f32[N, 8], y: f32[N, T, 5, 8], z: f32[N, T, 4, 8]) { CALL }
"""


@pytest.mark.parametrize(
    ("call", "type"),
    [("Unit(x)", "f32[N, 16]"), ("Unit(y)", "f32[N, T, 5, 16]"), ("Unit(y, y)", "f32[N, T, 5, 16]")],
)
def test_any_number_of_dimensions(call: str, type: str) -> None:
    model = check(REST.replace("CALL", call)).elaborated.models["Net"]
    assert [str(*row.outputs) for row in model.stages] == [type]


@pytest.mark.parametrize(
    ("call", "detail"),
    [
        ("Unit(y, z)", r"\.\.\.: \[T, 5\] needed, \[T, 4\] given"),
        ("Unit(x, y)", r"\.\.\.: \[\] needed, \[T, 5\] given"),
        ("Unit(mean(x, 1))", "at least 2 dimensions needed, 1 given"),
    ],
)
def test_dimensions_that_do_not_fit(call: str, detail: str) -> None:
    with pytest.raises(DiagnosticError, match=detail):
        check(REST.replace("CALL", call))


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("model Net(x: f32[N, ...]) { relu }", "an input has a fixed number of dimensions"),
        ("model Net(x: f32[N]) -> f32[...] { relu }", "what ... stands for is not known here"),
        (
            "block B(x: [..., N, ...]) { relu }\nmodel Net(x: f32[N]) { B }",
            "B takes x: [..., N, ...], but gets f32[N]",
        ),
    ],
)
def test_where_any_number_of_dimensions_can_not_stand(text: str, title: str) -> None:
    assert refusal(text) == ("E0301", title)
