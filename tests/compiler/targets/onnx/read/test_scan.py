"""Plain recurrent layers that a file has as a Scan, or as an If of two forms, are layers again."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import onnx
import pytest

import compiler
from compiler.diagnostics import Source
from compiler.ops.rnn import Rnn
from compiler.targets.onnx.inner import all_nodes, inner_graphs
from compiler.targets.onnx.read.importer import Imported, import_graph
from compiler.targets.onnx.read.load import prepare
from compiler.targets.onnx.read.refusals import Refused
from runtime.inference.session import InferenceSession


def file_of(body: str, signature: str = "x: f32[N, T, 3]") -> onnx.ModelProto:
    program = compiler.compile_model(compiler.check(Source("t.dl", f"model Net({signature}) {{\n{body}\n}}")), "Net")
    generator = np.random.default_rng(0)
    shapes = {weight.name: [int(str(dim)) for dim in weight.type.shape] for weight in program.weights}
    weights = {n: (s[-1] ** -0.5 * generator.normal(size=s)).astype(np.float32) for n, s in shapes.items()}
    return onnx.load_from_string(compiler.onnx_file(program, weights))


def imported(model: onnx.ModelProto) -> Imported:
    return import_graph(prepare(model.SerializeToString(), "net.onnx"), "Net")


def refusal(model: onnx.ModelProto) -> str:
    with pytest.raises(Refused) as caught:
        imported(model)
    return " ".join(caught.value.diagnostics[0].notes)


def scan_of(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in all_nodes(model.graph.node) if node.op_type == "Scan")


def body_of(model: onnx.ModelProto) -> onnx.GraphProto:
    return next(inner_graphs(scan_of(model)))


def layers(found: Imported) -> list[Rnn]:
    return [node.operation for node in found.graph.nodes if isinstance(node.operation, Rnn)]


@pytest.mark.parametrize(("body", "wanted"), [
    ("rnn(20)", Rnn()),
    ("rnn(20, activation=relu, bias=false)", Rnn(bias=False, activation="relu")),
    ("rnn(20, bidirectional=true, sequence=true)", Rnn("both")),
    ("rnn(150)", Rnn()),
    ("rnn(150, bias=false, sequence=true)", Rnn(bias=False)),
    ("rnn(400, activation=relu)", Rnn(activation="relu")),
    ("rnn(150, bidirectional=true)", Rnn("both")),
    ("rnn(150, bidirectional=true, sequence=true)", Rnn("both")),
])  # fmt: skip
def test_they_are_layers_again_that_give_the_same(backend: ModuleType, body: str, wanted: Rnn) -> None:
    model = file_of(body)
    found = imported(model)
    assert layers(found) == [wanted]
    session = InferenceSession(model.SerializeToString())
    for rows in (2, 30):
        x = np.random.default_rng(rows).normal(size=(rows, 4, 3)).astype(np.float32)
        (result,) = backend.outputs(found, [x])
        np.testing.assert_allclose(result, session.run({"x": x})["output"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("units", [6, 150])
def test_first_states_are_read(backend: ModuleType, units: int) -> None:
    model = file_of(f"rnn({units}, bidirectional=true, state=h)", f"x: f32[N, T, 3], h: f32[N, 2, {units}]")
    found = imported(model)
    assert layers(found) == [Rnn("both", state=True)]
    generator = np.random.default_rng(1)
    x, h = (generator.normal(size=shape).astype(np.float32) for shape in ((30, 4, 3), (30, 2, units)))
    (result,) = backend.outputs(found, [x, h])
    expected = InferenceSession(model.SerializeToString()).run({"x": x, "h": h})["output"]
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_a_backward_scan_is_a_layer_in_reverse(backend: ModuleType) -> None:
    model = file_of("rnn(150, sequence=true)")
    for name in ("scan_input_directions", "scan_output_directions"):
        scan_of(model).attribute.append(onnx.helper.make_attribute(name, [1]))
    found = imported(model)
    assert layers(found) == [Rnn("reverse")]
    x = np.random.default_rng(1).normal(size=(2, 4, 3)).astype(np.float32)
    (result,) = backend.outputs(found, [x])
    expected = InferenceSession(model.SerializeToString()).run({"x": x})["output"]
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_branches_that_do_not_say_that_they_are_the_same_are_not_taken_for_it() -> None:
    model = file_of("rnn(20)")
    (node,) = (node for node in model.graph.node if node.op_type == "If")
    next(inner_graphs(node)).doc_string = ""
    assert "its condition" in refusal(model)


def _other_kind(model: onnx.ModelProto) -> None:
    body_of(model).node[1].op_type = "Sigmoid"


def _other_sum(model: onnx.ModelProto) -> None:
    body_of(model).node[0].attribute.append(onnx.helper.make_attribute("alpha", 0.5))


def _other_operand(model: onnx.ModelProto) -> None:
    body_of(model).node[0].input[0] = body_of(model).input[1].name


def _one_more(model: onnx.ModelProto) -> None:
    body, last = body_of(model), body_of(model).node[1]
    body.node.insert(2, onnx.helper.make_node("Neg", ["made"], [last.output[0]]))
    last.output[0] = "made"


def _one_way_and_back(model: onnx.ModelProto) -> None:
    scan_of(model).attribute.append(onnx.helper.make_attribute("scan_output_directions", [1]))


def _no_product(model: onnx.ModelProto) -> None:
    product = next(node for node in model.graph.node if node.op_type == "MatMul")
    model.graph.node.insert(list(model.graph.node).index(product) + 1, onnx.helper.make_node("Exp", ["p"], ["e"]))
    before = product.output[0]
    for node in model.graph.node:
        node.input[:] = ["e" if name == before else name for name in node.input]
    product.output[0] = "p"


@pytest.mark.parametrize("change", [_other_kind, _other_sum, _other_operand, _one_more, _one_way_and_back, _no_product])
def test_other_steps_are_refused(change: Callable[[onnx.ModelProto], None]) -> None:
    model = file_of("rnn(150, sequence=true)")
    change(model)
    assert "its steps are not those of a plain recurrent layer" in refusal(model)
