"""Figures of a train block with another program in place of its model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from runtime.inference.precision.judge import Judge, judge_of
from runtime.programs.predict import Predictor
from runtime.programs.project import project_of_text
from runtime.training.job import Job, make_job
from runtime.training.loop import initial_state

TEXT = """
model Critic(x: f32[N, 3]) -> (score: f32[N, 1]) { dense(4) -> relu -> dropout(0.5) -> dense(1) }
model Other(x: f32[N, 3]) -> f32[N, 3] { dense(3) -> batch_norm }

train both(x: f32[N, 3], y: f32[N, 1]) {
    inner = x -> Other
    scores = Critic(2 * inner) + Critic(x)
    minimize mse(scores, y) + 1e-3 * l2(Critic) with sgd(0.1)
    measure mae(scores, y)
    data "both.npz"
    validate 50%
    batch 8
    steps 1
}
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    random = np.random.default_rng(0)
    arrays = {name: random.standard_normal((40, size)).astype(np.float32) for name, size in (("x", 3), ("y", 1))}
    np.savez(tmp_path / "both.npz", **arrays)
    return make_job(project_of_text(TEXT, tmp_path))


def judge_and_model(job: Job, model: str) -> tuple[Judge, Predictor]:
    weights = {name: array for name, array in initial_state(job.program, job.make_engine).items() if "." in name}
    program = job.project.model(model)
    own = {weight.name: weights[weight.name] for weight in program.weights}
    return judge_of(job, model, weights), Predictor(program, own)


@pytest.mark.parametrize("model", ["Critic", "Other"])
def test_the_model_itself_gives_what_the_evaluation_gives(job: Job, model: str) -> None:
    judge, predictor = judge_and_model(job, model)
    _, data = job.samples("validate")
    whole = job.evaluate(judge.engine.kept, data).figures
    assert judge.figures(predictor.run, data) == pytest.approx(dict(whole), rel=1e-6)


def test_another_program_gives_something_else(job: Job) -> None:
    judge, predictor = judge_and_model(job, "Critic")
    _, data = job.samples("validate")
    figures = judge.figures(lambda inputs: {"score": predictor.run(inputs)["score"] + 10}, data)
    assert figures["mae"] > 15  # two uses
    broken = judge.figures(lambda inputs: {"score": predictor.run(inputs)["score"] * np.nan}, data)
    assert all(np.isnan(figure) for figure in broken.values())


def test_what_the_model_is_given(job: Job) -> None:
    judge, predictor = judge_and_model(job, "Critic")
    _, data = job.samples("validate")
    given = list(judge.batches(predictor.run, data))
    assert [inputs["x"].shape for inputs in given] == [(8, 3)] * 4 + [(4, 3)] * 2
    rows = np.asarray(data.arrays["x"])[data.rows[:8]]
    np.testing.assert_array_equal(given[1]["x"], rows)


def test_a_model_that_the_block_does_not_run(job: Job) -> None:
    text = TEXT + "model Apart(x: f32[N, 3]) -> f32[N, 3] { dense(3) }\n"
    other = make_job(project_of_text(text, job.project.folder))
    with pytest.raises(DiagnosticError, match="never runs Apart"):
        judge_of(other, "Apart", {})
