"""Indices out of range that nobody could know of before: told when they are met, with the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from runtime.programs.engine import Engine

WORDS = "model Net(x: i64[N, T]) -> f32[N, T, 2] { words: embed(5, 2) }"
SHIFTED = "model Net(x: i64[N, T]) -> f32[N, T, 2] { (x - 1) -> embed(5, 2) }"
PICKED = "model Net(x: i64[N, T]) -> f32[N, T] { take_along(cast(x, f32), x, 1) }"


def predict(text: str, *rows: list[int]) -> Any:
    program = compiler.compile_model(compiler.check(Source("net.dl", text)), "Net")
    weights = {weight.name: np.ones([5, 2], np.float32) for weight in program.weights}
    return Engine(compiler.model_module(program), weights).call("infer", {"x": np.array(rows)})["output"]


@pytest.mark.parametrize(
    ("text", "row", "said"),
    [
        (WORDS, [0, 5, 4], "Net.words.embed is given the index 5, and takes 0 to 4"),
        (WORDS, [0, -1, 4], "Net.words.embed is given the index -1, and takes 0 to 4"),
        (SHIFTED, [1, 5, 0], "Net.embed is given the index -1, and takes 0 to 4"),
        (PICKED, [0, 3, 1], "take_along(cast(x, f32), x, 1) is given the index 3, and takes 0 to 2"),
    ],
)
def test_a_prediction_is_refused(text: str, row: list[int], said: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        predict(text, row)
    (found,) = caught.value.diagnostics
    assert (found.code, found.title) == ("E0611", said)


def test_indices_in_range_are_taken() -> None:
    assert predict(WORDS, [0, 4]).shape == (1, 2, 2)
    assert predict(SHIFTED, [1, 5]).shape == (1, 2, 2)


def test_computed_labels_are_looked_at_in_training() -> None:
    text = """
        model Net(x: f32[N, 3]) -> f32[N, 4] { dense(4) }
        train net(x: f32[N, 3], y: i64[N]) { minimize cross_entropy(Net(x), y - 1) with sgd(0.1) }
    """
    program = compiler.compile_train(compiler.check(Source("net.dl", text)), "net")
    kept = {"Net.dense.weight": np.ones((3, 4), np.float32), "Net.dense.bias": np.ones(4, np.float32)}
    engine = Engine(compiler.train_module(program), kept)
    x = np.ones((2, 3), np.float32)
    assert np.isfinite(engine.call("evaluate", {"x": x, "y": np.array([1, 4])})["loss"])
    with pytest.raises(DiagnosticError, match=r"cross_entropy\(Net\(x\), y - 1\) is given the index -1"):
        engine.call("evaluate", {"x": x, "y": np.array([1, 0])})
