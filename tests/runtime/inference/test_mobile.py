"""ORT files: converted, proved, and run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from compiler.diagnostics import DiagnosticError
from runtime.inference.careful import careful
from runtime.inference.mobile import save_ort, to_ort
from runtime.inference.session import InferenceSession


def onnx_file(factor: float) -> bytes:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    scale = helper.make_tensor("f", TensorProto.FLOAT, [1], [factor])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "f"], ["y"])], "g", [x], [y], [scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def test_a_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = to_ort(onnx_file(2.001))
    monkeypatch.setattr("runtime.inference.mobile.to_ort", lambda content: wrong)
    trials = [{"x": np.ones((1, 4), np.float32)}]
    with pytest.raises(DiagnosticError, match="the ORT file and the ONNX file that it was made of differ") as refused:
        save_ort(tmp_path / "a.ort", onnx_file(2.0), trials)
    assert refused.value.diagnostics[0].code == "E0914"
    assert list(tmp_path.iterdir()) == []
    save_ort(tmp_path / "a.ort", onnx_file(2.001), trials)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ort", "a.required_operators.config"]


def test_what_can_not_be_converted(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as refused:
        save_ort(tmp_path / "a.ort", b"nothing")
    assert refused.value.diagnostics[0].code == "E0918"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_ort_file(tmp_path: Path) -> None:
    content = to_ort(onnx_file(1.0)).content
    for broken in (content[:100], content[:20], content[:8] + bytes(len(content) - 8)):
        with pytest.raises(DiagnosticError) as refused:
            InferenceSession(broken)
        assert refused.value.diagnostics[0].code == "E0908"


def test_a_text_of_an_ort_file_that_is_none() -> None:
    content = to_ort(onnx_file(1.0)).content
    with pytest.raises(DiagnosticError, match="a text in it is not UTF-8") as refused:
        InferenceSession(content.replace(b"\x01\x00\x00\x00x\x00", b"\x01\x00\x00\x00\xff\x00"))
    assert refused.value.diagnostics[0].code == "E0906"


def test_what_takes_onnx_files_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.ort").write_bytes(to_ort(onnx_file(1.0)).content)
    with pytest.raises(DiagnosticError) as refused:
        careful(tmp_path / "a.ort")
    (found,) = refused.value.diagnostics
    assert (found.code, found.help) == ("E0906", ("take the ONNX file that it was made of",))
    assert found.notes == ("it is an ORT file, which only dlc run, dlc bench and ONNX Runtime read",)
