"""dlc dump: graphs by name, after each pass, and what a pass changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import compiler.ops  # noqa: F401 - the operations that a text may name
from compiler.ir.parse import parse_graph
from compiler.ops.base import registry


def test_the_graphs_of_a_file(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("dump", net, "--list")
    assert outcome.out.split() == ["Net", "net.initial", "net.step0", "net.evaluate"]


def test_the_only_model_in_its_text_form(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("dump", net)
    assert outcome.out.startswith("graph Net {\n    data %x: f32[N, 3] ")
    graph = parse_graph(outcome.out, registry())
    assert graph.inputs[0].name == "x"
    assert [output.name for output in graph.outputs] == ["output"]


def test_the_passes_of_a_step(dlc: Callable[..., Any], net: Path) -> None:
    lines = dlc("dump", net, "--graph", "net.step0", "--list").out.splitlines()
    names = [line.split()[1] for line in lines[2:]]
    assert [line.split()[0] for line in lines[2:]] == [str(number) for number in range(1, len(names) + 1)]
    assert names.index("gradient") + 1 == names.index("update")
    assert "dead-code" in names[names.index("update") :]


def test_after_a_pass(dlc: Callable[..., Any], net: Path) -> None:
    before = dlc("dump", net, "--graph", "net.step0", "--after", "gradient").out
    after = dlc("dump", net, "--graph", "net.step0", "--after", "update").out
    assert "gradient:Net.head.dense.weight" in before
    assert "adam" not in before
    assert "%Net.head.dense.weight.adam.m" in after
    number = next(
        line.split()[0]
        for line in dlc("dump", net, "--graph", "net.step0", "--list").out.splitlines()
        if " gradient " in line
    )
    assert dlc("dump", net, "--graph", "net.step0", "--after", number).out == before


def test_what_a_pass_changed(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text(net.read_text().replace("dense(units) -> relu", "dense(units) -> relu\n    it * 1"))
    diff = dlc("dump", net, "--after", "simplify", "--diff").out.splitlines()
    assert diff[:2] == ["--- Net before simplify", "+++ Net after simplify"]
    assert any(line.startswith("-") and "mul(" in line for line in diff[2:])
    assert dlc("dump", net, "--after", "1", "--diff").out.endswith("changed nothing\n")


def test_on_the_way_to_onnx(dlc: Callable[..., Any], net: Path) -> None:
    assert dlc("dump", net, "--target", "onnx").out.startswith("graph Net {")


def test_names_that_are_not_there(dlc: Callable[..., Any], net: Path) -> None:
    assert dlc("dump", net, "--graph", "net.step").err == (
        "error[E0203]: there is no graph net.step here\n"
        "  = note: there is Net, net.initial, net.step0, net.evaluate\n"
        "  = help: did you mean net.step0?\n"
    )
    outcome = dlc("dump", net, "--graph", "net.step0", "--after", "gradiet")
    assert outcome.err.endswith("  = help: did you mean gradient?\n")
    assert dlc("dump", net, "--after", "99").code == 1
