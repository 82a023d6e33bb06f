"""Turns, learning rates, averages and kept checkpoints of whole runs, on a problem of a few numbers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import Source
from compiler.rules import Plateau
from runtime.programs.project import Project
from runtime.training.checkpoint import load_checkpoint
from runtime.training.folder import RunFolder
from runtime.training.job import Changes, make_job
from runtime.training.loop import Interrupted, Trainer
from runtime.training.pace import Patience
from runtime.training.progress import Silent

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 3)).astype(np.float32)
DATA = {"x": X, "y": (X @ np.float32([[1], [-2], [0.5]])).astype(np.float32)}
LINE = "model Line(x: f32[N, 3]) -> f32[N, 1] { dense(1) }\n"


def trainer(block: str, *, run: RunFolder | None = None, models: str = LINE, **named: Any) -> Trainer:
    """A trainer of the block; 8 of 48 samples are for validation, so that an epoch has 5 batches."""
    text = f"{models}train line(x: f32[N, 3], y: f32[N, 1]) {{\n{block}\nbatch 8\nvalidate 17%\n}}\n"
    job = make_job(Project(compiler.check(Source("line.dl", text)), Path()), changes=Changes(data=DATA))
    return job.trainer(job.prepare(), run=run, **named)


class Rates(Silent):
    """Notes the learning rate of every step."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.trainer: Trainer | None = None

    def advance(self, samples: int, figures: object) -> None:
        assert self.trainer is not None
        if self.trainer.position.step > len(self.rates):  # validation advances too
            self.rates.append(float(self.trainer.kept["sgd.lr"]))


def test_the_rate_of_every_step_is_that_of_the_schedule() -> None:
    seen = Rates()
    made = seen.trainer = trainer("minimize mse(Line(x), y) with sgd(cosine(0.1))\nepochs 4", progress=seen)
    history = made.fit()
    steps = np.arange(20)
    np.testing.assert_allclose(seen.rates, 0.05 * (1 + np.cos(np.pi * steps / 20)), rtol=1e-12)
    assert history["lr"] == [seen.rates[index] for index in (4, 9, 14, 19)]


def test_a_plateau_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    figures = [3.0, 2.0, 2.0, 1.99999, 2.1, 1.5, 1.6, 1.6, 1.6, 1.6, 1.6, 1.4, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5]
    for patience, cooldown in ((1, 0), (2, 2), (0, 1)):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
        expected = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=patience, cooldown=cooldown
        )
        seen = Patience()
        for figure in figures:
            expected.step(figure)
            seen = seen.after(figure, Plateau("", patience, 1e-4, cooldown), "lower")
            assert 0.5**seen.reductions == optimizer.param_groups[0]["lr"]
        mirrored = Patience()
        for figure in figures:
            mirrored = mirrored.after(-figure, Plateau("", patience, 0.0, cooldown), "higher")
        assert mirrored.reductions > 0


BLOCKS = {
    "plateau": "minimize mse(Line(x), y) with sgd(plateau(0.3, 0.5, 0, threshold=0.5))\nepochs 6",
    "average": "minimize mse(Line(x), y) with adam(cosine(0.1, warmup=3))\naverage 0.9\nepochs 6\nstop val.loss",
    "nadam": "minimize mse(Line(x), y) with nadam(linear(0.1))\nclip_value 0.3\nepochs 6",
    "turns": "minimize mse(Line(x), y) with sgd(0.01)\nepochs 6\n"
    "minimize mse(Line(x), y) with lion(step(0.1, 2)) every 3",
}


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("after", [2, 13, 23])
def test_a_run_that_was_stopped_ends_as_if_it_had_not(name: str, after: int, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "whole", "line") as run:
        trainer(BLOCKS[name], run=run).fit()

    class Stop(Silent):
        left = after

        def advance(self, samples: int, figures: object) -> None:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)

    with RunFolder(tmp_path / "parts", "line") as run:
        with pytest.raises(Interrupted):
            trainer(BLOCKS[name], run=run, progress=Stop()).fit()
        trainer(BLOCKS[name], run=run, resume=True).fit()
    for file in ("weights.safetensors", "checkpoint.safetensors", "history.csv"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


def test_a_statement_has_its_turn_in_each_so_many_steps() -> None:
    block = "minimize mse(Line(x), y) with sgd(0.0)\nminimize mse(Line(x), y) with sgd(0.1) every 7\nepochs 3"
    made = trainer(block)
    weights = []
    for _ in range(15):
        made._step()
        weights.append(made.kept["Line.dense.weight"].copy())
        if made.position.batch == 5:
            made.position = type(made.position)(made.position.epoch + 1, 0, made.position.step)
    changed = [index for index in range(1, 15) if not np.array_equal(weights[index], weights[index - 1])]
    assert changed == [6, 13]
    assert int(made.kept["step"]) == 15


def test_an_epoch_in_which_it_was_nobodys_turn_has_no_loss_of_it() -> None:
    block = "minimize mse(Line(x), y) with sgd(0.1)\nminimize mse(Line(x), y) with sgd(0.1) every 7\nepochs 3"
    rows = trainer(block).fit().rows
    assert ["loss2" in row.figures for row in rows] == [False, True, True]


def test_the_average_is_measured_and_exported() -> None:
    made = trainer("minimize mse(Line(x), y) with sgd(0.05)\naverage 0.9\nepochs 2")
    mean = None
    for step in range(1, 6):
        made._step()
        weight = made.kept["Line.dense.weight"].astype(np.float64)
        mean = weight if mean is None else mean + (weight - mean) * max(0.1, 1 / step)
    assert mean is not None
    np.testing.assert_allclose(made.weights["Line.dense.weight"], mean, rtol=1e-5)
    assert made.splits.validation is not None
    rows = made.splits.validation.rows
    predicted = X[rows] @ made.weights["Line.dense.weight"] + made.weights["Line.dense.bias"]
    expected = float(np.mean((predicted - DATA["y"][rows]) ** 2))
    assert made.evaluate(made.splits.validation).figures["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_warm_start_begins_with_its_weights_as_the_average() -> None:
    given = {"Line.dense.weight": np.full((3, 1), 7, np.float32), "Line.dense.bias": np.zeros(1, np.float32)}
    made = trainer("minimize mse(Line(x), y) with sgd(0.05)\naverage 0.9\nepochs 2", weights=given)
    np.testing.assert_array_equal(made.weights["Line.dense.weight"], given["Line.dense.weight"])


@pytest.mark.parametrize(("stop", "expected"), [("", [5, 6]), ("stop val.loss patience 9", None)])
def test_checkpoints_are_kept_by_number_or_by_the_best(stop: str, expected: list[int] | None, tmp_path: Path) -> None:
    with RunFolder(tmp_path, "line") as run:
        history = trainer(f"minimize mse(Line(x), y) with sgd(0.6)\nkeep 2\nepochs 6\n{stop}", run=run).fit()
        found = sorted(int(path.stem) for path in run.kept("epoch").iterdir())
    losses = history["val.loss"]
    best = sorted(sorted(range(1, 7), key=lambda epoch: losses[epoch - 1])[:2])
    assert found == (expected or best)
    kept = load_checkpoint(tmp_path / "epochs" / f"{found[0]:04d}.safetensors")
    assert len(kept.history) == found[0]


def test_time_that_is_up_ends_the_run_between_two_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = BLOCKS["average"]
    with RunFolder(tmp_path / "whole", "line") as run:
        trainer(block, run=run).fit()
    with RunFolder(tmp_path / "parts", "line") as run:
        for _ in range(40):
            made = trainer(block, run=run, resume=run.checkpoint.exists(), seconds=0.0)
            history = made.fit()
            assert history.rows[-1].step == made.position.step
        assert len(history) == 6
    for file in ("weights.safetensors", "checkpoint.safetensors", "history.csv"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()
