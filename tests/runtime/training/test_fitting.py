"""Trainings that are made to fit into so much memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from runtime.programs.project import project_of_text
from runtime.training.fitting import PROGRAM, fitted, plan_of
from runtime.training.job import Changes, make_job

RNG = np.random.default_rng(0)
DATA = {"x": RNG.normal(size=(240, 16)).astype(np.float32), "y": RNG.integers(0, 4, 240)}
TEXT = """
model Net(x: f32[N, 16]) -> f32[N, 4] { dense(64) -> NORM relu -> dropout(0.2) -> dense(64) -> relu -> dense(4) }
train net(x: f32[N, 16], y: i64[N]) {
    minimize LOSS with sgd(0.1)
    validate 50%
    batch 60
    epochs 3
}
"""
PLAIN = "cross_entropy(Net(x), y)"


def fit(limit: int, loss: str = PLAIN, norm: str = "", **changes: Any) -> Any:
    project = project_of_text(TEXT.replace("LOSS", loss).replace("NORM", norm), Path())
    return fitted(project, None, Changes(data=DATA, **changes), limit)


def needed(**changes: Any) -> int:
    job = make_job(
        project_of_text(TEXT.replace("LOSS", PLAIN).replace("NORM", ""), Path()), None, Changes(data=DATA, **changes)
    )
    return plan_of(job, job.prepare()).total


def test_what_fits_stays_as_it_is() -> None:
    job, _, plan = fit(needed())
    assert (job.program.settings.batch, job.program.settings.accumulate, job.program.updates) == (60, 1, ())
    assert plan.total == needed()
    assert plan.parts["data"] == sum(array.nbytes for array in DATA.values())
    assert plan.parts["Python and its libraries"] == PROGRAM


def test_a_large_batch_goes_through_in_the_largest_ones_that_fit() -> None:
    limit = needed(batch=15, accumulate=4)
    job, splits, plan = fit(limit)
    settings = job.program.settings
    assert (settings.batch, settings.accumulate, plan.total) == (15, 4, limit)
    assert needed(batch=20, accumulate=3) > limit
    whole = make_job(job.project, None, Changes(data=DATA))
    expected, found = whole.trainer(whole.prepare()), job.trainer(splits)
    assert [row.step for row in expected.fit()] == [row.step for row in found.fit()]
    for name, array in expected.weights.items():
        np.testing.assert_allclose(found.weights[name], array, rtol=1e-3, atol=1e-5)
    assert job.changes.statements(settings, Path(), Path())["batch"] == "batch 15"


def test_batches_that_are_accumulated_already_become_smaller() -> None:
    job, _, _ = fit(needed(batch=15, accumulate=8), batch=60, accumulate=2)
    assert (job.program.settings.batch, job.program.settings.accumulate) == (15, 8)


@pytest.mark.parametrize(
    ("loss", "norm", "words"),
    [
        (PLAIN, "batch_norm ->", "Net.batch_norm looks at the whole batch"),
        ("cross_entropy(Net(x), y, weights=[1, 2, 3, 9])", "", "or its loss looks at the whole batch"),
        ("mean(square(Net(x) - mean(Net(x), 0)))", "", "or its loss looks at the whole batch"),
    ],
)
def test_numbers_that_would_change_are_refused(loss: str, norm: str, words: str) -> None:
    with pytest.raises(DiagnosticError) as refused:
        fit(needed() - 50_000, loss, norm)
    assert "E0812" in str(refused.value)
    assert words in str(refused.value)
    assert "--accumulate" in str(refused.value)


def test_what_can_not_fit_is_told_with_what_it_takes() -> None:
    with pytest.raises(DiagnosticError) as refused:
        fit(PROGRAM)
    assert "training takes 111 MB of memory, and may take 110 MB" in str(refused.value)
    assert "most of that is for Python and its libraries: 110 MB" in str(refused.value)
    assert "allow 111 MB or more" in str(refused.value)
