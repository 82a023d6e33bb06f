"""Figures that are taken after so many steps, in place of after every epoch."""

from __future__ import annotations

import io
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from runtime.programs.project import Project
from runtime.reports.plots import save_plots
from runtime.reports.report.write import write_report
from runtime.training.folder import RunFolder
from runtime.training.history import History
from runtime.training.job import Changes, make_job
from runtime.training.loop import Interrupted, Trainer
from runtime.training.progress import Lines, Outline, Silent
from runtime.training.record import load_record

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 3)).astype(np.float32)
DATA = {"x": X, "y": (X @ np.float32([[1], [-2], [0.5]])).astype(np.float32)}
TEXT = """model Line(x: f32[N, 3]) -> f32[N, 1] {{ dense(1) }}
train line(x: f32[N, 3], y: f32[N, 1]) {{
    minimize mse(Line(x), y) with sgd({rate})
    measure mae(Line(x), y)
    validate 17% every {every}
    batch 8
    {rest}
}}
"""
KEPT = ("weights.safetensors", "checkpoint.safetensors", "history.csv")


def job_of(every: int = 3, rest: str = "epochs 4", rate: str = "0.05") -> Any:
    """8 of 48 samples are for validation, so that an epoch has 5 steps."""
    text = TEXT.format(every=every, rest=rest, rate=rate)
    return make_job(Project(compiler.check(Source("line.dl", text)), Path()), changes=Changes(data=DATA))


def trainer(every: int = 3, rest: str = "epochs 4", rate: str = "0.05", **named: Any) -> Trainer:
    job = job_of(every, rest, rate)
    made: Trainer = job.trainer(job.prepare(), **named)
    return made


class Stop(Silent):
    """Asks to stop in the so-manieth batch, of training or validation."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, samples: int, figures: object) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


def test_rows_stand_for_the_steps_since_the_one_before() -> None:
    history = trainer(3).fit()
    assert [(row.epoch, row.step) for row in history] == [(1, 3), (2, 6), (2, 9), (3, 12), (3, 15), (4, 18), (4, 20)]
    assert history.places == [3, 6, 9, 12, 15, 18, 20]
    plain = trainer(1)
    each = plain.fit()["loss"]
    np.testing.assert_allclose(history["loss"], [*np.reshape(each[:18], (6, 3)).mean(1), np.mean(each[18:])], rtol=1e-6)
    assert plain.history["val.loss"][2] == history["val.loss"][0]


def test_an_interval_of_an_epoch_is_an_epoch() -> None:
    by_steps = trainer(5).fit()
    text = TEXT.format(every=5, rest="epochs 4", rate=0.05).replace(" every 5", "")
    job = make_job(Project(compiler.check(Source("line.dl", text)), Path()), changes=Changes(data=DATA))
    by_epochs = job.trainer(job.prepare()).fit()
    assert [dict(row.figures) for row in by_steps] == [dict(row.figures) for row in by_epochs]
    assert [row.epoch for row in by_steps] == [1, 2, 3, 4]


@pytest.mark.parametrize("rest", ["epochs 4\nstop val.loss patience 3\nkeep 2", "steps 17\naverage 0.9\nkeep 3"])
@pytest.mark.parametrize("after", [1, 3, 4, 5, 7, 11, 14, 19])
def test_a_run_that_was_stopped_ends_as_if_it_had_not(rest: str, after: int, tmp_path: Path) -> None:
    rate = "plateau(0.3, 0.5, 1, threshold=0.5)"
    with RunFolder(tmp_path / "whole", "line") as run:
        trainer(3, rest, rate, run=run).fit()
    with RunFolder(tmp_path / "parts", "line") as run:
        with pytest.raises(Interrupted):
            trainer(3, rest, rate, run=run, progress=Stop(after)).fit()
        trainer(3, rest, rate, run=run, resume=True).fit()
    kept = sorted(path.name for path in (tmp_path / "whole" / "steps").iterdir())
    for file in (*KEPT, *(f"steps/{name}" for name in kept)):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


def test_more_steps_take_the_last_row_back(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "whole", "line") as run:
        trainer(4, "steps 14", run=run).fit()
    with RunFolder(tmp_path / "parts", "line") as run:
        assert trainer(4, "steps 6", run=run).fit().places == [4, 6]
        assert trainer(4, "steps 14", run=run, resume=True).fit().places == [4, 8, 12, 14]
    for file in KEPT:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


def test_stopping_waits_for_validations() -> None:
    class Notes(Silent):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    seen = Notes()
    made = trainer(3, "epochs 40\nstop val.loss patience 4", "0.9", progress=seen)  # so large that it gets worse
    history = made.fit()
    best = history.best("val.loss", "lower")
    assert history.best_step == best.step
    assert len(history) == history.rows.index(best) + 5
    assert seen.notes == [
        f"stopped: val.loss has not improved for 4 validations; the weights of step {best.step} are kept"
    ]


def test_plateaus_wait_for_validations() -> None:
    history = trainer(3, "epochs 4", "plateau(0.3, 0.5, 0, threshold=0.99)").fit()
    assert history["lr"][:2] == [0.3, 0.3]
    assert set(np.diff(history["lr"][1:]) < 0) == {True}


@pytest.mark.parametrize(("first", "rest"), [(None, "epochs 3"), (4, "epochs 3"), (7, "steps 17"), (9, "steps 13")])
def test_the_bar_knows_how_many_samples_go_through(first: int | None, rest: str, tmp_path: Path) -> None:
    class Seen(Silent):
        samples, outline = 0, Outline(0, 0, 0)

        def start(self, outline: Outline) -> None:
            self.outline = outline

        def advance(self, samples: int, figures: object) -> None:
            self.samples += samples

    seen = Seen()
    with RunFolder(tmp_path, "line") as run:
        if first is not None:
            with pytest.raises(Interrupted):
                trainer(3, rest, run=run, progress=Stop(first)).fit()
        made = trainer(3, rest, run=run, resume=first is not None, progress=seen)
        made.fit()
    assert seen.outline.done + seen.samples == seen.outline.samples
    assert seen.outline.steps == made.position.step


def test_lines_record_report_and_plots_count_steps(tmp_path: Path) -> None:
    job, shown = job_of(3, "epochs 4\nstop val.loss\nkeep 2"), io.StringIO()
    splits = job.prepare()
    with RunFolder(tmp_path / "line", "line") as run:
        with job.recording(run, splits, Lines(shown)) as recording:
            made = job.trainer(splits, run=run, progress=recording)
            history = made.fit()
        write_report(run.path, job, made.weights, splits, history, recording.record)
    assert [line.partition("  loss")[0] for line in shown.getvalue().splitlines()][:2] == ["step  3/20", "step  6/20"]
    record = load_record(run.record)
    assert record is not None
    assert list(record.seconds) == [3, 6, 9, 12, 15, 18, 20]
    page = (run.path / "report.html").read_text()
    assert "loss over steps" in page
    assert f"best step, {history.best_step}" in page
    assert "time of 3 steps (median)" in page
    assert f"the weights are those of step {history.best_step}" in page
    assert History.from_csv(run.history.read_text()).places == history.places
    pytest.importorskip("matplotlib")
    from runtime.reports.listing import find_runs

    save_plots(find_runs([run.path]), tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").stat().st_size > 10_000


def test_what_the_command_line_says_keeps_the_interval() -> None:
    job = make_job(job_of().project, changes=Changes(data=DATA, validate=0.25))
    assert job.program.settings.interval == 3
    assert job.changes.statements(job.program.settings, Path(), Path())["validate"] == "validate 0.25 every 3"


@pytest.mark.parametrize(("every", "words"), [("0", "every is at least 1, not 0"), ("2.5", "every is a whole number")])
def test_an_interval_is_a_number_of_steps(every: str, words: str) -> None:
    text = TEXT.format(every=every, rest="epochs 4", rate=0.05)
    with pytest.raises(DiagnosticError, match=words):
        compiler.check(Source("line.dl", text))
