"""Which weights a train block changes, and the warning about those that it does not."""

from __future__ import annotations

import pytest

import compiler
from compiler import Checked
from compiler.diagnostics import Source

NET = """
model Net(x: f32[N, 4]) -> (a: f32[N, 1], b: f32[N, 1]) {
    layer left = dense(1)
    layer right = dense(1)
    (x -> left, x -> right)
}
"""


def check(statements: str, models: str = NET) -> Checked:
    return compiler.check(Source("net.dl", f"{models}\ntrain net(x: f32[N, 4], y: f32[N, 1]) {{\n{statements}\n}}\n"))


def warned(statements: str) -> list[str]:
    return [str(warning) for warning in check(statements).warnings]


@pytest.mark.parametrize(
    "statements",
    [
        "a, _ = Net(x)\nminimize mse(a, y) with sgd",
        "a, b = Net(x)\nminimize mse(a, y) + 0 * mse(stop_gradient(b), y) with sgd",
        "a, b = Net(x)\nminimize mse(a, y) + mse(stop_gradient(b), y) over Net with sgd",
    ],
    ids=["nothing reads it", "stop_gradient", "over says that it learns"],
)
def test_weights_that_no_loss_reaches(statements: str) -> None:
    (warning,) = warned(statements)
    assert "W0501" in warning
    assert "net never changes Net.right.dense.weight and 1 more weight" in warning
    assert "freeze Net.right.dense" in warning


@pytest.mark.parametrize(
    "statements",
    [
        "a, b = Net(x)\nminimize mse(a + b, y) with sgd",
        "a, _ = Net(x)\nfreeze Net.right\nminimize mse(a, y) with sgd",
        "a, _ = Net(x)\nminimize mse(a, y) over Net.left with sgd",
        "a, _ = Net(x)\n_, b = Net(x)\nminimize mse(a, y) with sgd\nminimize mse(b, y) with sgd",
    ],
    ids=["all learn", "frozen", "over names what learns", "another loss reaches it"],
)
def test_what_is_meant_draws_no_warning(statements: str) -> None:
    assert warned(statements) == []


def test_freeze_speaks_of_the_weights_of_all_losses() -> None:
    """Each loss depends on one half only, and freezing a part of the other half is no mistake of it."""
    models = NET.replace("layer left = dense(1)", "layer left = Half") + (
        "\nblock Half(x: [N, D]) { inner: dense(4)\n outer: dense(1) }\n"
    )
    checked = check(
        "freeze Net.left.Half.inner\na, _ = Net(x)\n_, b = Net(x)\n"
        "minimize mse(a, y) with sgd\nminimize mse(b, y) with sgd",
        models,
    )
    first, second = checked.elaborated.trains["net"].losses
    assert all(name.startswith("Net.left.Half.outer") for name in first.over)
    assert all(name.startswith("Net.right") for name in second.over)
    assert checked.warnings == ()
