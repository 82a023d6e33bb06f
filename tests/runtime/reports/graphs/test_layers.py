"""Layered drawings: nothing overlaps, and every arrow leads down."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise

import numpy as np
import pytest

from runtime.reports.graphs.boxes import picture
from runtime.reports.graphs.layers import place
from runtime.reports.graphs.svg import STYLE, svg
from tests.runtime.reports.graphs.test_boxes import graph, residual

GAP = (20.0, 30.0)


@pytest.mark.parametrize("seed", range(40))
def test_boxes_stand_apart_and_arrows_lead_down(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 21))
    sizes = [(float(random.uniform(10, 200)), float(random.uniform(10, 50))) for _ in range(count)]
    pairs = list(combinations(range(count), 2))
    arrows = [pairs[number] for number in random.permutation(len(pairs))[: random.integers(0, 31)]]
    placed = place(sizes, arrows, GAP)
    assert placed == place(sizes, arrows, GAP)
    for a, b in pairs:
        apart_across = abs(placed.x[a] - placed.x[b]) >= (sizes[a][0] + sizes[b][0]) / 2 + GAP[0] - 1e-6
        apart_down = placed.y[a] + sizes[a][1] <= placed.y[b] or placed.y[b] + sizes[b][1] <= placed.y[a]
        assert apart_across or apart_down
    for (source, target), way in zip(arrows, placed.ways, strict=True):
        assert way[0] == (placed.x[source], placed.y[source] + sizes[source][1])
        assert way[-1] == (placed.x[target], placed.y[target])
        assert all(lower[1] >= upper[1] for upper, lower in pairwise(way))
    assert all(
        x - w / 2 >= -1e-6 and x + w / 2 <= placed.width + 1e-6 for x, (w, _) in zip(placed.x, sizes, strict=True)
    )


def test_a_chain_is_straight_and_branches_stand_side_by_side() -> None:
    sizes = [(100.0, 20.0)] * 6
    placed = place(sizes, [(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (3, 5)], GAP)
    assert placed.x[1] == pytest.approx(placed.x[2], abs=0.5)
    assert placed.x[2] == pytest.approx(placed.x[3], abs=0.5)
    assert abs(placed.x[4] - placed.x[1]) >= 120


def test_few_arrows_cross() -> None:
    # Two chains from one source, written so that they cross in the order of their numbers.
    arrows = [(0, 1), (0, 2), (1, 4), (2, 3), (3, 6), (4, 5)]
    placed = place([(40.0, 20.0)] * 7, arrows, GAP)
    side = [placed.x[index] > placed.x[0] for index in range(7)]
    assert side[1] == side[4] == side[5] != side[2] == side[3] == side[6]


@pytest.mark.parametrize("seed", range(20))
def test_a_drawing_is_sound_xml_with_every_box(seed: int) -> None:
    boxes = graph(seed)
    drawn = svg("g", "a <graph>", picture(boxes, fold=True), STYLE)
    root = ET.fromstring(drawn)
    found = picture(boxes, fold=True)
    groups = [item for item in root.iter() if item.get("class", "").startswith("box")]
    assert len(groups) == len(found.boxes)
    assert not re.search(r"nan|inf\b", drawn)


def test_a_drawing_that_stands_alone_brings_its_style_for_light_and_dark() -> None:
    alone, inside = (svg("g", "t", picture(residual(4), fold=True), style) for style in (STYLE, ""))
    assert "prefers-color-scheme: dark" in alone
    assert "http://www.w3.org/2000/svg" in alone
    assert "://" not in inside
    assert "4 times: net.0 … net.3" in inside
