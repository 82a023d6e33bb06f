"""Layers and gradients looked at while a training goes on."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.inspect.statistics import size_of
from runtime.inspect.watching import Watching, looks_csv, observe, read_looks
from runtime.programs.project import project_of_text
from runtime.reports.report.write import write_report
from runtime.training.folder import RunFolder
from runtime.training.job import Changes, Job, make_job
from runtime.training.loop import Interrupted, Trainer
from runtime.training.progress import Silent
from runtime.training.record import Record

TEXT = """\
model Net(x: f32[N, 6]) -> f32[N, 3] { body: dense(8) -> relu -> dropout(0.2); head: dense(3) }

train net(x: f32[N, 6], y: i64[N]) {
    minimize cross_entropy(Net(x), y) with adam(0.01)
    validate 20% EVERY
    batch 8
    epochs 4
}
"""
RNG = np.random.default_rng(0)
ARRAYS = {"x": RNG.normal(size=(40, 6)).astype(np.float32), "y": RNG.integers(0, 3, 40)}


def made_job(every: str = "") -> Job:
    return make_job(project_of_text(TEXT.replace("EVERY", every), Path()), None, Changes(data=ARRAYS))


def watched(run: RunFolder, every: str = "", **named: Any) -> tuple[Trainer, Watching]:
    job = made_job(every)
    trainer = job.trainer(job.prepare(), run=run, **named)
    return trainer, observe(job, trainer, run)


@pytest.mark.parametrize(("every", "steps"), [("", [4, 8, 12, 16]), ("every 3", [3, 6, 9, 12, 15, 16])])
def test_every_row_of_the_history_has_a_look(every: str, steps: list[int], tmp_path: Path) -> None:
    with RunFolder(tmp_path, "net") as run:
        trainer, watching = watched(run, every)
        trainer.fit()
    assert [look.step for look in watching.looks] == steps
    first, last = watching.looks[0].statistics, watching.looks[-1].statistics
    assert [value.where for value in last.values] == [
        "Net.body.dense",
        "Net.body.relu",
        "Net.body.dropout",
        "Net.head.dense",
    ]
    assert {weight.name for weight in last.weights} == set(trainer.weights)
    assert all(0 < weight.update < weight.size + 0.1 for weight in last.weights)
    assert last.loss < first.loss
    written = read_looks(run.statistics)
    assert looks_csv(written) == looks_csv(watching.looks) == run.statistics.read_text()


def test_an_update_is_what_the_last_step_changed(tmp_path: Path) -> None:
    with RunFolder(tmp_path, "net") as run:
        trainer, watching = watched(run)
        name, seen = "Net.head.dense.weight", []
        step = trainer._step
        trainer._step = lambda: (seen.append(trainer.kept[name].copy()), step())  # type: ignore[method-assign]
        trainer._round()
    (weight,) = (one for one in watching.looks[-1].statistics.weights if one.name == name)
    expected = size_of(trainer.kept[name].astype(np.float64) - seen[-1])
    assert weight.update == pytest.approx(expected, rel=1e-12)
    assert weight.size == pytest.approx(size_of(trainer.kept[name]), rel=1e-12)


def test_looking_changes_nothing_of_the_run(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "watched", "net") as run:
        watched(run)[0].fit()
    with RunFolder(tmp_path / "alone", "net") as run:
        job = made_job()
        job.trainer(job.prepare(), run=run).fit()
    for name in ("weights.safetensors", "checkpoint.safetensors", "history.csv"):
        assert (tmp_path / "watched" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    assert not (tmp_path / "alone" / "statistics.csv").exists()


def test_a_run_that_was_stopped_has_the_same_looks_in_the_end(tmp_path: Path) -> None:
    class Stop(Silent):
        left = 7

        def advance(self, samples: int, figures: object) -> None:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)

    with RunFolder(tmp_path / "whole", "net") as run:
        watched(run)[0].fit()
    with RunFolder(tmp_path / "parts", "net") as run:
        with pytest.raises(Interrupted):
            watched(run, progress=Stop())[0].fit()
        watched(run, resume=True)[0].fit()
    assert (tmp_path / "whole" / "statistics.csv").read_bytes() == (tmp_path / "parts" / "statistics.csv").read_bytes()


@pytest.mark.parametrize("text", ["", "epoch,step\n1,2\n", "epoch,step,statement,loss,kind\n1,2,1,x,layer\n", "\0"])
def test_a_file_that_can_not_be_read_has_no_looks(text: str, tmp_path: Path) -> None:
    assert read_looks(tmp_path / "none.csv") == []
    (tmp_path / "some.csv").write_text(text)
    assert read_looks(tmp_path / "some.csv") == []


def test_the_report_shows_them(tmp_path: Path) -> None:
    with RunFolder(tmp_path, "net") as run:
        trainer, watching = watched(run)
        trainer.fit()
        job = made_job()
        write_report(run.path, job, trainer.weights, trainer.splits, trainer.history, Record("net"))
    page = (run.path / "report.html").read_text()
    assert "Layers and gradients" in page
    assert page.count('class="spark"') == 3 * (4 + 4)
    assert "Net.head.dense.weight" in page
    assert all(math.isfinite(weight.update) for look in watching.looks for weight in look.statistics.weights)
