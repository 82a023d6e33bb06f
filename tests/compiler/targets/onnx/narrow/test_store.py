"""Weights in 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compiler.targets.onnx.narrow.layers import finished, weight_layers
from compiler.targets.onnx.narrow.store import in_8_bits, shared_axes, store, worth_storing

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("axes", [(0,), (-1,), (1, 2), (0, 1, 2)])
def test_no_number_is_off_by_more_than_half_a_step(axes: tuple[int, ...]) -> None:
    array = normal(6, 5, 4) * np.exp(3 * normal(6, 1, 1))
    numbers, scale = in_8_bits(array, axes, 127)
    assert numbers.dtype == np.int8
    assert np.abs(numbers).max() == 127
    assert (np.abs(numbers * scale - array) <= scale / 2 * 1.0001).all()


def test_what_is_0_stays_so() -> None:
    numbers, scale = in_8_bits(np.zeros((4, 4), np.float32), (0,), 127)
    assert not numbers.any()
    assert np.isfinite(scale).all()


def network(make: Any) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gather", ["Net.embed.weight", "tokens"], ["e"]),
        helper.make_node("MatMul", ["e", "Net.first.weight"], ["f"]),
        helper.make_node("Reshape", ["f", "shape"], ["r"]),
        helper.make_node("Gemm", ["r", "Net.second.weight", "Net.second.bias"], ["g"], transB=1),
        helper.make_node("Add", ["g", "Net.mask"], ["y"]),
    ]
    weights = {
        "Net.embed.weight": normal(30, 16),
        "Net.first.weight": normal(16, 24),
        "Net.second.weight": normal(20, 24),
        "Net.second.bias": normal(20),
        "Net.mask": np.full((20, 20), -np.inf, np.float32),
        "shape": np.array([-1, 24]),
    }
    weights["Net.mask"][:, 3] = 0
    return make(nodes, {"tokens": ["n"]}, {"y": ["n", 20]}, weights, {"tokens": onnx.TensorProto.INT64})


def test_which_weights_are_worth_it(make: Any) -> None:
    model = network(make)
    # Neither what is short nor what has infinities, nor whole numbers.
    assert list(worth_storing(model.graph)) == ["Net.embed.weight", "Net.first.weight", "Net.second.weight"]
    axes = shared_axes(model.graph)
    assert [axes[f"Net.{name}.weight"] for name in ("embed", "first", "second")] == [(-1,), (-2,), (1,)]


def test_a_file_is_smaller_and_computes_nearly_the_same(make: Any, run: Callable[..., Any]) -> None:
    model = network(make)
    before = finished(model)
    names = [name for layer in weight_layers(model) for name in layer.weights]
    store(model, names)
    after = finished(model)
    assert len(after) < len(before) - 0.5 * 4 * (30 * 16 + 16 * 24 + 20 * 24)
    tokens = np.arange(20)
    expected, found = (run(content, tokens=tokens)["y"][:, 3] for content in (before, after))
    assert 0 < np.abs(expected - found).max() < 0.03 * np.abs(expected).max()


def test_the_two_nodes_give_what_the_numbers_mean(make: Any, run: Callable[..., Any]) -> None:
    weight = normal(16, 32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = make(nodes, {"x": ["n", 16]}, {"y": ["n", 32]}, {"w": weight})
    store(model, ["w"])
    held = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert held["w i8"].dtype == np.int8
    x = np.eye(16, dtype=np.float32)
    np.testing.assert_allclose(run(finished(model), x=x)["y"], held["w i8"] * held["w scale"], rtol=1e-6)


@pytest.mark.parametrize(("kind", "axes", "size"), [("Conv", (1, 2, 3), 7), ("ConvTranspose", (0, 2, 3), 11)])
def test_a_convolution_has_a_scale_for_each_channel_that_it_gives(make: Any, kind: str, axes: Any, size: int) -> None:
    nodes = [helper.make_node(kind, ["x", "w"], ["y"])]
    model = make(nodes, {"x": ["n", 8, 9, 9]}, {"y": ["n", 8, size, size]}, {"w": normal(8, 8, 3, 3)})
    assert shared_axes(model.graph)["w"] == axes
