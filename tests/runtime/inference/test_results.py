"""Outputs as text: labels, probabilities and numbers that JSON does not have."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from runtime.inference.results import JsonLines, decided, writing


def test_probabilities_are_taken_as_they_are() -> None:
    labels, most = decided(np.array([[0.25, 0.75], [0.0, np.log(3.0)]], np.float32), ["a", "b"])
    assert labels == ["b", "b"]
    np.testing.assert_allclose(most, [0.75, 0.75], rtol=1e-6)


def test_floats_are_short_and_what_json_lacks_is_null() -> None:
    stream = io.BytesIO()
    JsonLines(stream).add({"y": np.array([[0.1, np.nan], [np.inf, 2]], np.float32), "k": np.array([1, 2])})
    assert stream.getvalue() == b'{"y": [0.1, null], "k": 1}\n{"y": [null, 2.0], "k": 2}\n'


def test_outputs_without_common_rows_are_one_object() -> None:
    stream = io.BytesIO()
    JsonLines(stream).add({"y": np.zeros(2, np.float32), "total": np.float32(3)[...]})
    assert json.loads(stream.getvalue()) == {"y": [0, 0], "total": 3}


@pytest.mark.parametrize("name", ["out.csv", "out.npy"])
def test_rows_that_differ_do_not_fit_in_a_table(tmp_path: Path, name: str) -> None:
    def write() -> None:
        with writing(tmp_path / name, ["y"]) as writer:
            writer.add({"y": np.zeros((2, 3))})
            writer.add({"y": np.zeros((2, 4))})

    with pytest.raises(DiagnosticError, match="E0603"):
        write()
    assert not list(tmp_path.iterdir())


def test_an_output_without_dimensions(tmp_path: Path) -> None:
    with writing(tmp_path / "out.npz", ["y"]) as writer:
        writer.add({"y": np.array(3.5)})
    assert np.load(tmp_path / "out.npz")["y"] == 3.5
