"""A model file trained as users train it: compiled, generated, with dropout and Adam, stopped and resumed."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from compiler.program import TrainProgram
from runtime.data.split import Splits, prepare
from runtime.programs.engine import Engine
from runtime.training.checkpoint import load_weights
from runtime.training.folder import open_run
from runtime.training.loop import Trainer

TEXT = """\
const rate = 0.01

model Blobs(x: f32[N, 8]) -> f32[N, 3] {
    dense(16) -> relu -> dropout(0.3)
    head: dense(3)
}

train blobs(x: f32[N, 8], label: i64[N]) {
    logits = Blobs(x)
    minimize cross_entropy(logits, label) with adam(rate)
    measure  accuracy(logits, label)
    validate 20%
    test     10%
    batch    16
    epochs   6
    seed     3
}
"""


def program(epochs: int = 6, rate: float = 0.01) -> TrainProgram:
    checked = compiler.check(Source("blobs.dl", TEXT), {"rate": str(rate)})
    compiled = compiler.compile_train(checked, "blobs")
    return replace(compiled, settings=replace(compiled.settings, epochs=epochs))


def data(compiled: TrainProgram) -> Splits:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 3, 300)
    x = rng.normal(size=(3, 8))[label] * 2 + rng.normal(size=(300, 8))
    return prepare(compiled, {"x": x.astype(np.float32), "label": label})


def train(out: Path, compiled: TrainProgram, *, resume: bool = False) -> tuple[Trainer, dict[str, bytes]]:
    make_engine = partial(Engine, compiler.train_module(compiled))
    with open_run("blobs", out=out, resume=resume) as run:
        trainer = Trainer(compiled, make_engine, data(compiled), run=run, resume=resume)
        trainer.fit()
    return trainer, {path.name: path.read_bytes() for path in out.iterdir()}


def test_it_learns(tmp_path: Path) -> None:
    trainer, _ = train(tmp_path, program(epochs=20))
    assert trainer.splits.test is not None
    assert (len(trainer.splits.train), len(trainer.splits.test)) == (210, 30)
    assert trainer.evaluate(trainer.splits.test).figures["accuracy"] > 0.9
    assert trainer.history.names == ("loss", "accuracy", "val.loss", "val.accuracy")
    loaded = load_weights(tmp_path / "weights.safetensors", trainer.program)
    assert set(loaded) == set(trainer.weights)
    assert all(np.array_equal(loaded[name], array) for name, array in trainer.weights.items())


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    _, whole = train(tmp_path / "whole", program(epochs=6))
    _, half = train(tmp_path / "parts", program(epochs=3))
    _, parts = train(tmp_path / "parts", program(epochs=6), resume=True)
    assert half["weights.safetensors"] != whole["weights.safetensors"]
    assert parts == whole


def test_a_diverging_run_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        train(tmp_path, program(rate=1e30))
    lines = str(caught.value).splitlines()
    assert lines[:4] == [
        "error[E0701]: the loss became nan in step 2 (epoch 1, batch 2 of 14)",
        " --> blobs.dl:5:11",
        "  |",
        "5 |     head: dense(3)",
    ]
    # Of which sign hangs on how the processor rounds.
    assert lines[4].startswith("  |           ^^^^^^^^ `linear` in Blobs.head.dense gives ")
    assert lines[-2:] == [
        f"  = note: {tmp_path / 'checkpoint.safetensors'} is as it was after step 0",
        "  = help: a smaller learning rate, or inputs scaled to about -1 to 1, is the usual cure",
    ]
