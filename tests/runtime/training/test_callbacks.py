"""Callbacks: told of everything in order, and able to end a training well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlc
from runtime.training.history import Row

TEXT = """\
model Net(x: f32[N, 2]) -> f32[N, 1] { dense(1) }
train net(x: f32[N, 2], y: f32[N, 1]) {
    minimize mse(Net(x), y) with sgd(0.1)
    validate 20%
    batch 10
    epochs 4
}
"""


def arrays() -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    return {"x": x, "y": x[:, :1] * 2}


class Listener(dlc.Callback):
    def __init__(self, stop: int | None = None) -> None:
        self.heard: list[Any] = []
        self.stop = stop

    def on_train_begin(self, epochs: int) -> None:
        self.heard.append(f"begin {epochs}")

    def on_batch_end(self, samples: int, figures: Callable[[], Any]) -> None:
        assert set(figures()) == {"loss"}
        self.heard.append(samples)

    def on_epoch_end(self, row: Row) -> None:
        self.heard.append(f"epoch {row.epoch}")
        if row.epoch == self.stop:
            raise dlc.StopTraining

    def on_train_end(self) -> None:
        self.heard.append("end")


def test_what_is_told() -> None:
    listener, losses = Listener(), []
    history = dlc.loads(TEXT).fit(
        arrays(), epochs=2, callbacks=[listener, lambda row: losses.append(row.figures["loss"])]
    )
    epoch = [10] * 5
    assert listener.heard == ["begin 2", *epoch, "epoch 1", *epoch, "epoch 2", "end"]
    assert losses == history["loss"]


def test_a_training_ends_early_and_well(tmp_path: Path) -> None:
    model = dlc.loads(TEXT)
    history = model.fit(arrays(), callbacks=[Listener(stop=2)], out=tmp_path / "run")
    assert len(history) == 2
    other = dlc.loads(TEXT)
    other.fit(arrays(), epochs=2)
    assert all(np.array_equal(other.weights[name], array) for name, array in model.weights.items())
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"run.json", "report.html", "checkpoint.safetensors"}
    assert len(dlc.loads(TEXT).fit(arrays(), out=tmp_path / "run", resume=True)) == 4


def test_other_exceptions_come_through() -> None:
    def fail(row: Row) -> None:
        raise RuntimeError(f"in epoch {row.epoch}")

    model = dlc.loads(TEXT)
    with pytest.raises(RuntimeError, match="in epoch 1"):
        model.fit(arrays(), callbacks=[fail])
    assert len(model.history) == 1
