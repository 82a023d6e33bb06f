"""Batches of a size that a layer can't take: told before training begins, with the layer and what to do."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from runtime.data.batches import DataSet
from runtime.data.split import Splits
from runtime.programs.engine import Engine
from runtime.training.loop import Trainer

NET = """
model Net(x: f32[N, 4]) -> f32[N, 2] {{ stem: dense(8) -> batch_norm -> relu
    dense(2) }}
train net(x: f32[N, 4], y: f32[N, 2]) {{
    minimize mse(Net(x), y) with sgd(0.1)
    batch {batch}
    epochs 1
}}
"""


def trainer(samples: int, batch: int) -> Trainer:
    checked = compiler.check(Source("net.dl", NET.format(batch=batch)))
    program = compiler.compile_train(checked, "net")
    random = np.random.default_rng(0)
    arrays = {"x": random.random((samples, 4), np.float32), "y": random.random((samples, 2), np.float32)}
    data = DataSet(arrays, np.arange(samples))
    return Trainer(program, partial(Engine, compiler.train_module(program)), Splits(data, None, None))


WHO = "  = note: Net.stem.batch_norm: training takes two values of each channel or more, but this batch has one\n"
TITLE = "error[E0614]: the network can't be trained on a batch of 1 sample\n"
REPORTS: list[tuple[int, int, str]] = [
    (
        65,
        64,
        f"{TITLE}{WHO}  = note: 65 samples in batches of 64 leave 1 sample for the last one\n"
        "  = help: take another size, for example `batch 63`",
    ),
    (7, 3, f"{TITLE}{WHO}  = note: 7 samples in batches of 3 leave 1 sample for the last one\n"
           "  = help: take another size, for example `batch 7`"),
    (7, 1, f"{TITLE}{WHO}  = help: take a larger `batch`"),
    (1, 8, f"{TITLE}{WHO}  = help: train on more samples"),
]  # fmt: skip


@pytest.mark.parametrize(("samples", "batch", "report"), REPORTS)
def test_a_batch_of_one_is_told_before_training(samples: int, batch: int, report: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        trainer(samples, batch)
    assert str(caught.value) == report


@pytest.mark.parametrize(("samples", "batch"), [(66, 64), (64, 64), (7, 4), (2, 8)])
def test_others_are_trained_on(samples: int, batch: int) -> None:
    history: Any = trainer(samples, batch).fit()
    assert np.isfinite(history.rows[0].figures["loss"])
