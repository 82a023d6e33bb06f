"""dlc show: what is in a file, and its drawing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)


def saved(nodes: list[onnx.NodeProto], path: str = "net.onnx", domains: tuple[str, ...] = (), **more: Any) -> None:
    graph = helper.make_graph(nodes, "g", [X], [Y], more.get("initializer", []))
    opsets = [helper.make_opsetid("", more.get("opset", 21)), *(helper.make_opsetid(name, 1) for name in domains)]
    Path(path).write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def test_everything_that_a_file_of_dlc_says(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text('author "Ada"\nlicense "MIT"\ndescription "The larger of two."\n' + net.read_text())
    dlc("train", net)
    outcome = dlc("show", "runs/net/net.onnx", "--svg", "net.svg")
    assert (outcome.code, outcome.err) == (0, "")
    lines = (
        "runs/net/net.onnx: Net, ",
        "  The larger of two.",
        "input        x: f32[N, 3]",
        "output       output: f32[N, 2]",
        "measures     test.accuracy ",
        "author       Ada",
        "license      MIT",
        "certificate  difference: ",
        "source       sha256 ",
        "opset        ai.onnx 21; IR version 10",
        "weights      f32: 26 numbers in 4 tensors, 104 bytes",
        "nodes        3: Gemm 2, Relu",
        "○  x       f32[N, 3]  input",
        "●  Relu    f32[N, 4]  Net.dense",
        "●  Gemm    f32[N, 2]  Net.head.dense  10",
        "wrote net.svg",
    )
    for line in lines:
        assert any(text.startswith(line) for text in outcome.out.splitlines()), line
    ET.fromstring(Path("net.svg").read_text())


def test_json_for_machines(dlc: Callable[..., Any], net: Path) -> None:
    dlc("compile", net)
    found = json.loads(dlc("show", "net.onnx", "--json").out)
    assert found["told"]["certificate"]["runtime"].startswith("ONNX Runtime")
    assert found["kinds"] == {"Gemm": 2, "Relu": 1}
    assert found["nodes"][0]["source"].startswith("net.dl:4:")
    assert found["types"]["output"] == "f32[N, 2]"
    assert found["stored"]["f32"] == {"tensors": 4, "elements": 26, "bytes": 104, "outside": 0}


def test_a_model_of_a_model_file(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("show", net, "--set", "units=5")
    assert outcome.out == (
        "○  x                    f32[N, 3]  input\n"
        "●  dense(units) -> relu  f32[N, 5]          20\n"
        "●  dense(2)              f32[N, 2]  head    12\n"
        "○  output                f32[N, 2]  output\n"
    ).replace("x                    f32", "x                     f32")
    assert dlc("show", net, "--json").code == 2
    assert dlc("show", "net.onnx", "--model", "Net").code == 2


def test_what_is_inside_a_node_is_named_and_its_weights_are_counted(
    dlc: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "model {}(x: f32[N, T, 3]) -> f32[N, {}] {{\n    rnn({})\n}}\n"
    Path("net.dl").write_text(text.format("Few", 20, 20) + text.format("Wide", 150, 150))
    for model in ("Few", "Wide"):
        assert dlc("compile", "net.dl", "--model", model, "-o", f"{model}.onnx").code == 0
    few, wide = (dlc("show", f"{model}.onnx").out for model in ("Few", "Wide"))
    assert re.search(r"If then …, Add, Scan else RNN, Squeeze +f32\[N, 20\] +Few.rnn +580\n", few)
    assert re.search(r"Scan of Gemm, Tanh +f32\[N, 150\] +Wide.rnn +22,500\n", wide)


def test_operations_that_nothing_here_knows(dlc: Callable[..., Any], net: Path) -> None:
    saved([helper.make_node("Swirl", ["x"], ["y"], domain="org.example", name="s")], domains=("org.example",))
    outcome = dlc("show", "net.onnx")
    assert outcome.code == 0
    assert "opset   ai.onnx 21, org.example 1; IR version 10" in outcome.out
    assert "●  org.example.Swirl  f32[...]   s" in outcome.out
    saved([helper.make_node("Relu", ["x"], ["y"])], opset=99)
    assert "ai.onnx 99" in dlc("show", "net.onnx").out


def test_data_in_other_files_are_counted_and_not_read(dlc: Callable[..., Any], net: Path) -> None:
    weight = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 2**20])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../nowhere.bin")
    saved([helper.make_node("MatMul", ["x", "w"], ["y"])], initializer=[weight])
    outcome = dlc("show", "net.onnx")
    assert outcome.code == 0
    assert "f32: 4,194,304 numbers in 1 tensor, 16.8 MB, 16.8 MB of it in other files" in outcome.out


def test_what_depends_on_constants_alone_is_left_out(dlc: Callable[..., Any], net: Path) -> None:
    shape = onnx.numpy_helper.from_array(np.array([4, 3]), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("If", ["c"], ["y"], then_branch=_branch("m"), else_branch=_branch("x")),
    ]
    nodes.insert(0, helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(True))))
    saved(nodes, initializer=[shape])
    lines = dlc("show", "net.onnx").out.splitlines()
    assert any(line.endswith("1 of them work on constants alone and are not drawn") for line in lines)
    assert any("●" in line and "MatMul" in line and line.endswith("12") for line in lines)
    assert any(line.startswith("●") and "If" in line for line in lines), "it reads what its branches read"


def _branch(name: str) -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node("Identity", [name], ["o"])], "b", [], [helper.make_empty_tensor_value_info("o")]
    )


def boxes_in(path: str) -> int:
    items = ET.fromstring(Path(path).read_text()).iter()
    return len([item for item in items if item.get("class", "").startswith("box")])


@pytest.mark.parametrize("name", ["resnet50", "inception_v1", "densenet121"])
def test_networks_of_other_tools(dlc: Callable[..., Any], net: Path, name: str) -> None:
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    outcome = dlc("show", path, "--svg", "drawn.svg")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("┄┄┄ ") == {"resnet50": 4}.get(name, 0)
    full = dlc("show", path, "--full", "--svg", "full.svg").out
    assert boxes_in("drawn.svg") <= boxes_in("full.svg") == full.count("●") + full.count("○")


def test_what_is_neither_an_onnx_file_nor_a_model_file(dlc: Callable[..., Any], net: Path) -> None:
    Path("data.csv").write_text("a,b\n1,2\n")
    outcome = dlc("show", "data.csv")
    assert outcome.err.startswith("error[E0906]: data.csv is not an ONNX model, or is damaged\n  = note: it is text\n")
