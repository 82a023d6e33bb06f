"""Imported ONNX files that are broken, or not of one mind with themselves: what is told, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source

WEIGHT = np.ones((3, 3), np.float32)
Report = Callable[..., str]


@pytest.fixture
def report(tmp_path: Path, write_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Report:
    """What is said of a model that calls the network of these nodes, or the names of its weights where that is fine."""
    monkeypatch.chdir(tmp_path)

    def run(
        nodes: str, stored: Mapping[str, Any] | None = None, call: str = "Net", inputs: tuple[str, ...] = ("x",)
    ) -> str:
        shapes = {name: ["N", 3] if name == "x" else [3, 3] for name in inputs}
        write_onnx(Path("net.onnx"), nodes, shapes, {"y": ["N", 3]}, {"w": WEIGHT} if stored is None else stored)
        return said(call)

    return run


def said(call: str = "Net") -> str:
    text = f'import "net.onnx" as Net\n\nmodel Own(x: f32[N, 3]) {{\n    {call}\n}}\n'
    try:
        weights = compiler.check(Source("main.dl", text)).elaborated.models["Own"].weights
    except DiagnosticError as problem:
        return str(problem)
    return " ".join(item.weight.name for item in weights)


def told(title: str, *notes: str) -> str:
    """The report of a file that is refused where it is imported."""
    head = f"""\
        error[{title}
         --> main.dl:1:8
          |
        1 | import "net.onnx" as Net
          |        ^^^^^^^^^^ imported here
          |
    """
    return "\n".join([dedent(head).rstrip("\n"), *(f"  = {note}" for note in notes)])


AGAIN = "help: export it again, or have onnx.checker.check_model look at it"


@pytest.mark.parametrize(
    ("nodes", "title", "note"),
    [
        (
            "a = Add(x, b) first\nb = Relu(a) second\ny = Relu(b) third",
            "Add first reads b, which is made by a later node or in a circle",
            "nodes have to stand in the order they run",
        ),
        (
            "y = Relu(a) second\na = MatMul(x, w) first",
            "Relu second reads a, which is made by a later node or in a circle",
            "nodes have to stand in the order they run",
        ),
        (
            "a = Relu(x) first\na = MatMul(x, w) second\ny = Relu(a) third",
            "MatMul second makes a, which exists already",
            "every tensor is made once",
        ),
        ("x = Relu(w) one\ny = Relu(x) two", "Relu one makes x, which exists already", "every tensor is made once"),
        ("y = Relu(z) first", "Relu first reads z, which is made nowhere", "nodes have to stand in the order they run"),
    ],
    ids=["circle", "out of order", "made twice", "made and given", "made nowhere"],
)  # fmt: skip
def test_nodes_that_can_not_be_run(report: Report, nodes: str, title: str, note: str) -> None:
    assert report(nodes) == told(f"E0920]: cannot take net.onnx: {title}", f"note: {note}", AGAIN)


def test_weights_that_are_listed_as_inputs_too(report: Report) -> None:
    assert report("y = MatMul(x, w) only", inputs=("x", "w")) == "Net.w"


def test_weights_whose_names_become_one(report: Report) -> None:
    names = report("a = MatMul(x, l/w) first\ny = MatMul(a, l.w) second", {"l/w": WEIGHT, "l.w": 2 * WEIGHT})
    assert names == "Net.l.w Net.l.w_2"


def test_data_in_a_file_that_is_not_there(report: Report) -> None:
    import onnx

    report("y = MatMul(x, w) only")
    model = onnx.load("net.onnx")
    stored = model.graph.initializer[0]
    stored.ClearField("raw_data")
    stored.data_location = onnx.TensorProto.EXTERNAL
    entry = stored.external_data.add()
    entry.key, entry.value = "location", "net.bin"
    Path("net.onnx").write_bytes(model.SerializeToString())
    assert said() == told(
        "E0921]: cannot read w of net.onnx from another file",
        "note: cannot read net.bin: No such file or directory",
        "help: put the file beside the model",
    )
    Path("net.bin").write_bytes(WEIGHT.tobytes())
    assert said() == "Net.w"


def test_a_part_that_several_tensors_leave(report: Report) -> None:
    nodes = "a = Relu(x) /part/Relu\nb = MatMul(a, w) /part/MatMul\ny = Add(a, b) /Add"
    assert report(nodes, call='Net(until="part")') == dedent("""\
        error[E0407]: Net can't be cut so: 2 tensors leave part: a, b
         --> main.dl:4:15
          |
        1 | import "net.onnx" as Net
          |                      --- the file has (x: f32[N, 3]) -> y: f32[N, 3]
        4 |     Net(until="part")
          |               ^^^^^^ which of them is not clear
          |
          = help: name one of them, or several in [ ]""")


def test_what_is_not_known_is_told_at_the_call(report: Report) -> None:
    assert report("a = Relu(x) /part/Relu\ny = Det(a) /odd/Det") == dedent("""\
        error[E0922]: cannot import net.onnx: 1 place of it cannot be brought into a graph
         --> main.dl:4:5
          |
        4 |     Net
          |     ^^^ this needs them
          |
          = note: Det: the operator is not known: Det /odd/Det
          = help: export the network without these, for inference, and with fixed sizes where shapes are worked out
          = help: or stop before it: until=""")


def test_two_files_that_become_models_of_one_name(report: Report, tmp_path: Path) -> None:
    report("y = MatMul(x, w) only")
    (tmp_path / "part.dl").write_text('import "net.onnx" as Net\nblock Unit(x: [N, D]) { Net }\n')
    text = 'import "net.onnx" as Net\nimport "part.dl"\nmodel Own(x: f32[N, 3]) { Net -> Unit }\n'
    with pytest.raises(DiagnosticError) as caught:
        compiler.check(Source("main.dl", text))
    (wrong,) = caught.value.diagnostics
    assert (wrong.code, wrong.title) == ("E0202", "two models called Net meet here")


def test_an_output_that_is_the_input(
    tmp_path: Path, write_onnx: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_onnx(Path("net.onnx"), "", {"x": ["N", 3]}, {"x": ["N", 3]}, {})
    assert said() == ""
