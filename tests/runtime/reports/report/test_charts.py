"""Charts: places, ticks, gaps, and what a screen reader is told."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from runtime.reports.report.charts import (
    HEIGHT,
    WIDTH,
    Axis,
    Series,
    line_chart,
    number_text,
    scatter_chart,
    value_axis,
)


def test_an_axis_runs_from_end_to_end() -> None:
    axis = Axis(10.0, 20.0, 100.0, 0.0)
    assert [axis.at(value) for value in (10.0, 15.0, 20.0)] == [100.0, 50.0, 0.0]
    bent = Axis(0.01, 100.0, 0.0, 4.0, logarithmic=True)
    assert [bent.at(value) for value in (0.01, 1.0, 100.0)] == pytest.approx([0.0, 2.0, 4.0])


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.7, 12.1), (0.91, 0.934), (1e6, 3e6), (0, 1e-9)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = Axis(low, high, 0.0, 1.0).ticks()
    assert 3 <= len(ticks) <= 7
    assert all(low - 1e-12 <= tick <= high + 1e-12 * high for tick in ticks)
    steps = {round((after - before) / (ticks[1] - ticks[0]), 6) for before, after in pairwise(ticks)}
    assert steps == {1.0}


def test_what_is_far_apart_gets_a_logarithmic_axis() -> None:
    assert value_axis([1e-4, 1.0], 0.0, 1.0).logarithmic
    assert value_axis([1e-4, 1.0], 0.0, 1.0).ticks() == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    assert not value_axis([0.5, 1.0, math.nan, math.inf], 0.0, 1.0).logarithmic
    assert not value_axis([], 0.0, 1.0).logarithmic


@pytest.mark.parametrize("values", [[3.0], [2.0, 2.0], [0.0], [math.nan], [-1.0, 1.0], [1e-30, 1e30]])
def test_any_values_make_a_drawing(values: list[float]) -> None:
    chart = line_chart("c", "a & b", [Series("<one>", list(range(len(values))), values)], "epoch", mark=0)
    root = ET.fromstring(chart)
    assert root[0].text == "a & b"
    for place in re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy)="([^"]*)"', chart):
        assert -20 <= float(place) <= max(WIDTH, HEIGHT) + 20


def test_gaps_part_a_line_and_points_alone_are_dots() -> None:
    chart = line_chart("c", "t", [Series("s", range(6), [1, 2, math.nan, 3, math.inf, 4])], "epoch")
    assert chart.count("<polyline") == 1
    assert chart.count("<circle") == 2


def test_what_a_screen_reader_is_told() -> None:
    chart = line_chart("c", "loss over epochs", [Series("training", [1, 2, 3], [0.5, 0.125, 0.25])], "epoch")
    assert "training goes from 0.5 to 0.25, between 0.125 and 0.5." in chart


def test_long_runs_are_thinned_out() -> None:
    ys = [1 / (1 + x) for x in range(100_000)]
    assert len(line_chart("c", "t", [Series("s", range(100_000), ys)], "step")) < 30_000
    assert scatter_chart("s", "t", ys, ys).count("<circle") <= 800


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.12345678, "0.1235"), (12345.6, "1.235e+04"), (1e-5, "1e-5"), (2.5e7, "2.5e7"), (math.nan, "nan")],
)
def test_numbers(value: float, text: str) -> None:
    assert number_text(value) == text
