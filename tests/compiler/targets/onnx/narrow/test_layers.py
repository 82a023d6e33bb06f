"""The layers of a file, and what is checked of a file that was changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from compiler.targets.onnx.narrow.layers import (
    Layer,
    Unsound,
    beyond,
    finished,
    float_layers,
    turned_batches,
    weight_layers,
    weights_beyond,
)


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def network(make: Any) -> onnx.ModelProto:
    lstm = ["Net.lstm.weight_ih_l0 for LSTM", "Net.lstm.weight_hh_l0 for LSTM"]
    nodes = [
        helper.make_node("LSTM", ["x", *lstm], ["l"], "Net.lstm/LSTM", hidden_size=16),
        helper.make_node("Squeeze", ["l", "one"], ["s"], "Net.lstm/Squeeze"),
        helper.make_node("Transpose", ["s"], ["t"], "Net.turn/Transpose", perm=[1, 0, 2]),
        helper.make_node("MatMul", ["t", "Net.head.dense.weight"], ["y"], "Net.relu/MatMul"),
    ]
    weights = {lstm[0]: ones(1, 64, 20), lstm[1]: ones(1, 64, 16), "Net.head.dense.weight": ones(16, 20)}
    return make(nodes, {"x": ["t", "n", 20]}, {"y": ["n", "t", 20]}, weights | {"one": np.array([1])})


def test_layers_are_named_by_their_weights(make: Any) -> None:
    lstm, head = weight_layers(network(make))
    assert lstm.name == "Net.lstm"
    assert lstm.nodes == lstm.dynamic == ("Net.lstm/LSTM",)
    assert len(lstm.weights) == 2
    assert lstm.integer == ()
    assert head == Layer(
        "Net.head.dense", *[("Net.relu/MatMul",), ("Net.head.dense.weight",)], *[("Net.relu/MatMul",)] * 2
    )


def test_layers_that_compute_are_named_by_their_labels(make: Any) -> None:
    assert [layer.name for layer in float_layers(network(make))] == ["Net.lstm", "Net.turn", "Net.relu"]


def test_what_onnx_runtime_crashes_on(make: Any) -> None:
    assert list(turned_batches(network(make))) == ["Net.turn/Transpose"]


def test_numbers_beyond_a_limit() -> None:
    array = np.array([1.0, -4.0, 3.0], np.float32)
    assert not beyond(array, 4.0)
    assert beyond(array, 3.5)
    assert beyond(array, 2.0)
    assert beyond(np.array([np.nan]), 5.0)
    assert not beyond(np.array([-1e30, -np.inf, 0.0]), 5.0)  # a mask
    assert beyond(np.array([np.inf]), 5.0)


def test_weights_beyond_a_limit(make: Any) -> None:
    model = network(make)
    assert list(weights_beyond(model, 1.0)) == []
    assert list(weights_beyond(model, 0.5)) == ["Net.lstm/LSTM", "Net.relu/MatMul"]


def test_nodes_are_put_in_order(make: Any) -> None:
    model = network(make)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert finished(model) == finished(network(make))


def test_what_onnx_refuses_is_told(make: Any) -> None:
    model = network(make)
    model.graph.node[3].input[0] = "nowhere"
    with pytest.raises(Unsound, match="nowhere"):
        finished(model)
