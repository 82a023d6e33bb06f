"""Plain recurrent layers in ONNX files: which form they have, and that both give what the layer gives."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from compiler.ir.dims import Dim, symbol
from compiler.ir.graph import Graph
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.base import Array, Device
from compiler.ops.recurrent import Direction
from compiler.ops.rnn import Rnn
from compiler.ops.rnn_onnx import Activation
from compiler.targets.onnx import export
from compiler.targets.onnx.inner import all_nodes
from compiler.targets.onnx.releases import OPSETS

N, T = symbol("N"), symbol("T")
FEATURES = 3


def layer(operation: Rnn, units: int, rows: Dim = N, dtype: DType = DType.F32, read: tuple[int, ...] = (0, 1)) -> Graph:
    """A graph of the layer on x [T, rows, 3], with its weights as inputs and the results that are ``read``."""
    b = Emit("Net")
    count = len(operation.reversals)
    shapes: list[tuple[Dim, ...]] = [(T, rows, FEATURES)]
    shapes += [(units, FEATURES), (units, units), *[(units,)] * (2 * operation.bias)] * count
    shapes += [(rows, units) if count == 1 else (rows, count, units)] * operation.state
    shapes += [(rows,)] * operation.lengths
    types = [TensorType(dtype, shape) for shape in shapes]
    if operation.lengths:
        types[-1] = TensorType(DType.I64, shapes[-1])
    results = b.add_node(operation, tuple(b.input(f"x{place}", type) for place, type in enumerate(types)))
    for place in read:
        b.output(f"y{place}", results[place])
    return b.finish()


def kinds(graph: Graph, device: Device = "cpu", opset: int = 21) -> set[str]:
    model = onnx.load_from_string(export(graph, {}, device=device, opset=opset))
    return {node.op_type for node in all_nodes(model.graph.node)} & {"If", "RNN", "Scan"}


def arrays(graph: Graph, sizes: dict[str, int], seed: int) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    shapes = {i.name: [d if isinstance(d, int) else sizes[str(d)] for d in i.value.type.shape] for i in graph.inputs}
    # So small that roundings do not grow from step to step.
    scales = {name: shape[-1] ** -0.5 for name, shape in shapes.items()}
    return {
        i.name: (scales[i.name] * generator.normal(size=shapes[i.name])).astype(i.value.type.dtype.numpy)
        for i in graph.inputs
    }


def run(graph: Graph, given: dict[str, Array], optimised: bool, **how: Any) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(export(graph, {}, **how), options, providers=["CPUExecutionProvider"])
    return [np.asarray(result) for result in session.run(None, given)]


CASES = list(product(("forward", "reverse", "both"), (False, True), (False, True), ((0,), (1,), (0, 1))))


@pytest.mark.parametrize("units", [20, 130])
@pytest.mark.parametrize(("direction", "bias", "state", "read"), CASES)
def test_few_and_many_sequences_give_what_the_layer_gives(
    direction: Direction, bias: bool, state: bool, read: tuple[int, ...], units: int
) -> None:
    """20 units: RNN for up to 6 sequences, and Scan for more, in one file. 130: Scan."""
    operation = Rnn(direction, bias, state)
    graph = layer(operation, units, read=read)
    for rows, steps, optimised in ((1, 5, False), (6, 1, True), (7, 4, True), (7, 3, False), (33, 2, True)):
        given = arrays(graph, {"N": rows, "T": steps}, rows)
        expected = operation.reference({}, *given.values())
        for place, found in zip(read, run(graph, given, optimised), strict=True):
            np.testing.assert_allclose(found, expected[place], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_every_opset_has_both_forms(opset: int, activation: Activation) -> None:
    operation = Rnn("both", activation=activation)
    graph = layer(operation, 40)
    assert kinds(graph, opset=opset) == {"If", "RNN", "Scan"}
    for rows in (2, 20):
        given = arrays(graph, {"N": rows, "T": 3}, opset)
        expected = operation.reference({}, *given.values())
        for found, wanted in zip(run(graph, given, True, opset=opset), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "units", "activation", "form"), [
    (N, 50, "tanh", {"If", "RNN", "Scan"}),
    (N, 50, "relu", {"If", "RNN", "Scan"}),
    (N, 200, "tanh", {"Scan"}),
    (N, 200, "relu", {"If", "RNN", "Scan"}),
    (N, 400, "relu", {"Scan"}),
    # So few units that many sequences have few elements.
    (N, 2, "tanh", {"RNN"}),
    # A number that is known, or bounded, leaves nothing to ask.
    (1, 50, "tanh", {"RNN"}),
    (64, 50, "tanh", {"Scan"}),
    (symbol("N", 2), 50, "tanh", {"RNN"}),
    (symbol("N", None, 9), 50, "relu", {"Scan"}),
])  # fmt: skip
def test_the_form_goes_by_the_elements_of_a_step(rows: Dim, units: int, activation: Activation, form: set[str]) -> None:
    assert kinds(layer(Rnn(activation=activation), units, rows)) == form


def test_lengths_and_cuda_have_rnn() -> None:
    assert kinds(layer(Rnn(lengths=True), 200)) == {"RNN"}
    assert kinds(layer(Rnn(), 200), "cuda") == {"RNN"}
    assert kinds(layer(Rnn(), 50), "cuda") == {"RNN"}


def test_f64_runs_as_scan() -> None:
    operation = Rnn(state=True)
    graph = layer(operation, 4, dtype=DType.F64)
    assert kinds(graph) == {"Scan"}
    given = arrays(graph, {"N": 2, "T": 6}, 0)
    for found, wanted in zip(run(graph, given, True), operation.reference({}, *given.values()), strict=True):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
