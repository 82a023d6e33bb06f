"""Where the time of a run goes, by the lines of the model file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from compiler.targets.onnx.attribution import attribute, named
from runtime.inference.bench import Plan
from runtime.inference.profile import OWN, _kernel_times, profile
from tests.dlc.conftest import Outcome, dlc  # noqa: F401 - a fixture

NET = """\
model Net(image: f32[N, 3, 16, 16]) -> f32[N, 10] {
    image * 2
    conv(16, 3, pad=same) -> relu
    max_pool(2)
    flatten
    dense(32) -> gelu
    dense(10)
}
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dlc: Callable[..., Outcome]) -> Path:  # noqa: F811
    monkeypatch.chdir(tmp_path)
    Path("net.dl").write_text(NET)
    assert dlc("compile", "net.dl").code == 0
    return Path("net.onnx")


def test_the_time_is_told_by_lines(net: Path) -> None:
    found = profile(net, Plan(rows=(4,), threads=(1,), runs=3))
    lines = {line.place: line for line in found.lines}
    assert (
        {"net.dl:3", "net.dl:4", "net.dl:6", "net.dl:7"} <= set(lines) <= {OWN, *(f"net.dl:{n}" for n in range(2, 8))}
    )
    assert lines["net.dl:3"].text == "conv(16, 3, pad=same) -> relu"
    (kernel,) = lines["net.dl:3"].kernels
    assert kernel.startswith(("Conv (Conv", "FusedConv (Conv"))
    assert "Relu" in kernel
    assert found.rows == 4
    assert all(line.seconds >= 0 for line in found.lines)
    assert sum(line.seconds for line in found.lines) + found.between == pytest.approx(found.total, rel=0.2)
    assert not list(Path().glob("*profile*")), "what ONNX Runtime writes for it is gone"


def test_what_runs_inside_a_node_belongs_to_it_and_is_not_counted_twice(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dlc: Callable[..., Outcome],  # noqa: F811
) -> None:
    """A plain recurrent layer runs node by node for each step, in a Scan, in an If."""
    monkeypatch.chdir(tmp_path)
    Path("net.dl").write_text("model Net(x: f32[N, T, 3]) -> f32[N, 2] {\n    rnn(40)\n    dense(2)\n}\n")
    assert dlc("compile", "net.dl").code == 0
    found = profile(Path("net.onnx"), Plan(rows=(32,), threads=(1,), runs=3))
    lines = {line.place: line for line in found.lines}
    assert {"If", "Scan"} <= set(lines["net.dl:2"].kernels)
    assert any("Gemm" in kernel for kernel in lines["net.dl:2"].kernels)
    # In whole microseconds for each node.
    assert sum(line.seconds for line in found.lines) <= found.total + 50e-6


def test_times_inside_others_are_taken_from_these() -> None:
    def event(name: str, start: int, length: int, thread: int = 1) -> dict[str, Any]:
        args = {"op_name": name.rstrip("0123456789")}
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": length, "tid": thread, "args": args}

    events = [
        event("Gemm3", 1020, 30), event("Relu4", 1050, 10), event("Gemm3", 1060, 20), event("Scan2", 1015, 80),
        event("If1", 1010, 100), event("Conv5", 1120, 40), event("Conv6", 1000, 500, 2), event("Early", 990, 5),
        {"cat": "Session", "name": "model_run", "ts": 1000, "dur": 600},
    ]  # fmt: skip
    found = sorted((k.outermost, k.kind, k.inside, round(k.seconds * 1e6)) for k in _kernel_times(events, 1000))
    assert found == [
        ("Conv5", "Conv", False, 40), ("Conv6", "Conv", False, 500), ("If1", "Gemm", True, 20),
        ("If1", "Gemm", True, 30), ("If1", "If", False, 20), ("If1", "Relu", True, 10), ("If1", "Scan", True, 20),
    ]  # fmt: skip


def test_the_text_is_told_only_of_the_file_that_it_was_made_of(net: Path) -> None:
    Path("net.dl").write_text(NET.replace("* 2", "* 3"))
    assert {line.text for line in profile(net, Plan(rows=(1,), runs=1)).lines} == {""}


def test_older_files_tell_their_lines_too(net: Path, dlc: Callable[..., Outcome]) -> None:  # noqa: F811
    dlc("compile", "net.dl", "--opset", 17)
    assert "net.dl:3" in {line.place for line in profile(net, Plan(rows=(1,), runs=1)).lines}


def test_files_of_other_tools_tell_nodes(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    nodes = [
        helper.make_node("Exp", ["x"], ["e"]),
        helper.make_node("Neg", ["e"], ["n"]),
        helper.make_node("Exp", ["n"], ["y"], name="last"),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    onnx.save(model, tmp_path / "a.onnx")
    found = profile(tmp_path / "a.onnx", Plan(rows=(8,), runs=2))
    assert {line.place for line in found.lines} == {"Exp number 1", "Neg number 2", "last"}


def test_every_kernel_covers_what_it_joins(net: Path, tmp_path: Path) -> None:
    content = named(net.read_bytes())
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    found = attribute(content, (tmp_path / "optimised.onnx").read_bytes())
    covered = [kind for item in found.values() for kind in item.covers]
    written = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert sorted(covered) == sorted(written), "each node of the file is in one kernel"


def test_the_command(net: Path, dlc: Callable[..., Outcome]) -> None:  # noqa: F811
    outcome = dlc("bench", net, "--profile", "--batch", "1,2", "--runs", 2)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["line", "source", "µs", "share", "kernels"]
    assert any(line.startswith("net.dl:3 ") and "conv(16, 3, pad=same) -> relu" in line for line in lines)
    assert lines[-1].startswith("total")
    assert "2 rows, mean of 2 runs" in lines[-1]
    found: dict[str, Any] = json.loads(dlc("bench", net, "--profile", "--json", "--runs", 2).out)
    assert found["runs"] == 2
    assert found["total"] > 0
    assert dlc("bench", net, net.with_name("b.onnx"), "--profile").code in (1, 2)
    np.save("x.npy", np.zeros((5, 3, 16, 16), np.float32))
    assert dlc("bench", net, "--profile", "--input", "image=x.npy", "--runs", 1).code == 0
