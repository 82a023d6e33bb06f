"""Arrays that stay on the device: here the device is the CPU, which has bindings too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler.diagnostics import DiagnosticError
from compiler.targets.onnx.metadata import Description
from runtime.inference.session import InferenceSession


@pytest.fixture
def session() -> InferenceSession:
    """Adds x to a state and gives twice the sum; i picks a row of a table of 3."""
    table = onnx.numpy_helper.from_array(np.float32([[1], [2], [3]]), "table")
    nodes = [
        helper.make_node("Gather", ["table", "i"], ["row"]),
        helper.make_node("Add", ["x", "row"], ["sum"]),
        helper.make_node("Add", ["sum", "state"], ["next"]),
        helper.make_node("Add", ["next", "next"], ["twice"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("x", "state")]
    inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, ["N"]))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("next", "twice")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(model, Description(ranges={"i": (0, 2)}).as_metadata())
    return InferenceSession(model.SerializeToString(), threads=1)


def arrays(x: float = 1, state: float = 0, i: int = 0, rows: int = 2) -> dict[str, np.ndarray]:
    return {
        "x": np.full((rows, 1), x, np.float32), "state": np.full((rows, 1), state, np.float32), "i": np.full(rows, i)
    }  # fmt: skip


def test_a_binding_gives_what_a_run_gives(session: InferenceSession) -> None:
    given = arrays(x=5, state=7, i=2)
    binding = session.bind(given)
    binding.run()
    for name, expected in session.run(given).items():
        assert np.array_equal(binding.result(name), expected)


def test_a_result_becomes_an_input_without_being_overwritten(session: InferenceSession) -> None:
    binding = session.bind(arrays())
    totals = []
    for _ in range(5):
        binding.run()
        kept = binding.result("next")
        binding.connect("next", "state")
        totals.append((kept[0, 0], binding.result("twice")[0, 0]))
    assert totals == [(2, 4), (4, 8), (6, 12), (8, 16), (10, 20)]


def test_some_inputs_are_given_anew_and_may_have_another_size(session: InferenceSession) -> None:
    binding = session.bind(arrays())
    binding.run()
    binding.feed({"x": np.full((2, 1), 10, np.float32)})
    binding.run()
    assert binding.result("next").tolist() == [[11], [11]]
    binding.feed(arrays(rows=3))
    binding.run()
    assert binding.result("next").shape == (3, 1)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda binding: binding.feed({"x": np.zeros((3, 1), np.float32)}), "E0912"),
        (lambda binding: binding.feed({"x": np.zeros((2, 1), np.complex64)}), "E0911"),
        (lambda binding: binding.feed({"z": np.zeros((2, 1), np.float32)}), "E0910"),
        (lambda binding: binding.feed({"i": np.array([0, 3])}), "E0917"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(
    session: InferenceSession, change: Callable[[object], None], code: str
) -> None:
    binding = session.bind(arrays())
    with pytest.raises(DiagnosticError) as refused:
        change(binding)
    assert refused.value.diagnostics[0].code == code
    binding.run()
    assert binding.result("next").tolist() == [[2], [2]]


def test_missing_inputs_and_results_that_are_not_there(session: InferenceSession) -> None:
    with pytest.raises(DiagnosticError, match="input `i` is missing"):
        session.bind({name: array for name, array in arrays().items() if name != "i"})
    binding = session.bind(arrays())
    with pytest.raises(KeyError):
        binding.result("next")
    with pytest.raises(KeyError):
        binding.connect("next", "state")
    binding.run()
    with pytest.raises(KeyError):
        binding.connect("next", "nowhere")
