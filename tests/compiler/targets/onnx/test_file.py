"""Reading ONNX files with care, looking inside them, and the metadata."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler.diagnostics import DiagnosticError
from compiler.ir.dims import Symbol
from compiler.targets.onnx import export
from compiler.targets.onnx.file import expose, node_sources, read, unranked, values_told
from compiler.targets.onnx.metadata import Description, bounds, bounds_metadata, describe


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"", "it is empty"),
        (b"model Net(x: f32[N, 2]) {\n    dense(2)\n}\n", "it is text"),
        (npz(), "a zip file, as .npz files are"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
        (b"\x80\x04\x95", "a pickle"),
        (b"\0" * 20, "its content ends early"),
        (b"\x08\x0a\xff\xff", "its content ends early"),
        (b"\x08\x0a", "its content ends early"),
    ],
)
def test_what_is_no_model(content, note):
    with pytest.raises(DiagnosticError, match=r"net\.onnx is not an ONNX model, or is damaged") as raised:
        read(content, "net.onnx")
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "E0906"
    assert note in diagnostic.notes[0]


def test_a_truncated_file_is_refused_wherever_it_ends(network):
    content = export(*network)
    read(content, "net.onnx")
    for end in range(0, len(content), 7):
        with pytest.raises(DiagnosticError) as raised:
            read(content[:end], "net.onnx")
        assert raised.value.diagnostics[0].code == "E0906"


def external(name: str) -> TensorProto:
    entry = onnx.StringStringEntryProto(key="location", value="/etc/passwd")
    return TensorProto(
        name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL, external_data=[entry]
    )


def places() -> dict[str, onnx.GraphProto]:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    constant = helper.make_node("Constant", [], ["y"], value=external("w"))
    branch = helper.make_graph([constant], "branch", [], [value])
    nested = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    sparse = onnx.SparseTensorProto(values=external("w"), dims=[2])
    return {
        "initializer": onnx.GraphProto(initializer=[external("w")]),
        "attribute": onnx.GraphProto(node=[constant]),
        "subgraph": onnx.GraphProto(node=[nested]),
        "sparse": onnx.GraphProto(sparse_initializer=[sparse]),
    }


@pytest.mark.parametrize("place", places())
def test_data_in_other_files_is_refused_wherever_it_hides(place):
    model = helper.make_model(places()[place], opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    with pytest.raises(DiagnosticError, match=r"net\.onnx keeps w in another file") as raised:
        read(model.SerializeToString(), "net.onnx")
    assert raised.value.diagnostics[0].code == "E0907"


def test_looking_inside(network):
    content = export(*network)
    assert values_told(content) == {
        "Digits.hidden/matmul", "Digits.hidden/add", "Digits.hidden/relu", "Digits.head/matmul", "logits",
    }  # fmt: skip
    shown = onnx.load_model_from_string(expose(content, ["Digits.hidden/relu", "logits", "Digits.hidden/relu"]))
    assert [item.name for item in shown.graph.output] == ["logits", "Digits.hidden/relu"]
    onnx.checker.check_model(shown, full_check=True)
    with pytest.raises(KeyError):
        expose(content, ["elsewhere"])


def test_sources_and_ranks(network):
    model = read(export(*network), "net.onnx")
    assert node_sources(model)["Digits.head/MatMul"] == "digits.dl:3:5"
    assert unranked(model) == frozenset()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert unranked(model) == {"x"}


class TestDescription:
    def test_there_and_back(self):
        described = Description("0.1", "ab12", ("nought", "één"), {"val.accuracy": 0.975}, {"sizes": "N=1; N=2"})
        assert describe(described.as_metadata()) == described
        signed = Description(ranges={"tokens": (0, 64)}, author="A, B", license="MIT", text="Writes.")
        assert describe(signed.as_metadata(), "Writes.") == signed
        assert signed.as_metadata() == {
            "model_author": "A, B",
            "model_license": "MIT",
            "dlc.ranges": '{"tokens": [0, 64]}',
        }

    def test_nothing_is_said_of_nothing(self):
        assert Description().as_metadata() == {}
        assert describe({}) == Description()

    def test_order_of_metrics_does_not_change_the_text(self):
        first, second = Description(metrics={"a": 1.0, "b": 2.0}), Description(metrics={"b": 2.0, "a": 1.0})
        assert first.as_metadata() == second.as_metadata()

    def test_garbled_entries_count_as_absent(self):
        garbled = {"dlc.labels": "[1, 2", "dlc.metrics": '["loss"]', "dlc.version": "9", "dlc.ranges": '{"x": [1]}'}
        assert describe(garbled) == Description(version="9")

    def test_bounds(self):
        symbols = (Symbol("N"), Symbol("T", 64), Symbol("S", 8, 2), Symbol("R", lower=3))
        assert bounds_metadata(symbols) == {"dlc.bounds": "T <= 64, 2 <= S <= 8, 3 <= R"}
        assert bounds(bounds_metadata(symbols)) == {symbol.name: symbol for symbol in symbols[1:]}
        assert bounds_metadata([Symbol("N")]) == {}
        assert bounds({"dlc.bounds": "nonsense, T <= many"}) == {}
