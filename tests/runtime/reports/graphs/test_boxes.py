"""Boxes in order, and what is repeated told once."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.reports.graphs.boxes import Box, picture
from runtime.reports.graphs.rails import text_lines


def chain(*texts: str) -> list[Box]:
    return [Box(f"{text}{i}", text, ("f32[N]",), 0, ((i - 1, 0),) if i else ()) for i, text in enumerate(texts)]


def residual(blocks: int) -> list[Box]:
    """An input, blocks of a convolution whose input is added to its result, and an output."""
    found = [Box("x", "input", ("f32[N]",), kind="port")]
    for number in range(blocks):
        before = len(found) - 1
        found.append(Box(f"net.{number}.conv", "Conv", ("f32[N]",), 9, ((before, 0),)))
        found.append(Box(f"net.{number}.add", "Add", ("f32[N]",), 0, ((before, 0), (before + 1, 0))))
    return [*found, Box("y", "output", ("f32[N]",), 0, ((len(found) - 1, 0),), "port")]


def graph(seed: int) -> list[Box]:
    """A graph drawn by chance."""
    random = np.random.default_rng(seed)
    found: list[Box] = []
    for index in range(random.integers(1, 26)):
        earlier = [(source, result) for source in range(index) for result in range(len(found[source].gives))]
        chosen = random.permutation(len(earlier))[: random.integers(0, 4)]
        reads = tuple(earlier[number] for number in chosen)
        found.append(Box("", str(random.choice(["a", "b"])), ("f32[N]",) * int(random.integers(1, 4)), 0, reads))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_the_order_is_one_and_loses_nothing(seed: int) -> None:
    boxes = graph(seed)
    found = picture(boxes, fold=False).boxes
    assert sorted((box.text, len(box.reads)) for box in found) == sorted((box.text, len(box.reads)) for box in boxes)
    assert all(source < index for index, box in enumerate(found) for source, _ in box.reads)


@pytest.mark.parametrize("seed", range(60))
def test_what_is_folded_stands_for_all(seed: int) -> None:
    boxes = graph(seed)
    found = picture(boxes, fold=True)
    more = sum((repeat.times - 1) * (repeat.stop - repeat.start) for repeat in found.repeats)
    assert len(found.boxes) + more == found.total == len(boxes)
    assert all(source < index for index, box in enumerate(found.boxes) for source, _ in box.reads)
    assert sum("●" in line for line in text_lines(found)) == len(found.boxes)


def test_inputs_may_stand_anywhere() -> None:
    boxes = [Box("y", "Relu", ("f32[N]",), 0, ((1, 0),)), Box("x", "input", ("f32[N]",), kind="port")]
    assert [box.label for box in picture(boxes, fold=False).boxes] == ["x", "y"]


def test_a_pattern_is_told_once() -> None:
    found = picture(chain("in", *["Conv", "Relu"] * 3, "Gemm"), fold=True)
    assert [box.text for box in found.boxes] == ["in", "Conv", "Relu", "Gemm"]
    ((repeat,),) = (found.repeats,)
    assert (repeat.start, repeat.stop, repeat.times) == (1, 3, 3)
    assert found.boxes[3].reads == ((2, 0),)


def test_parts_with_branches_have_their_names() -> None:
    found = picture(residual(5), fold=True)
    assert [box.text for box in found.boxes] == ["input", "Conv", "Add", "output"]
    assert found.repeats[0].names == tuple(f"net.{number}" for number in range(5))


def test_what_differs_is_not_folded() -> None:
    boxes = residual(3)
    boxes[3] = Box("net.1.conv", "Conv", ("f32[N]",), 8, boxes[3].reads)  # other weights
    assert picture(boxes, fold=True).repeats == ()


def test_a_value_from_outside_may_be_read_by_every_part() -> None:
    boxes = [Box("m", "Mask", ("f32[N]",)), Box("x", "input", ("f32[N]",), kind="port")]
    for _ in range(40):
        boxes.append(Box("", "Add", ("f32[N]",), 0, ((len(boxes) - 1, 0), (0, 0))))
    found = picture(boxes, fold=True)
    assert [box.text for box in found.boxes] == ["Mask", "input", "Add"]
    assert found.repeats[0].times == 40


def test_a_result_that_is_read_later_too_is_not_folded_away() -> None:
    boxes = chain("in", *["Conv"] * 40)
    boxes.append(Box("", "Add", ("f32[N]",), 0, ((40, 0), (7, 0))))
    found = picture(boxes, fold=True)
    assert all(source < index for index, box in enumerate(found.boxes) for source, _ in box.reads)
    assert len(found.boxes) + sum((r.times - 1) * (r.stop - r.start) for r in found.repeats) == 42
