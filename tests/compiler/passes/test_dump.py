"""What a pass did to a graph, as a text."""

from __future__ import annotations

from typing import Any

from compiler.ir.text import to_text
from compiler.passes.cse import CommonSubexpressions
from compiler.passes.dump import Stage
from compiler.passes.pipeline import Pipeline
from compiler.passes.simplify import Simplify

TEXT = """
    data %x: f32[N]
    %one: f32[] = constant() {array=f32[](1.0)}
    %y: f32[N] = mul(%x, %one)
    %z: f32[N] = exp(%y)
    return z=%z
"""


def stages(graphs: Any) -> list[Stage]:
    found: list[Stage] = []
    passes = (CommonSubexpressions(), Simplify())
    Pipeline(passes, lambda *stage: found.append(Stage(*stage))).run(graphs.read(TEXT))
    return found


def test_a_stage_shows_the_graph_after_the_pass(graphs: Any) -> None:
    untouched, simplified = stages(graphs)
    assert (untouched.name, untouched.changed, untouched.diff()) == ("common-subexpressions", False, "")
    assert untouched.text == to_text(graphs.read(TEXT))
    assert simplified.changed
    assert simplified.text == "graph g {\n    data %x: f32[N]\n\n    %z: f32[N] = exp(%x)\n\n    return z=%z\n}\n"


def test_the_difference_is_a_unified_diff(graphs: Any) -> None:
    _, simplified = stages(graphs)
    lines = [line for line in simplified.diff().splitlines() if line[:1] in "+-"]
    assert lines == [
        "--- g before simplify",
        "+++ g after simplify",
        "-    %one: f32[] = constant() {array=f32[](1.0)}",
        "-    %y: f32[N] = mul(%x, %one)",
        "-    %z: f32[N] = exp(%y)",
        "+    %z: f32[N] = exp(%x)",
    ]
