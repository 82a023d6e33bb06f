"""Weights that begin as they were made elsewhere: wherever first weights are made, they are these."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler.front.catalogue.initialisers import given
from compiler.front.trace import TracedWeight
from compiler.program import Given
from runtime.programs.engine import Engine
from runtime.programs.project import Project, project_of_text
from runtime.programs.standalone import standalone
from runtime.training.job import Changes, make_job
from runtime.training.loop import initial_state
from runtime.training.weights import fresh_weights

TEXT = """
model Net(x: f32[N, 3]) -> f32[N, 2] { dense(2) }

train net(x: f32[N, 3], y: f32[N, 2]) {
    minimize mse(Net(x), y) with sgd(0.1)
    average 0.5
    epochs 1
    seed 3
}
"""
NAME = "Net.dense.weight"
CONTENT = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Project]:
    """A project in which one weight comes from elsewhere; ``read`` counts how often it was."""

    def swapped(weights: tuple[TracedWeight, ...]) -> tuple[TracedWeight, ...]:
        content = Given("other.npz", lambda: CONTENT)
        return tuple(replace(item, init=given(content)) if item.weight.name == NAME else item for item in weights)

    def make() -> Project:
        made = project_of_text(TEXT, tmp_path)
        elaborated = made.checked.elaborated
        model, train = elaborated.models["Net"], elaborated.trains["net"]
        weights = swapped(train.weights)
        elaborated.models["Net"] = replace(model, weights=swapped(model.weights))
        elaborated.trains["net"] = replace(train, weights=weights, initial=compiler.first_weights(weights))
        return made

    return make


def test_training_begins_with_them(project: Callable[[], Project]) -> None:
    job = make_job(project())
    first = initial_state(job.program, job.make_engine)
    assert np.array_equal(first[NAME], CONTENT)
    assert np.array_equal(first[f"{NAME}.average"], CONTENT)
    assert not first["Net.dense.bias"].any()
    first[NAME] += 1
    assert np.array_equal(CONTENT.ravel(), np.arange(6)), "what is trained is a copy"


def test_a_training_changes_them(project: Callable[[], Project]) -> None:
    data = {"x": np.eye(3, dtype=np.float32), "y": np.zeros((3, 2), np.float32)}
    job = make_job(project(), changes=Changes(data))
    trainer = job.trainer(job.prepare())
    trainer.fit()
    assert not np.array_equal(trainer.kept[NAME], CONTENT)
    assert np.abs(trainer.kept[NAME] - CONTENT).max() < 1


def test_a_model_that_was_not_trained_has_them(project: Callable[[], Project]) -> None:
    made = project()
    assert np.array_equal(fresh_weights(made, made.model())[NAME], CONTENT)


def test_they_are_read_when_they_are_needed(project: Callable[[], Project], tmp_path: Path) -> None:
    made = project()
    reads = []
    name, content = next(iter(made.model().given.items()))
    counted = replace(made.model(), given={name: Given("x", lambda: (reads.append(1), content.read())[1])})
    assert not reads
    fresh_weights(made, counted)
    assert reads == [1]


def test_a_standalone_module_takes_them_as_arguments(project: Callable[[], Project]) -> None:
    text = standalone(project())
    assert '{**kept, "seed": np.array(0)}' in text
    engine = Engine(text, {"seed": np.array(3), NAME: CONTENT})
    assert np.array_equal(engine.call("initial", {})[NAME], CONTENT)
