"""The loader: nothing is believed, and what is refused is told with the node or the tensor."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler.diagnostics import DiagnosticError
from compiler.targets.onnx.read.load import load, prepare


def model(*nodes: onnx.NodeProto, version: int = 17, **more: object) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph(list(nodes), "g", [x], [y], **more)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10)


RELU = helper.make_node("Relu", ["x"], ["y"], "act")


def refused(made: onnx.ModelProto, folder: Path | None = None) -> tuple[str, str]:
    with pytest.raises(DiagnosticError) as caught:
        prepare(made.SerializeToString(), "net.onnx", folder)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code, diagnostic.title


def test_a_sound_model_comes_through() -> None:
    assert [node.op_type for node in prepare(model(RELU).SerializeToString(), "net.onnx").proto.graph.node] == ["Relu"]


def test_what_is_no_onnx_file(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match="E0905"):
        load(tmp_path / "none.onnx")
    with pytest.raises(DiagnosticError, match="E0905"):
        load(tmp_path)
    (tmp_path / "text.onnx").write_text("model Net")
    with pytest.raises(DiagnosticError, match="E0906"):
        load(tmp_path / "text.onnx")


def test_versions() -> None:
    assert refused(model(RELU, version=6)) == ("E0920", "net.onnx is of opset 6: 7 to 26 can be read")
    assert refused(model(RELU, version=27))[0] == "E0920"


def test_order_of_nodes() -> None:
    first = helper.make_node("Relu", ["h"], ["y"], "late")
    second = helper.make_node("Relu", ["x"], ["h"], "early")
    expected = "cannot take net.onnx: Relu late reads h, which is made by a later node or in a circle"
    assert refused(model(first, second)) == ("E0920", expected)
    nowhere = model(helper.make_node("Add", ["x", "lost"], ["y"]))
    assert refused(nowhere)[1] == "cannot take net.onnx: Add number 1 reads lost, which is made nowhere"
    twice = model(second, helper.make_node("Relu", ["x"], ["h"], "again"), first)
    assert refused(twice)[1] == "cannot take net.onnx: Relu again makes h, which exists already"
    assert refused(model(second))[1] == "cannot take net.onnx: the output y is made nowhere"


def test_shapes_that_do_not_go_with_their_data() -> None:
    short = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], raw_data=b"\0" * 12)
    made = model(helper.make_node("Add", ["x", "w"], ["y"]), initializer=[short])
    assert refused(made)[1] == "cannot take net.onnx: w has 12 bytes, not the 16 of its shape"
    huge = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**40], raw_data=b"")
    made = model(helper.make_node("Add", ["x", "w"], ["y"]), initializer=[huge])
    assert refused(made)[0] == "E0920"


def test_nesting() -> None:
    deep = helper.make_node("Relu", ["x"], ["y"])
    for _ in range(20):
        graph = helper.make_graph([deep], "g", [], [])
        deep = helper.make_node("If", ["x"], ["y"], then_branch=graph)
    assert "nested more than 16 deep" in refused(model(deep))[1]


def test_functions_are_put_in_place() -> None:
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    made = model(helper.make_node("Twice", ["x"], ["y"], domain="own"))
    made.functions.append(function)
    made.opset_import.append(helper.make_opsetid("own", 1))
    assert [node.op_type for node in prepare(made.SerializeToString(), "net.onnx").proto.graph.node] == ["Add"]


@pytest.fixture
def external(tmp_path: Path) -> Callable[..., onnx.ModelProto]:
    """A model that keeps ``w`` in another file, as the entries say."""
    (tmp_path / "w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())

    def make(**entries: object) -> onnx.ModelProto:
        w = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
        for key, value in ({"location": "w.bin"} | entries).items():
            w.external_data.add(key=key, value=str(value))
        return model(helper.make_node("Add", ["x", "w"], ["y"]), initializer=[w])

    return make


External = Callable[..., onnx.ModelProto]


def test_data_in_another_file(external: External, tmp_path: Path) -> None:
    (w,) = prepare(external(length=16).SerializeToString(), "net.onnx", tmp_path).proto.graph.initializer
    assert onnx.numpy_helper.to_array(w).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "../w.bin"},
        {"location": "/etc/hostname"},
        {"location": "none.bin"},
        {"location": "."},
        {"length": 12},
        {"offset": 4},
        {"offset": -4},
        {"offset": "x"},
    ],
)
def test_data_that_are_not_read(external: External, tmp_path: Path, entries: dict[str, object]) -> None:
    (tmp_path.parent / "w.bin").write_bytes(bytes(16))
    assert refused(external(**entries), tmp_path)[0] == "E0921"


def test_links_are_not_read(external: External, tmp_path: Path) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}.bin"
    secret.write_bytes(bytes(16))
    (tmp_path / "soft.bin").symlink_to(secret)
    os.link(secret, tmp_path / "hard.bin")
    for name in ("soft.bin", "hard.bin"):
        assert refused(external(location=name), tmp_path)[0] == "E0921"


def test_a_model_as_bytes_has_no_folder(external: External) -> None:
    assert refused(external())[0] == "E0921"
