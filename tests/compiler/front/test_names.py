"""Names that mean nothing, where elaboration does not come."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler import Checked
from compiler.diagnostics import DiagnosticError

Check = Callable[..., Checked]


def titles(check: Check, text: str) -> list[str]:
    with pytest.raises(DiagnosticError) as caught:
        check(text)
    return [diagnostic.title for diagnostic in caught.value.diagnostics]


def test_a_block_that_nothing_calls(check: Check) -> None:
    text = """
        const width = 8
        block Unit(x: [N, D], k=width, act=relu, mask: bool[N] = none) -> [N, k] {
            layer e = denze(4)
            a, b = (x, y)
            s: repeat 3 as i { dense(i + j) -> gelu(approximate=tanh) -> dense(2, init=he(normal=true)) }
            if mask == none { act } else { foo }
            reshape(N, M) -> cast(f32) -> it + e.weight + a @ b -> conv(3, 1, pad=same)
        }
    """
    assert titles(check, text) == [f"unknown name {name}" for name in ("denze", "y", "j", "foo", "M")]


def test_a_branch_that_is_not_taken(check: Check) -> None:
    text = "model Net(x: f32[N, 8]) { if true { relu } else { rellu } }"
    assert titles(check, text) == ["unknown name rellu"]


@pytest.mark.parametrize(
    ("stage", "title"),
    [
        ("dense(2, init=hee)", "there is no initialiser hee"),
        ("gelu(approximate=tan)", "approximate of gelu is one of none, tanh"),
        ("dence(2)", "unknown name dence"),
    ],
)
def test_nothing_is_said_twice(check: Check, stage: str, title: str) -> None:
    text = f"block Unit(x: [N, D]) {{ {stage} }}\nmodel Net(x: f32[N, 8]) {{ Unit -> Unit }}"
    assert titles(check, text) == [title]


@pytest.mark.parametrize("form", ["", " as b"])
def test_nothing_is_said_about_what_could_not_be_imported(check: Check, form: str) -> None:
    text = f"""
        import "nothing.dl"{form}
        block Own(x: [N, D]) {{ {"b." if form else ""}Unit(3) }}
        model Net(x: f32[N, 8]) -> f32[N, 2] {{ {"b." if form else ""}Unit(3) -> Own }}
        train net(x: f32[N, 8]) {{ minimize mean(Net(x)) with adam }}
    """
    assert titles(check, text) == ["there is no file nothing.dl"]
