"""Networks whose targets are what they themselves say, so that they need no training to be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.inference.precision import shrink
from runtime.inference.precision.gate import Limits
from runtime.inference.precision.shrink import Shrinker, shrinker
from runtime.inference.ship import Shipping
from runtime.programs.predict import Predictor
from runtime.programs.project import Project, project_of_text
from runtime.training.job import Changes, make_job
from runtime.training.loop import initial_state

TRAIN = """
train net({inputs}, y: i64[N]) {{
    scores = Net(x)
    minimize cross_entropy(scores, y) with sgd(0.1)
    measure accuracy(scores, y)
    data "net.npz"
    validate 50%
    batch 32
    steps 1
}}
"""
LIMITS, UNCHANGED = Limits(), Changes()
Opened = Callable[..., Shrinker]


def weights_of(project: Project, changed: Mapping[str, Any]) -> dict[str, Any]:
    job = make_job(project)
    state = initial_state(job.program, job.make_engine)
    return {
        weight.name: changed.get(weight.name, lambda array: array)(state[weight.name]) for weight in job.program.weights
    }


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process for each file that is tried, and no times that mean anything."""
    monkeypatch.setattr(shrink, "survives", lambda content: True)
    monkeypatch.setattr(shrink, "_RUNS", 1)


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """The shrinker of ``model``, the text of a model Net with the input x; ``weights`` change those that it begins
    with, by name."""

    def made(
        model: str,
        x: Any,
        weights: Mapping[str, Any] | None = None,
        limits: Limits = LIMITS,
        train: str = TRAIN,
        changes: Changes = UNCHANGED,
    ) -> Shrinker:
        inputs = model[model.index("(") + 1 : model.index(")")]
        project = project_of_text(model + train.format(inputs=inputs), tmp_path)
        program = project.model("Net")
        own = weights_of(project, weights or {})
        scores = next(iter(Predictor(program, own).predict(x).values()))
        np.savez(tmp_path / "net.npz", x=x, y=scores.argmax(-1))
        return shrinker(make_job(project, None, changes), program, own, Shipping(), limits)

    return made
