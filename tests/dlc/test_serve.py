"""What ``dlc serve`` is told on the command line; how it serves is in ``tests/runtime/serving``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from runtime.serving import process


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the server would have been asked for."""
    found: list[Any] = []
    monkeypatch.setattr(process, "serve", lambda files, how: found.append((files, how)) or True)
    return found


def test_names_and_limits(dlc: Callable[..., Any], asked: list[Any], tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in ("b", "a"):
        (tmp_path / "models" / f"{name}.onnx").touch()
    options = ("--max-batch", 8, "--max-delay", 5, "--max-body", 1, "--timeout", 2, "--max-queue", 3, "--port", 0)
    assert dlc("serve", "digits.onnx", "n=runs/x.onnx", tmp_path / "models", *options, "--no-log").code == 0
    ((files, how),) = asked
    assert list(files) == ["digits", "n", "a", "b"]
    assert (files["digits"], files["n"]) == (Path("digits.onnx"), Path("runs/x.onnx"))
    assert (how.host, how.port, how.write) == ("127.0.0.1", 0, None)
    assert (how.limits.batch, how.limits.delay, how.limits.body) == (8, 0.005, 2**20)
    assert (how.limits.patience, how.limits.queue) == (2, 3)


def test_mistakes(dlc: Callable[..., Any], asked: list[Any], tmp_path: Path) -> None:
    for arguments, sentence in (
        (("a.onnx", "b/a.onnx"), "two models are called a: write OTHER=b/a.onnx"),
        (("=a.onnx",), "'=a.onnx' is not of the form NAME=FILE"),
        (("a/b=a.onnx",), "is not of the form NAME=FILE"),
        ((tmp_path,), "there is no .onnx file in the folder"),
        (("a.onnx", "--max-batch", "0"), "0 is not in the range"),
        ((), "Missing argument"),
    ):
        outcome = dlc("serve", *arguments)
        assert outcome.code == 2
        assert sentence in " ".join(outcome.err.split())
    assert asked == []


def test_a_file_that_is_no_model(dlc: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    assert dlc("serve", tmp_path / "no.onnx").err.startswith("error[E0905]")
    (tmp_path / "bad.onnx").write_bytes(b"PK\x03\x04")
    outcome = dlc("serve", tmp_path / "bad.onnx")
    assert (outcome.code, outcome.err[:12]) == (1, "error[E0906]")


def test_a_type_that_is_not_run_is_told_with_the_file(dlc: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    ports = [helper.make_tensor_value_info(name, TensorProto.STRING, ["N"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "words.onnx")
    outcome = dlc("serve", tmp_path / "words.onnx")
    assert outcome.code == 1
    assert f"{tmp_path / 'words.onnx'} has an input or output of a type that dlc does not run" in outcome.err
    assert "x is a tensor(string)" in outcome.err


def test_without_the_libraries(dlc: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    outcome = dlc("serve", "net.onnx")
    assert outcome.code == 1
    assert outcome.err.startswith("error[E0810]: dlc serve needs uvicorn, which is not installed")
    assert "pip install 'dlc[serve]'" in outcome.err
