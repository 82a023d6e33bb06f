"""Short names for what was added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from compiler.targets.onnx.narrow.dynamic import multiply_integers
from compiler.targets.onnx.narrow.layers import finished
from compiler.targets.onnx.narrow.tidy import names_in, tidy


def test_what_was_there_keeps_its_name_and_equal_scales_are_one(make: Any, run: Callable[..., Any]) -> None:
    weight = np.random.default_rng(0).standard_normal((32, 40)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "Net.first.weight"], ["Net.first/matmul"]),
        helper.make_node("Tanh", ["Net.first/matmul"], ["t"]),
        helper.make_node("MatMul", ["x", "Net.second.weight"], ["u"]),
        helper.make_node("Add", ["t", "u"], ["y"]),
    ]
    weights = {"Net.first.weight": weight, "Net.second.weight": weight}
    model = make(nodes, {"x": ["n", 32]}, {"y": ["n", 40]}, weights)
    known = names_in(model)
    assert {"x", "y", "Net.first/matmul", "Net.first.weight", "Net.layer1/Tanh"} <= known
    multiply_integers(model, {"Net.layer0/MatMul", "Net.layer2/MatMul"})
    before = finished(model)
    tidy(model, known)
    after = finished(model)
    x = np.random.default_rng(1).standard_normal((4, 32)).astype(np.float32)
    np.testing.assert_array_equal(run(after, near=1e-3, x=x)["y"], run(before, near=1e-3, x=x)["y"])
    held = {item.name: item.data_type for item in model.graph.initializer}
    # The weights in 8 bits can be told, their scales are the same and there once.
    assert {"Net.first.weight i8", "Net.second.weight i8"} <= held.keys()
    assert [name for name, kind in held.items() if kind == onnx.TensorProto.FLOAT and name not in known] == ["q1"]
    assert {"Net.first/matmul", "y"} <= {name for node in model.graph.node for name in node.output}
    assert "Net.layer1/Tanh" in {node.name for node in model.graph.node}
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)
