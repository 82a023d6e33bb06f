"""ONNX files compiled again: the same network, proved to be so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import dlc
from compiler.diagnostics import DiagnosticError
from compiler.targets.onnx.inner import all_nodes
from runtime.inference.again import compile_again
from runtime.inference.session import InferenceSession


@pytest.fixture
def network(tmp_path: Path) -> Callable[..., Path]:
    """Writes a convolutional network with a batch norm, as a framework exports it; ``last`` is its last operator."""
    random = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.uniform(0.2, 1, shape).astype(np.float32), name)

    def write(last: str = "Softmax") -> Path:
        nodes = [
            helper.make_node("Conv", ["in/image:0", "w"], ["c"], "/stem/Conv", pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"], "/stem/Norm"),
            helper.make_node("Relu", ["n"], ["r"], "/stem/Relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], "/pool"),
            helper.make_node("Flatten", ["p"], ["f"], "/flatten"),
            helper.make_node(last, ["f"], ["out:0"], "/last"),
        ]
        stored = [weight("w", 4, 3, 3, 3), *(weight(name, 4) for name in ("scale", "bias", "mean", "var"))]
        x = helper.make_tensor_value_info("in/image:0", TensorProto.FLOAT, ["batch", 3, "h", "h"])
        y = helper.make_tensor_value_info("out:0", TensorProto.FLOAT, ["batch", 4])
        graph = helper.make_graph(nodes, "g", [x], [y], stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, {"mean": "0.485"})
        path = tmp_path / "net.onnx"
        onnx.save(model, path)
        return path

    return write


def test_what_comes_out_is_the_same_network_and_smaller(network: Callable[..., Path], tmp_path: Path) -> None:
    before, after = network(), tmp_path / "again.onnx"
    certificate = compile_again(before, after, "cpu", True, 21)
    assert certificate is not None
    assert len(certificate.cases) > 1
    x = {"in/image:0": np.random.default_rng(1).normal(size=(3, 3, 6, 6)).astype(np.float32)}
    old, new = (InferenceSession(path).run(x) for path in (before, after))
    np.testing.assert_allclose(new["out:0"], old["out:0"], rtol=1e-4, atol=1e-6)
    kinds = [node.op_type for node in onnx.load(after).graph.node]
    assert "BatchNormalization" not in kinds
    assert InferenceSession(after).metadata["mean"] == "0.485"
    assert "dlc.certificate.difference" in InferenceSession(after).metadata


@pytest.mark.parametrize("layer", [
    "lstm(20)", "gru(20, 2, sequence=true)", "lstm(20, bidirectional=true)", "rnn(20)", "rnn(150, bias=false)",
])  # fmt: skip
def test_recurrent_layers_come_out_as_they_went_in(layer: str, tmp_path: Path) -> None:
    """The gates of the weights are brought into another order and back while the file is written, not when it runs."""
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    dlc.loads(f"model Net(x: f32[N, T, 3]) {{\n    {layer}\n    dense(2)\n}}\n").export(before)
    assert compile_again(before, after, "cpu", True, 21) is not None
    first, second = (onnx.load(path).graph for path in (before, after))
    assert [node.op_type for node in all_nodes(second.node)] == [node.op_type for node in all_nodes(first.node)]
    assert sum(len(item.raw_data) for item in second.initializer) <= sum(len(i.raw_data) for i in first.initializer)


def test_without_a_certificate(network: Callable[..., Path], tmp_path: Path) -> None:
    assert compile_again(network(), tmp_path / "again.onnx", "cpu", False, 20) is None
    metadata = InferenceSession(tmp_path / "again.onnx").metadata
    assert metadata["mean"] == "0.485"
    assert "dlc.certificate.difference" not in metadata


def test_what_is_not_known_is_told_and_nothing_is_written(network: Callable[..., Path], tmp_path: Path) -> None:
    path = network("LpNormalization")
    model = onnx.load(path)
    model.graph.node[-1].op_type = "Det"
    onnx.save(model, path)
    with pytest.raises(DiagnosticError, match=r"Det: the operator is not known: Det /last"):
        compile_again(path, tmp_path / "again.onnx", "cpu", True, 21)
    assert not (tmp_path / "again.onnx").exists()
