"""What is made of weights alone is computed while exporting, and what nobody reads is not made at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from compiler.ir.dims import symbol
from compiler.ir.graph import Role, Value
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, Linear, Lstm
from compiler.ops.rnn import Rnn
from compiler.targets.onnx import export

N, T = symbol("N"), symbol("T")
WEIGHT = np.arange(120, dtype=np.float32).reshape(10, 12)


class Network:
    """A graph with an input x [N, 10] and a weight w [10, 12]."""

    def __init__(self) -> None:
        self.b = Emit("Net")
        self.x = self.b.input("x", TensorType(DType.F32, (N, 10)))
        self.w = self.b.input("w", TensorType(DType.F32, WEIGHT.shape), Role.WEIGHT)

    def export(self, *results: Value) -> onnx.ModelProto:
        for index, value in enumerate(results):
            self.b.output(f"y{index}", value)
        return onnx.load_from_string(export(self.b.finish(), {"w": WEIGHT}))


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def run(model: onnx.ModelProto, **inputs: Any) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def test_a_rearranged_weight_is_in_the_file_as_it_is_used() -> None:
    network = Network()
    turned = network.b.transpose(network.b.concat([network.w, network.w], 1), (1, 0))
    rows = network.b.gather(turned, network.b.constant(np.arange(0, 24, 3)))
    model = network.export(network.b.matmul(network.x, network.b.transpose(rows, (1, 0))))
    assert kinds(model) == ["MatMul"]
    assert [list(item.dims) for item in model.graph.initializer] == [[10, 8]]
    x = np.ones((2, 10), np.float32)
    np.testing.assert_allclose(run(model, x=x)[0], x @ np.hstack([WEIGHT, WEIGHT])[:, ::3])


def test_a_weight_that_something_else_reads_is_stored_once() -> None:
    network = Network()
    b = network.b
    model = network.export(b.matmul(b.matmul(network.x, network.w), b.transpose(network.w, (1, 0))))
    assert sorted(kinds(model)) == ["MatMul", "MatMul", "Transpose"]
    assert len(model.graph.initializer) == 1


def test_the_same_done_twice_is_stored_once() -> None:
    network = Network()
    b = network.b
    turned = [b.transpose(network.w, (1, 0)) for _ in range(2)]
    back = [b.matmul(b.concat([network.x, b.slice(network.x, (0, 0), (N, 2))], 1), each) for each in turned]
    model = network.export(b.add(*back))
    assert kinds(model).count("MatMul") == 2
    assert "Transpose" not in kinds(model)
    assert sum(list(item.dims) == [12, 10] for item in model.graph.initializer) == 1


def test_what_is_given_at_each_call_is_rearranged_at_each_call() -> None:
    network = Network()
    b = network.b
    both = b.matmul(b.transpose(network.x, (1, 0)), b.matmul(network.x, network.w))
    assert kinds(network.export(both)) == ["Transpose", "MatMul", "MatMul"]


def test_a_result_stays_a_result() -> None:
    network = Network()
    model = network.export(network.b.transpose(network.w, (1, 0)), network.x)
    assert [item.name for item in model.graph.output] == ["y0", "y1"]
    np.testing.assert_array_equal(run(model, x=np.zeros((1, 10), np.float32))[0], WEIGHT.T)


@pytest.mark.parametrize(("read", "expected"), [
    ((0,), ["LSTM", "Squeeze"]), ((1,), ["LSTM", "Squeeze"]), ((2,), ["LSTM", "Squeeze"]),
    ((0, 2), ["LSTM", "Squeeze", "Squeeze"]), ((0, 1, 2), ["LSTM", "Squeeze", "Squeeze", "Squeeze"]),
])  # fmt: skip
def test_what_nobody_reads_is_not_made(read: tuple[int, ...], expected: list[str]) -> None:
    b = Emit("Net")
    shapes = {"x": (T, N, 3), "w": (8, 3), "r": (8, 2), "p": (8,), "q": (8,)}
    roles = {"x": Role.DATA}
    inputs = [b.input(n, TensorType(DType.F32, s), roles.get(n, Role.WEIGHT)) for n, s in shapes.items()]
    made = b.add_node(Lstm(), tuple(inputs))
    for index in read:
        b.output(f"y{index}", made[index])
    weights = {n: np.ones(s, np.float32) for n, s in shapes.items() if n != "x"}
    model = onnx.load_from_string(export(b.finish(), weights))
    assert kinds(model) == expected
    (lstm,) = (node for node in model.graph.node if node.op_type == "LSTM")
    assert [bool(name) for name in lstm.output] == [index in read for index in range(max(read) + 1)]
    assert len(run(model, x=np.zeros((2, 1, 3), np.float32))) == len(read)


@pytest.mark.parametrize("fused", [False, True])
def test_products_of_weights_are_worked_out(fused: bool) -> None:
    network = Network()
    b, bias = network.b, np.arange(10, dtype=np.float32)
    parts, shift = (network.w, b.transpose(network.w, (1, 0))), b.constant(bias)
    square = b.add(Linear(), *parts, shift) if fused else b.add(b.matmul(*parts), shift)
    model = network.export(b.matmul(network.x, square))
    assert kinds(model) == ["MatMul"]
    x = np.ones((2, 10), np.float32)
    np.testing.assert_allclose(run(model, x=x)[0], x @ (WEIGHT @ WEIGHT.T + bias), rtol=1e-6)


def test_vectors_that_double_are_not_worked_out_until_memory_ends() -> None:
    net = Network()
    parts = [net.w]
    for _ in range(40):
        parts.append(net.b.concat([parts[-1], net.b.neg(parts[-1])], axis=0))
    model = net.export(net.b.sum(parts[-1], axes=[0]))
    assert sum(item.ByteSize() for item in model.graph.initializer) < 2**26
    assert kinds(model).count("Concat") > 20


def test_a_weight_that_a_graph_inside_a_node_reads_is_stored_once() -> None:
    """Both branches read the second one; of the first one each has its own form, worked out."""
    b = Emit("Net")
    shapes = {"x": (T, N, 3), "w": (40, 3), "r": (40, 40), "p": (40,), "q": (40,)}
    roles = {"x": Role.DATA}
    inputs = [b.input(n, TensorType(DType.F32, s), roles.get(n, Role.WEIGHT)) for n, s in shapes.items()]
    b.output("y", b.add_node(Rnn(), tuple(inputs))[1])
    generator = np.random.default_rng(0)
    weights = {n: generator.normal(size=s).astype(np.float32) / 8 for n, s in shapes.items() if n != "x"}  # type: ignore[arg-type]
    model = onnx.load_from_string(export(b.finish(), weights))
    assert sorted(kinds(model)) == ["Greater", "If", "Shape"]
    floats = [list(item.dims) for item in model.graph.initializer if item.data_type == onnx.TensorProto.FLOAT]
    assert sorted(floats) == [[1, 40, 3], [1, 40, 40], [1, 80], [3, 40], [40]]
