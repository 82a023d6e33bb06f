"""ORT files that have the same bytes each time."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from runtime.inference.mobile import to_ort
from runtime.inference.mobile_order import InferenceSession as Tables
from runtime.inference.mobile_order import in_order
from runtime.inference.session import InferenceSession

KINDS = ("Abs", "Ceil", "Cos", "Exp", "Floor", "Neg", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Tanh")
HASH = "import hashlib, pathlib, sys; from runtime.inference.mobile import to_ort; " + (
    "print(hashlib.sha256(to_ort(pathlib.Path(sys.argv[1]).read_bytes()).content).hexdigest())"
)


@pytest.fixture(scope="module")
def onnx_file() -> bytes:
    """A file of many operators, so that there are many orders."""
    names = ["x", *KINDS[:-1], "y"]
    nodes = [helper.make_node(kind, [a], [b]) for kind, a, b in zip(KINDS, names, names[1:], strict=False)]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def types(content: bytes) -> dict[bytes, dict[bytes, list[tuple[int, int]]]]:
    """What the table says: for each operator and type of its the operands that have it."""
    table = Tables.InferenceSession.GetRootAs(content).KernelTypeStrResolver()
    found: dict[bytes, dict[bytes, list[tuple[int, int]]]] = {}
    for operator in map(table.OpKernelTypeStrArgs, range(table.OpKernelTypeStrArgsLength())):
        entries: list[Any] = [operator.KernelTypeStrArgs(place) for place in range(operator.KernelTypeStrArgsLength())]
        found[operator.OpId()] = {
            entry.KernelTypeStr(): [(arg.ArgType(), arg.Index()) for arg in map(entry.Args, range(entry.ArgsLength()))]
            for entry in entries
        }
    return found


def test_another_process_makes_the_same(onnx_file: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(onnx_file)
    command = [sys.executable, "-c", HASH, str(tmp_path / "a.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [sha256(to_ort(onnx_file).content).hexdigest()]


def test_nothing_is_lost(onnx_file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    before = []
    monkeypatch.setattr("runtime.inference.mobile_order.in_order", lambda content: before.append(content) or content)
    to_ort(onnx_file)
    after = in_order(before[0])
    assert in_order(after) == after
    assert types(after) == types(before[0])
    assert len(types(after)) == len(KINDS)
    x = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)
    found, expected = (InferenceSession(content).run({"x": x})["y"] for content in (after, before[0]))
    np.testing.assert_array_equal(found, expected)
