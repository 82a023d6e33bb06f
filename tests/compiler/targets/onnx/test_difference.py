"""Two files side by side: which nodes correspond, and what of them and of the weights differs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.targets.onnx.difference import weights
from compiler.targets.onnx.difference.structure import compare_structure
from compiler.targets.onnx.difference.weights import WeightDifference
from compiler.targets.onnx.read.load import LoadedModel


@pytest.fixture
def model() -> Callable[..., onnx.ModelProto]:
    """A model of ``layers``: kinds of operators with their attributes, by name; ``prefix`` goes before each name."""

    def make(layers: dict[str, tuple[str, dict[str, Any]]], prefix: str = "", scale: float = 1) -> onnx.ModelProto:
        nodes, stored, before = [], [], "x"
        for number, (name, (kind, attributes)) in enumerate(layers.items()):
            operands = [before]
            if kind == "Conv":
                weight = np.full((2, 2, 3, 3), scale * (number + 1), np.float32)
                stored.append(numpy_helper.from_array(weight, f"{prefix}{name}.weight"))
                operands.append(stored[-1].name)
            before = f"{prefix}{name}/out"
            nodes.append(helper.make_node(kind, operands, [before], f"{prefix}{name}", **attributes))
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, "H", "W"])
        y = helper.make_tensor_value_info(before, TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "g", [x], [y], stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)

    return make


NET = {"a": ("Conv", {}), "b": ("Relu", {}), "c": ("Conv", {}), "d": ("Relu", {}), "e": ("Conv", {}), "f": ("Relu", {})}


def compare_weights(first: onnx.ModelProto, second: onnx.ModelProto) -> WeightDifference:
    return weights.compare_weights(LoadedModel(first, {}), LoadedModel(second, {}))


def test_equal_models(model: Callable[..., onnx.ModelProto]) -> None:
    # An attribute that says what is so anyway is no difference.
    spelled = NET | {"a": ("Conv", {"group": 1, "auto_pad": "NOTSET"})}
    assert compare_structure(model(NET), model(spelled)).is_empty
    assert compare_weights(model(NET), model(NET)).is_empty


def test_nodes_go_by_names_where_these_are_stable(model: Callable[..., onnx.ModelProto]) -> None:
    other = {"a": NET["a"], "new": ("Relu", {}), **NET, "c": ("Conv", {"strides": [2, 2]})}
    found = compare_structure(model(NET), model(other)).nodes
    assert (found.by_names, found.equal, found.removed, found.added) == (True, 4, (), ("Relu new",))
    assert [(change.first, change.how) for change in found.changed] == [
        ("Relu b", ("operand 1: Conv a -> Relu new",)),
        ("Conv c", ("strides: none -> [2, 2]",)),
    ]


def test_nodes_go_by_what_they_do_where_names_say_nothing(model: Callable[..., onnx.ModelProto]) -> None:
    shorter = {name: layer for name, layer in NET.items() if name not in "cd"}
    found = compare_structure(model(NET), model(shorter, prefix="net/")).nodes
    assert not found.by_names
    assert (len(found.removed), found.added) == (2, ())
    assert {label.split()[0] for label in found.removed} == {"Conv", "Relu"}


def test_graphs_inside_nodes_are_compared_by_what_they_do() -> None:
    def network(prefix: str, kind: str = "Tanh", factor: str = "w") -> onnx.ModelProto:
        def value(name: str) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2])

        h, s, total, new = (f"{prefix}{name}" for name in ("h", "s", "total", "new"))
        nodes = [helper.make_node("Mul", [h, factor], [total]), helper.make_node(kind, [total], [new], f"{prefix}step")]
        body = helper.make_graph(nodes, f"{prefix}body", [value(h), value(s)], [value(new)])
        scan = helper.make_node("Scan", ["first", "x"], ["y"], "scan", num_scan_inputs=1, body=body)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "N", 2])
        stored = [numpy_helper.from_array(np.ones(n, np.float32), name) for name, n in (("w", 2), ("v", 1))]
        graph = helper.make_graph([scan], "g", [x, value("first")], [value("y")], stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)

    assert compare_structure(network(""), network("other/")).nodes.equal == 1
    (change,) = compare_structure(network(""), network("", "Relu")).nodes.changed
    assert change.how[0].startswith("body: ")
    (change,) = compare_structure(network(""), network("", factor="v")).nodes.changed
    assert change.how == ("operand 3: the weight w -> the weight v",)


def test_weights(model: Callable[..., onnx.ModelProto]) -> None:
    found = compare_weights(model(NET), model(NET, scale=1.5))
    (first, *_) = found.changed
    assert (found.equal, len(found.changed)) == (0, 3)
    assert (first.name, first.largest, first.relative) == ("a.weight", 0.5, 0.5)
    renamed = compare_weights(model(NET), model(NET, prefix="net/"))
    assert renamed.renamed == tuple((f"{name}.weight", f"net/{name}.weight") for name in "ace")
    shorter = compare_weights(model({"a": NET["a"]}), model(NET, scale=3))
    assert [name for name, _ in shorter.added] == ["c.weight", "e.weight"]


def test_signature_versions_and_metadata(model: Callable[..., onnx.ModelProto]) -> None:
    first, second = model(NET), model(NET)
    second.graph.input[0].name = "image"
    second.graph.node[0].input[0] = "image"
    second.opset_import[0].version = 20
    helper.set_model_props(second, {"author": "someone"})
    found = compare_structure(first, second)
    assert [change.what for change in found.signature] == ["input x", "input image"]
    assert [(change.what, change.second) for change in (*found.versions, *found.metadata)] == [
        ("opset", "20"),
        ("author", "someone"),
    ]
    # The only input stands for the only input, so no node has changed.
    assert found.same_inputs == {"x": "image"}
    assert found.nodes.equal == len(NET)
