"""Graphs as text."""

from __future__ import annotations

from runtime.reports.graphs.boxes import Box, picture
from runtime.reports.graphs.rails import text_lines


def drawn(*boxes: Box, fold: bool = False) -> str:
    return "\n".join(line.rstrip() for line in text_lines(picture(boxes, fold)))


def test_a_residual_unit() -> None:
    assert drawn(
        Box("x", "input", ("f32[N]",), kind="port"),
        Box("a", "Conv", ("f32[N, 4]",), 1024, ((0, 0),)),
        Box("b", "Relu", ("f32[N, 4]",), 0, ((1, 0),)),
        Box("", "Add", ("f32[N, 4]",), 0, ((2, 0), (0, 0))),
        Box("y", "output", ("f32[N, 4]",), 0, ((3, 0),), "port"),
    ) == (
        "○    x     f32[N]     input\n"
        "├─╮\n"
        "│ ●  Conv  f32[N, 4]  a       1,024\n"
        "│ ●  Relu  f32[N, 4]  b\n"
        "├─╯\n"
        "●    Add   f32[N, 4]\n"
        "○    y     f32[N, 4]  output"
    )


def test_several_results_and_a_value_that_goes_on() -> None:
    assert drawn(
        Box("x", "input", ("f32[N]",), kind="port"),
        Box("", "Split", ("f32[2]", "f32[2]", "f32[2]"), 0, ((0, 0),)),
        Box("", "Mul", ("f32[2]",), 0, ((1, 0), (1, 1))),
        Box("", "Sub", ("f32[2]",), 0, ((2, 0), (1, 2), (0, 0))),
    ) == (
        "○        x      f32[N]      input\n"
        "├─╮\n"
        "│ ●      Split  3 x f32[2]\n"
        "│ ├─┬─╮\n"
        "│ ├─╯ │\n"
        "│ ●   │  Mul    f32[2]\n"
        "├─┴───╯\n"
        "●        Sub    f32[2]"
    )


def test_what_is_repeated_stands_between_dots() -> None:
    boxes = [Box("x", "input", ("f32[N]",), kind="port")]
    boxes += [Box(f"n.{i}.relu", "Relu", ("f32[N]",), 0, ((i, 0),)) for i in range(4)]
    assert drawn(*boxes, fold=True) == (
        "○  x     f32[N]  input\n│  ┄┄┄ 4 times: n.0.relu, n.1.relu, …, n.3.relu\n●  Relu  f32[N]  n.0.relu\n   ┄┄┄"
    )


def test_long_texts_and_wide_graphs_are_not_drawn_out() -> None:
    boxes = [Box("x" * 10**6, "input", ("f32[N]",), kind="port"), Box("a", "Relu", ("f32[N]",))]
    line, _ = text_lines(picture(boxes, False))
    assert len(line) < 300
    assert "xxx…" in line
    many = [Box(f"x{i}", "input", ("f32[N]",), kind="port") for i in range(600)]
    total = Box("y", "Sum", ("f32[N]",), 0, tuple((i, 0) for i in range(600)))
    assert drawn(*many, total) == "not drawn: more than 500 values are under way at the same time"
    assert "Sum" in drawn(*many[:400], Box("y", "Sum", ("f32[N]",), 0, tuple((i, 0) for i in range(400))))
