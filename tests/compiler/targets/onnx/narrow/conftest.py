"""Small ONNX files, and running them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from runtime.inference.session import InferenceSession

Make = Callable[..., onnx.ModelProto]


@pytest.fixture
def make() -> Make:
    """A model of these nodes; ``inputs`` and ``outputs`` have the shapes of f32 values, ``weights`` their content."""

    def made(
        nodes: Sequence[onnx.NodeProto],
        inputs: Mapping[str, Sequence[Any]],
        outputs: Mapping[str, Sequence[Any]],
        weights: Mapping[str, np.ndarray[Any, Any]],
        types: Mapping[str, int] | None = None,
    ) -> onnx.ModelProto:
        def value(name: str, shape: Sequence[Any]) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, (types or {}).get(name, onnx.TensorProto.FLOAT), shape)

        for number, node in enumerate(nodes):
            node.name = node.name or f"Net.layer{number}/{node.op_type}"
        graph = helper.make_graph(
            nodes,
            "net",
            [value(*item) for item in inputs.items()],
            [value(*item) for item in outputs.items()],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return onnx.shape_inference.infer_shapes(model)

    return made


@pytest.fixture
def run() -> Callable[..., dict[str, np.ndarray[Any, Any]]]:
    """The outputs of a file with ONNX Runtime's optimisations on, once they were the same with them off."""

    def found(content: bytes, near: float = 1e-5, **inputs: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        results = InferenceSession(content, threads=1).run(inputs)
        for name, array in InferenceSession(content, optimise=False, threads=1).run(inputs).items():
            np.testing.assert_allclose(array, results[name], rtol=near, atol=near)
        return results

    return found
