"""Networks in f16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from compiler.targets.onnx.narrow.half import in_half, to_half
from compiler.targets.onnx.narrow.layers import finished

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


@given(st.floats(width=32, allow_nan=False))
def test_f16_is_never_0_and_never_infinite_by_rounding(number: float) -> None:
    half = in_half(np.array([number], np.float32))[0]
    assert half.dtype == np.float16
    assert np.isinf(half) == np.isinf(number)
    assert (half == 0) == (number == 0)
    if 1e-4 < abs(number) < 65000:
        assert abs(float(half) - number) <= 2.0**-11 * abs(number)


def network(make: Any) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["pixels"], ["c"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Add", ["c", "x"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["m"]),
        helper.make_node("Exp", ["m"], ["big"]),
        helper.make_node("ReduceSum", ["big", "axes"], ["sum"]),
        helper.make_node("Div", ["big", "sum"], ["chances"]),
        helper.make_node("MatMul", ["chances", "w"], ["y"]),
        helper.make_node("Relu", ["chances"], ["z"]),
    ]
    weights = {"w": np.random.default_rng(1).standard_normal((8, 8)).astype(np.float32), "axes": np.array([1])}
    return make(
        nodes, {"pixels": ["n", 8], "x": ["n", 8]}, {"chances": ["n", 8], "y": ["n", 8], "z": ["n", 8]}, weights,
        {"pixels": onnx.TensorProto.UINT8},
    )  # fmt: skip


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_a_network_in_f16_gives_nearly_the_same_with_the_same_interface(make: Any, run: Callable[..., Any]) -> None:
    model = network(make)
    before = finished(model)
    inputs = {"pixels": RANDOM.integers(0, 3, (5, 8), np.uint8), "x": normal(5, 8)}
    expected = run(before, **inputs)
    model = network(make)
    to_half(model, ())
    found = run(finished(model), near=5e-3, **inputs)
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], array, rtol=2e-2, atol=2e-2)
    assert any(np.any(found[name] != array) for name, array in expected.items())
    # One cast of the input, one for each output: what the network reads of its own output stays f16.
    assert kinds(model).count("Cast") == 1 + 1 + 3
    assert [item.data_type for item in model.graph.initializer if item.name.startswith("w")] == [
        onnx.TensorProto.FLOAT16
    ]


def test_between_nodes_that_are_kept_numbers_stay_f32(make: Any, run: Callable[..., Any]) -> None:
    model = network(make)
    inputs = {"pixels": RANDOM.integers(0, 3, (5, 8), np.uint8), "x": normal(5, 8) + 4}
    expected = run(finished(network(make)), **inputs)
    largest = np.log(1 / expected["chances"][expected["chances"] > 0].min())
    assert largest > 12  # some power of e is beyond f16
    to_half(model, {f"Net.layer{number}/{kind}" for number, kind in ((3, "Exp"), (4, "ReduceSum"), (5, "Div"))})
    found = run(finished(model), near=5e-3, **inputs)
    np.testing.assert_allclose(found["chances"], expected["chances"], atol=0.05)
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    takes = {node.op_type: [made.get(name, "") for name in node.input] for node in model.graph.node}
    assert takes["ReduceSum"] == ["Exp", ""]
    assert takes["Div"] == ["Exp", "ReduceSum"]


def test_a_weight_that_both_read_is_there_in_both(make: Any, run: Callable[..., Any]) -> None:
    model = network(make)
    to_half(model, {"Net.layer2/MatMul"})
    held = {item.name: item.data_type for item in model.graph.initializer}
    assert (held["w"], held["w f16"]) == (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    run(finished(model), near=5e-3, pixels=np.ones((2, 8), np.uint8), x=normal(2, 8))


def test_operands_that_onnx_has_no_f16_for_stay_f32(make: Any, run: Callable[..., Any]) -> None:
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    weights = {"scales": np.array([1, 1, 2, 2], np.float32)}
    model = make(nodes, {"x": [1, 1, 2, 2]}, {"y": [1, 1, 4, 4]}, weights)
    to_half(model, ())
    assert run(finished(model), x=normal(1, 1, 2, 2))["y"].shape == (1, 1, 4, 4)
