"""The benchmark of plain recurrent layers: both forms are what they are called, and give the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from benchmarks import recurrent
from runtime.inference.session import InferenceSession


@pytest.mark.parametrize("activation", recurrent.ACTIVATIONS)
def test_the_forms(activation: recurrent.Activation) -> None:
    contents = {form: recurrent.content_of(form, activation, 8) for form in recurrent.FORMS}
    for form, content in contents.items():
        kinds = {node.op_type.lower() for node in onnx.load_from_string(content).graph.node}
        assert form in kinds
        assert "if" not in kinds
    x = np.random.default_rng(0).normal(size=(5, 20_000, recurrent.FEATURES)).astype(np.float32)
    rnn, scan = (InferenceSession(content).run({"x": x})["y"] for content in contents.values())
    np.testing.assert_allclose(scan, rnn, rtol=1e-5, atol=1e-5)


def test_shares_are_told_for_each_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent, "ROWS", (1, 3))
    monkeypatch.setattr(recurrent, "SESSIONS", 1)
    found = recurrent.shares("tanh", 8, True, 1, 1e-5)
    assert len(found) == 2
    assert all(share > 0 for share in found)
