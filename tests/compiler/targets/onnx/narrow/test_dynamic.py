"""Sums of whole numbers with scales found in each run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from compiler.targets.onnx.narrow.dynamic import lstm_integers, multiply_integers
from compiler.targets.onnx.narrow.layers import finished
from compiler.targets.onnx.narrow.store import drop_unread

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def test_products_of_one_tensor_share_its_numbers(make: Any, run: Callable[..., Any]) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["first"]),
        helper.make_node("Gemm", ["x", "b", "bias"], ["second"], transB=1),
        helper.make_node("Gather", ["b", "rows"], ["row"]),
        helper.make_node("Add", ["first", "second"], ["sum"]),
        helper.make_node("Add", ["sum", "row"], ["y"]),
    ]
    weights = {"a": normal(16, 16), "b": normal(16, 16), "bias": normal(16), "rows": np.array([2])}
    before = finished(make(nodes, {"x": ["n", 16]}, {"y": ["n", 16]}, weights))
    model = onnx.ModelProto.FromString(before)
    multiply_integers(model, {node.name for node in model.graph.node if node.op_type in ("MatMul", "Gemm")})
    drop_unread(model)
    after = finished(model)
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("DynamicQuantizeLinear"), kinds.count("MatMulInteger")) == (1, 2)
    # The weight that another node reads as it stands is there twice, the other one only in 8 bits.
    assert {"b", "b.T i8", "a i8"} <= {item.name for item in model.graph.initializer}
    assert "a" not in {item.name for item in model.graph.initializer}
    x = normal(7, 16)
    expected, found = run(before, x=x)["y"], run(after, near=1e-3, x=x)["y"]
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_a_stack_of_matrices(make: Any, run: Callable[..., Any]) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    before = finished(make(nodes, {"x": [3, "n", 16]}, {"y": [3, "n", 8]}, {"w": normal(3, 16, 8)}))
    model = onnx.ModelProto.FromString(before)
    multiply_integers(model, {"Net.layer0/MatMul"})
    x = normal(3, 5, 16)
    expected, found = run(before, x=x)["y"], run(finished(model), near=1e-3, x=x)["y"]
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_an_lstm(make: Any, run: Callable[..., Any], direction: str) -> None:
    size, both = 8, 2 if direction == "bidirectional" else 1
    node = helper.make_node("LSTM", ["x", "w", "r", "b"], ["y"], hidden_size=size, direction=direction)
    weights = {"w": normal(both, 4 * size, 6) / 3, "r": normal(both, 4 * size, size) / 3, "b": normal(both, 8 * size)}
    before = finished(make([node], {"x": [5, "n", 6]}, {"y": [5, both, "n", size]}, weights))
    model = onnx.ModelProto.FromString(before)
    lstm_integers(model, {"Net.layer0/LSTM"})
    x = normal(5, 3, 6)
    expected, found = run(before, x=x)["y"], run(finished(model), near=1e-3, x=x)["y"]
    assert 0 < np.abs(found - expected).max() < 0.05
