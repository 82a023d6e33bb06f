"""When training ends: the statements `epochs`, `steps` and `stop`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import compiler
from compiler import Checked
from compiler.diagnostics import DiagnosticError
from compiler.program import Settings, Stop, loss_names

Check = Callable[..., Checked]

MODEL = "model Net(x: f32[N, 8]) -> f32[N, 3] { dense(3) }\n"
MINIMIZE = "minimize cross_entropy(Net(x), label) with adam\n"


def settings(check: Check, statements: str) -> Settings:
    checked = check(f"{MODEL}train net(x: f32[N, 8], label: i64[N]) {{\n{MINIMIZE}{statements}\n}}")
    return compiler.compile_train(checked, "net").settings


def failure(check: Check, statements: str) -> list[tuple[str, str, str]]:
    """Of each error: code, title and the text that it points at."""
    with pytest.raises(DiagnosticError) as caught:
        settings(check, statements)
    return [
        (item.code, item.title, item.primary.span.text if item.primary else "") for item in caught.value.diagnostics
    ]


@pytest.mark.parametrize(
    ("statements", "stop"),
    [
        ("stop loss", Stop("loss", 10)),
        ("stop loss patience 2 + 3", Stop("loss", 5)),
        ("validate 20%\nstop val.loss patience 1", Stop("val.loss", 1)),
        ('validate "more.npz"\nstop val.loss', Stop("val.loss", 10)),
        ("measure accuracy(Net(x), label)\nstop accuracy", Stop("accuracy", 10)),
        ("stop accuracy\nmeasure accuracy(Net(x), label)", Stop("accuracy", 10)),
        ("measure size = mean(Net(x))\nvalidate 20%\nstop val . size", Stop("val.size", 10)),
        (MINIMIZE + "stop loss2", Stop("loss2", 10)),
        (MINIMIZE + "validate 20%\nstop val.loss", Stop("val.loss", 10)),
    ],
)
def test_a_figure_to_stop_by(check: Check, statements: str, stop: Stop) -> None:
    assert settings(check, statements).stop == stop


@pytest.mark.parametrize(
    ("statements", "title", "at"),
    [
        ("stop lss", "net has no figure lss", "lss"),
        ("stop val.loss", "val.loss is measured in validation, and nothing is set apart for it", "val.loss"),
        ("stop val", "net has no figure val", "val"),
        ("stop test.loss", "net has no figure test.loss", "test.loss"),
        ("stop accuracy", "net does not measure accuracy", "accuracy"),
        ("measure right = accuracy(Net(x), label)\nstop accuracy", "net does not measure accuracy", "accuracy"),
        (MINIMIZE + "stop loss", "net has no figure loss", "loss"),
        (MINIMIZE + "validate 20%\nstop val.loss1", "net has no figure val.loss1", "val.loss1"),
    ],
)
def test_no_figure_to_stop_by(check: Check, statements: str, title: str, at: str) -> None:
    assert failure(check, statements) == [("E0509", title, at)]


def test_a_measure_with_an_error_is_reported_once(check: Check) -> None:
    (only,) = failure(check, "measure accuracy(Net(x), lable)\nstop accuracy")
    assert only[0] == "E0201"


def test_epochs_or_steps(check: Check) -> None:
    assert (settings(check, "steps 10_000").steps, settings(check, "steps 10_000").epochs) == (10_000, None)
    assert settings(check, "epochs 3").epochs == 3
    assert failure(check, "epochs 3\nsteps 4") == [("E0507", "epochs and steps both say when training ends", "steps 4")]
    assert failure(check, "steps 0") == [("E0404", "steps is at least 1, not 0", "0")]
    assert failure(check, "stop loss patience 0") == [("E0404", "patience is at least 1, not 0", "0")]


def test_names_of_losses() -> None:
    assert (loss_names(1), loss_names(3)) == (("loss",), ("loss1", "loss2", "loss3"))
