"""From a loaded model to a graph: weights, symbolic sizes, branches, and what is refused."""

from collections.abc import Callable
from functools import partial
from types import ModuleType

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.ir.graph import Role
from compiler.targets.onnx.read.importer import Imported, import_graph
from compiler.targets.onnx.read.load import prepare
from compiler.targets.onnx.read.refusals import Refused

RANDOM = np.random.default_rng(0)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(RANDOM.normal(0, 0.5, shape).astype(np.float32), name)


def numbers(name: str, *content: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(content, np.int64), name)


def made(
    nodes: list[onnx.NodeProto],
    shape: list[int | str],
    stored: list[onnx.TensorProto],
    version: int = 17,
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = onnx.ValueInfoProto(name="y")
    y.type.tensor_type.elem_type = dtype
    y.type.tensor_type.shape.SetInParent()
    inferred = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], stored), opset_imports=[helper.make_opsetid("", version)], ir_version=10
    )
    inferred.graph.output[0].type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(inferred)


def imported(model: onnx.ModelProto) -> Imported:
    return import_graph(prepare(model.SerializeToString(), "net.onnx"), "Net", prefix="Net.")


Agrees = Callable[..., Imported]


@pytest.fixture
def agrees(backend: ModuleType) -> Agrees:
    """Gives the imported graph, once its program was seen to give what ONNX Runtime gives."""
    return partial(_agrees, backend)


def _agrees(backend: ModuleType, model: onnx.ModelProto, *shape: int) -> Imported:
    x = RANDOM.normal(size=shape).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    graph = imported(model)
    for found, wanted in zip(backend.outputs(graph, [x]), session.run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    return graph


def test_a_convolutional_network_with_its_weights(agrees: Agrees) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "stem.weight", "stem.bias"], ["c"], "stem", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["r"], "act"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], ["y"], "head", transB=1),
    ]
    variance = numpy_helper.from_array(np.linspace(0.5, 2, 6, dtype=np.float32), "variance")
    stored = [
        weight("stem.weight", 6, 3, 3, 3),
        weight("stem.bias", 6),
        *(weight(name, 6) for name in ("scale", "shift", "mean")),
        variance,
        weight("head.weight", 5, 6),
        weight("head.bias", 5),
    ]
    graph = agrees(made(nodes, ["N", 3, 8, 8], stored), 3, 3, 8, 8)
    assert [str(output.value.type) for output in graph.graph.outputs] == ["f32[N, 5]"]
    assert list(graph.weights)[:2] == ["Net.stem.weight", "Net.stem.bias"]
    assert {item.name for item in graph.graph.inputs if item.role is Role.WEIGHT} == set(graph.weights)
    assert str(graph.tensors["f"].type) == "f32[N, 6]"
    assert {node.origin.scope for node in graph.graph.nodes} >= {"Net.stem", "Net.head"}


def test_shapes_that_an_exporter_works_out_are_symbolic(agrees: Agrees) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Gather", ["s", "one"], ["t"], axis=0),
        helper.make_node("Mul", ["n", "t"], ["nt"]),
        helper.make_node("Unsqueeze", ["nt", "zero_axis"], ["nt1"]),
        helper.make_node("Concat", ["nt1", "minus"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    stored = [
        numpy_helper.from_array(np.array(0, np.int64), "zero"),
        numpy_helper.from_array(np.array(1, np.int64), "one"),
        numbers("zero_axis", 0),
        numbers("minus", -1),
    ]
    graph = agrees(made(nodes, ["N", "T", 4], stored), 2, 3, 4)
    assert [str(output.value.type) for output in graph.graph.outputs] == ["f32[N*T, 4]"]
    assert [node.operation.opcode for node in graph.graph.nodes] == ["reshape"]


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("RNN", 1)])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_recurrent_layers(agrees: Agrees, kind: str, gates: int, direction: str) -> None:
    count = 1 + (direction == "bidirectional")
    node = helper.make_node(kind, ["x", "w", "r", "b"], ["y"], hidden_size=5, direction=direction)
    stored = [weight("w", count, gates * 5, 3), weight("r", count, gates * 5, 5), weight("b", count, 2 * gates * 5)]
    agrees(made([node], [4, "N", 3], stored), 4, 2, 3)


def test_a_gru_with_the_reset_behind_the_product(agrees: Agrees) -> None:
    node = helper.make_node("GRU", ["x", "w", "r", "b"], ["y"], hidden_size=5, linear_before_reset=1)
    agrees(made([node], [4, "N", 3], [weight("w", 1, 15, 3), weight("r", 1, 15, 5), weight("b", 1, 30)]), 4, 2, 3)


def test_old_opsets(agrees: Agrees) -> None:
    nodes = [
        helper.make_node("Slice", ["x"], ["s"], axes=[1], starts=[1], ends=[2**31]),
        helper.make_node("Clip", ["s"], ["c"], min=-0.5, max=0.5),
        helper.make_node("Unsqueeze", ["c"], ["u"], axes=[1]),
        helper.make_node("Squeeze", ["u"], ["q"], axes=[1]),
        helper.make_node("Pad", ["q"], ["p"], pads=[0, 1, 0, 0], value=2.0),
        helper.make_node("Softmax", ["p"], ["m"], axis=1),
        helper.make_node("ReduceSum", ["m"], ["y"], axes=[1], keepdims=0),
    ]
    agrees(made(nodes, ["N", 4], [], version=8), 3, 4)


def test_an_operator_that_the_standard_defines_by_others(agrees: Agrees) -> None:
    agrees(made([helper.make_node("MeanVarianceNormalization", ["x"], ["y"])], [2, 3, 4, 4], [], 13), 2, 3, 4, 4)


def test_a_branch_that_is_known_is_taken() -> None:
    def branch(name: str, kind: str) -> onnx.GraphProto:
        out = onnx.ValueInfoProto(name=name)
        out.type.tensor_type.elem_type = TensorProto.FLOAT
        return helper.make_graph([helper.make_node(kind, ["x"], [name])], name, [], [out])

    node = helper.make_node("If", ["flag"], ["y"], then_branch=branch("a", "Exp"), else_branch=branch("b", "Neg"))
    flag = numpy_helper.from_array(np.array(False), "flag")
    graph = imported(made([node], ["N", 4], [flag]))
    assert [item.operation.opcode for item in graph.graph.nodes] == ["neg"]


@pytest.mark.parametrize("attribute", ["strides", "dilations", "pads"])
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose", "MaxPool"])
def test_windows_that_are_larger_than_any_array_are_refused(kind: str, attribute: str) -> None:
    numbers = [2**62] * (4 if attribute == "pads" else 2)
    pool = {"kernel_shape": [3, 3]} if kind == "MaxPool" else {}
    node = helper.make_node(kind, ["x"] if pool else ["x", "w"], ["y"], **{attribute: numbers}, **pool)
    model = made([], [1, 2, 8, 8], [] if pool else [weight("w", 2, 2, 3, 3)])
    model.graph.node.append(node)
    with pytest.raises(Refused) as caught:
        imported(model)
    assert f"its {attribute} are larger than any array" in caught.value.diagnostics[0].notes[0]


def test_everything_that_is_not_known_is_told_at_once() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["a"], "places"),
        helper.make_node("Det", ["x"], ["b"], "volume"),
        helper.make_node("Det", ["x"], ["y"], "again"),
    ]
    with pytest.raises(Refused) as caught:
        imported(made(nodes, [4, 4], []))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.title == "cannot import Net: 3 places of it cannot be brought into a graph"
    assert diagnostic.notes == (
        "Det (2 times): the operator is not known: Det volume, Det again",
        "NonZero: the operator is not known: NonZero places",
    )


def test_a_shape_that_is_data_is_refused_and_the_input_named() -> None:
    model = made([helper.make_node("Tile", ["x", "times"], ["y"])], [2, 2], [])
    model.graph.input.append(helper.make_tensor_value_info("times", TensorProto.INT64, [2]))
    with pytest.raises(Refused) as caught:
        imported(model)
    assert [item.needed for item in caught.value.refusals] == [("times",)]
    checked = prepare(model.SerializeToString(), "net.onnx")
    graph = import_graph(checked, "Net", {"times": np.array([2, 3])})
    assert [str(output.value.type) for output in graph.graph.outputs] == ["f32[4, 6]"]


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Concat", ["x", "x"], ["y"], axis=7),
        helper.make_node("LSTM", ["x", "w", "w"], ["y"], hidden_size=4),
        helper.make_node("Transpose", ["x"], ["y"], perm=[5, 0]),
        helper.make_node("Conv", ["x", "w"], ["y"], strides=[0, 0]),
        helper.make_node("Gather", ["x", "w"], ["y"], axis=-9),
        helper.make_node("GatherND", ["x", "times"], ["y"], batch_dims=9),
        helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=0),
    ],
)
def test_a_node_that_makes_no_sense_is_refused(node: onnx.NodeProto) -> None:
    model = made([helper.make_node("Relu", ["x"], ["y"])], [2, 2], [weight("w", 2), numbers("times", 1, 2)])
    model.graph.node[0].CopyFrom(node)
    with pytest.raises(Refused):
        imported(model)
