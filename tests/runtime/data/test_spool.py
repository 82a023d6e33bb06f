"""Samples from generators: gathered once, and then like any other data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlc
from compiler.diagnostics import DiagnosticError
from runtime.data import memory
from runtime.data.columns import gather
from runtime.data.filerows import FileRows
from runtime.data.spool import gathered

MODEL = """\
model Net(x: f32[N, 2]) -> f32[N, 1] { dense(1) }

train net(x: f32[N, 2], y: f32[N, 1]) {
    minimize mse(Net(x), y) with adam(0.01)
    validate 20%
    test 10%
    epochs 2
    batch 7
}
"""
PROGRAM = dlc.loads(MODEL)._project.train()
X = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
Y = X[:, :1] - X[:, 1:]


def samples() -> Iterator[dict[str, Any]]:
    for x, y in zip(X, Y, strict=True):
        yield {"x": x, "y": y}


@pytest.mark.parametrize("held", [True, False])
def test_samples_batches_and_tuples(held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not held:
        monkeypatch.setattr(memory, "_HELD", 0)
    batches = ({"x": X[start : start + 20], "y": Y[start : start + 20]} for start in (0, 20, 40))
    tuples = zip(X, Y, strict=True)
    for given in (samples(), batches, tuples, [(x.tolist(), y.tolist()) for x, y in zip(X, Y, strict=True)]):
        arrays = gathered(PROGRAM, given)
        assert all(isinstance(array, FileRows) is not held for array in arrays.values())
        np.testing.assert_array_equal(gather(arrays["x"], np.arange(50)), X, strict=True)
        np.testing.assert_array_equal(gather(arrays["y"], np.arange(50)), Y, strict=True)


def test_one_input_needs_no_tuple() -> None:
    program = dlc.loads(
        MODEL.replace(", y: f32[N, 1])", ")").replace("mse(Net(x), y)", "mean(Net(x))")
    )._project.train()
    np.testing.assert_array_equal(np.asarray(gathered(program, iter(X))["x"]), X)


def test_a_run_from_a_generator_is_the_run_from_arrays() -> None:
    from_arrays, from_generator = dlc.loads(MODEL), dlc.loads(MODEL)
    first = from_arrays.fit({"x": X, "y": Y})
    second = from_generator.fit(samples())
    assert first.csv() == second.csv()
    assert from_arrays.evaluate() == from_generator.evaluate()
    assert from_generator.evaluate(samples())["loss"] > 0


@pytest.mark.parametrize(
    ("items", "code", "why"),
    [
        ([], "E0609", "the generator gave no sample for `x`"),
        ([{"x": X[0], "y": Y[0]}, {"x": X[0, :1], "y": Y[0]}], "E0604",
         "`x` of item 1 is float32[1], and those before are float32[2]"),
        ([{"x": X[0]}], "E0605", "item 0 has no `y`"),
        ([(X[0], Y[0], 1)], "E0605", "item 0 has 3 parts, and the train block takes 2"),
        ([{"x": [{}, {}], "y": Y[0]}], "E0604", "`x` of item 0 is object[2]"),
        ([{"x": X[0].astype(np.float64), "y": Y[0]}], "E0606", "`x` is f64, and the program takes f32"),
    ],
)  # fmt: skip
def test_mistakes(items: list[Any], code: str, why: str) -> None:
    with pytest.raises(DiagnosticError, match=code) as caught:
        dlc.loads(MODEL).fit(iter(items))
    assert why in str(caught.value)


def test_a_failing_generator_says_so_itself() -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield {"x": X[0], "y": Y[0]}
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        dlc.loads(MODEL).fit(failing())


def test_no_room_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(DiagnosticError, match="E0801"):
        gathered(PROGRAM, samples())
