"""Schedules, update by update, against PyTorch's or their formula; warm-up; what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from compiler.front.catalogue.entry import entries
from compiler.rules import Schedule, When

STEPS, PER_EPOCH = 60, 6


def schedule(text: str) -> Schedule:
    """The schedule of an optimizer that is written so."""
    source = f"""
        model Net(x: f32[N, 2]) -> f32[N, 1] {{ dense(1) }}
        train net(x: f32[N, 2], y: f32[N, 1]) {{
            minimize mse(Net(x), y) with sgd({text})
            validate 20%
        }}
    """
    found = compiler.check(Source("test.dl", source)).elaborated.trains["net"].losses[0].rule.lr
    assert not isinstance(found, float)
    made: Schedule = found
    return made


def rates(text: str) -> list[float]:
    """The rate of each update of a run."""
    found = schedule(text)
    return [found.at(When(step, STEPS, step // PER_EPOCH)) for step in range(STEPS)]


BY_EPOCH: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("step(0.1, 3)", lambda s, o: s.StepLR(o, 3)),
    ("step(0.1, 2, 0.5)", lambda s, o: s.StepLR(o, 2, 0.5)),
    ("milestones(0.1, [2, 5, 8], 0.3)", lambda s, o: s.MultiStepLR(o, [2, 5, 8], 0.3)),
    ("exponential(0.1, 0.8)", lambda s, o: s.ExponentialLR(o, 0.8)),
]
BY_STEP: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("cosine(0.1)", lambda s, o: s.CosineAnnealingLR(o, STEPS)),
    ("cosine(0.1, to=0.01)", lambda s, o: s.CosineAnnealingLR(o, STEPS, 0.01)),
    ("linear(0.1, to=0.05)", lambda s, o: s.LinearLR(o, 1.0, 0.5, STEPS)),
    ("one_cycle(0.1)", lambda s, o: s.OneCycleLR(o, 0.1, STEPS, cycle_momentum=False)),
    (
        "one_cycle(0.1, rise=0.1, start=0.5, end=0.005)",
        lambda s, o: s.OneCycleLR(
            o, 0.1, STEPS, pct_start=0.1, div_factor=2, final_div_factor=100, cycle_momentum=False
        ),
    ),
]


@pytest.mark.parametrize(("text", "make", "each"), [(*c, PER_EPOCH) for c in BY_EPOCH] + [(*c, 1) for c in BY_STEP])
def test_every_rate_is_that_of_pytorch(text: str, make: Callable[[Any, Any], Any], each: int) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    expected = []
    for step in range(STEPS):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % each == 0:
            scheduler.step()
    assert rates(text) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_every_schedule_is_tested_here() -> None:
    tested = {text.partition("(")[0] for text, _ in BY_EPOCH + BY_STEP}
    assert tested | {"constant", "plateau"} == set(entries("schedule"))


@pytest.mark.parametrize(("warmup", "rising"), [("10%", 6), ("0.01", 1), ("9", 9)])
def test_a_warm_up_rises_and_the_rest_begins_after_it(warmup: str, rising: int) -> None:
    found = rates(f"cosine(0.1, warmup={warmup})")
    assert found[:rising] == pytest.approx([0.1 * (step + 1) / (rising + 1) for step in range(rising)])
    left = STEPS - rising
    assert found[rising:] == pytest.approx([0.05 * (1 + math.cos(math.pi * step / left)) for step in range(left)])
    assert rates(f"constant(0.1, warmup={warmup})")[rising:] == [0.1] * left


def test_a_constant_is_a_number() -> None:
    assert rates("constant(0.1)") == [0.1] * STEPS


def test_runs_of_one_step_and_longer_ones_than_planned_have_rates() -> None:
    for text in ("cosine(0.1)", "linear(0.1)", "one_cycle(0.1)", "cosine(0.1, warmup=50%)"):
        found = schedule(text)
        for total in (1, 2):
            assert all(0 <= found.at(When(step, total, 0)) <= 0.1 for step in range(4))


def test_a_plateau_reduces_down_to_the_least() -> None:
    found = schedule("plateau(0.1, 0.5, least=0.02)")
    assert [found.at(When(0, 1, 0, n)) for n in range(4)] == pytest.approx([0.1, 0.05, 0.025, 0.02])


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("cosin(0.1)", "E0201", "did you mean cosine"),
        ("cosine(-1)", "E0404", "rate has to be at least 0"),
        ("step(0.1, 0)", "E0404", "at least 1 epoch"),
        ("exponential(0.1, 1.5)", "E0404", "up to 1"),
        ("milestones(0.1, [0.5])", "E0404", "whole epochs"),
        ("milestones(0.1, [])", "E0404", "whole epochs"),
        ("one_cycle(0.1, rise=2)", "E0404", "from 0 to 1"),
        ("cosine(0.1, warmup=2.5)", "E0404", "whole number of updates"),
        ('plateau(0.1, measure="val.accuracy")', "E0509", "does not measure accuracy"),
        ('plateau(0.1, measure="val.los")', "E0509", "did you mean val.loss"),
        ("cosine", "E0402", "cosine needs rate"),
        ('"fast"', "E0403", "a number or a schedule"),
    ],
)
def test_what_cannot_be_is_refused(text: str, code: str, words: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        schedule(text)
    assert caught.value.diagnostics[0].code == code
    assert words in str(caught.value)
