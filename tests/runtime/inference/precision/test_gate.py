"""How much worse a figure may be."""

from __future__ import annotations

import math

import pytest

from runtime.inference.precision.gate import Gate, Limits

GATE = Gate({"accuracy": 0.9, "mae": 2.0, "loss": 0.5}, {"accuracy": "higher", "mae": "lower"}, Limits(0.5, 2.0))


@pytest.mark.parametrize(
    ("accuracy", "mae", "failed"),
    [
        (0.9, 2.0, []),
        (1.0, 1.0, []),
        (0.8951, 2.039, []),
        (0.8949, 2.0, ["accuracy"]),
        (0.9, 2.041, ["mae"]),
        (math.nan, math.nan, ["accuracy", "mae"]),
        (0.9, math.inf, ["mae"]),
    ],
)
def test_points_and_percent(accuracy: float, mae: float, failed: list[str]) -> None:
    after = {"accuracy": accuracy, "mae": mae, "loss": 99.0}
    assert GATE.failed(after) == failed
    assert GATE.passes(after) == (not failed)
    assert (GATE.excess(after) > 1) == bool(failed)


def test_a_loss_below_0_may_rise_by_a_share_of_its_size() -> None:
    gate = Gate({"loss": -100.0}, {"loss": "lower"}, Limits())
    assert gate.passes({"loss": -98.1})
    assert not gate.passes({"loss": -97.9})


def test_nothing_may_get_worse_where_nothing_is_allowed() -> None:
    gate = Gate({"accuracy": 0.9}, {"accuracy": "higher"}, Limits(drop=0))
    assert gate.passes({"accuracy": 0.9})
    assert not gate.passes({"accuracy": 0.899})


@pytest.mark.parametrize(("figure", "passes"), [(0.981, True), (1.019, True), (0.979, False), (1.021, False)])
def test_an_expression_may_be_off_in_either_direction(figure: float, passes: bool) -> None:
    gate = Gate({"exact": 1.0}, {"exact": "same"}, Limits())
    assert gate.passes({"exact": figure}) == passes
    assert gate.allowed_text("exact") == "at most 2% off"
