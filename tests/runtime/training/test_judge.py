"""Predictions held against targets: against figures worked out by hand, and the program's own measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.programs.project import project_of_text
from runtime.training.job import Changes, make_job
from runtime.training.judge import Judgement, judge
from runtime.training.loop import initial_state

CLASSES = """\
model Net(x: f32[N, 4]) -> f32[N, 3] { dense(3) }
train net(x: f32[N, 4], y: i64[N]) {
    minimize LOSS with sgd
    measure accuracy(Net(x), y)
    epochs 1
}
"""


def judged(text: str, arrays: dict[str, Any], **options: Any) -> tuple[Judgement | None, dict[str, Any], Any]:
    job = make_job(project_of_text(text, Path()), None, Changes(data=arrays))
    weights = initial_state(job.program, job.make_engine)
    data = job.samples("all")[1]
    return judge(job.project, job.program.name, weights, data, **options), weights, job.evaluate(weights, data)


def scores(weights: dict[str, Any], x: Any) -> Any:
    return x @ weights["Net.dense.weight"] + weights["Net.dense.bias"]


@pytest.fixture
def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(150, 4)).astype(np.float32), "y": rng.integers(0, 3, 150)}


@pytest.mark.parametrize("loss", ["cross_entropy(Net(x), y)", "cross_entropy(softmax(Net(x)), y) + l2(Net)"])
def test_classes(arrays: dict[str, Any], loss: str) -> None:
    found, weights, measured = judged(CLASSES.replace("LOSS", loss), arrays)
    assert found is not None
    logits = scores(weights, arrays["x"]).astype(np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(150), arrays["y"]]
    assert (found.samples, found.classes) == (150, 3)
    assert np.array_equal(found.predicted, logits.argmax(1))
    assert np.array_equal(found.wanted, arrays["y"])
    matrix = found.confusion()
    assert matrix.sum() == 150
    assert np.trace(matrix) / 150 == pytest.approx(measured.figures["accuracy"])
    assert matrix[1, 2] == np.sum((arrays["y"] == 1) & (logits.argmax(1) == 2))
    order = np.argsort(-losses)
    assert [miss.number for miss in found.worst] == order[:12].tolist()
    assert [miss.loss for miss in found.worst] == pytest.approx(losses[order[:12]].tolist(), rel=1e-5)
    assert np.array_equal(found.worst[0].inputs["x"], arrays["x"][order[0]])


def test_the_metric_library_agrees(arrays: dict[str, Any]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    found, *_ = judged(CLASSES.replace("LOSS", "cross_entropy(Net(x), y)"), arrays)
    assert found is not None
    assert np.array_equal(found.confusion(), metrics.confusion_matrix(found.wanted, found.predicted))


def test_ignored_labels_do_not_count(arrays: dict[str, Any]) -> None:
    arrays["y"][::3] = -1
    text = CLASSES.replace("LOSS", "cross_entropy(Net(x), y, ignore=-1)").replace(
        "    measure accuracy(Net(x), y)\n", ""
    )
    found, *_ = judged(text, arrays)
    assert found is not None
    assert found.confusion().sum() == 100
    assert all(miss.number % 3 for miss in found.worst)


def test_one_hot_targets(arrays: dict[str, Any]) -> None:
    text = CLASSES.replace("y: i64[N]", "y: f32[N, 3]").replace("LOSS", "cross_entropy(Net(x), y)")
    wanted = arrays["y"]
    found, *_ = judged(text, arrays | {"y": np.eye(3, dtype=np.float32)[wanted]})
    assert found is not None
    assert np.array_equal(found.wanted, wanted)


@pytest.mark.parametrize("last", ["dense(1) -> sigmoid", "dense(1)"])
def test_two_classes(arrays: dict[str, Any], last: str) -> None:
    text = f"""\
model Net(x: f32[N, 4]) -> f32[N, 1] {{ {last} }}
train net(x: f32[N, 4], y: f32[N, 1]) {{
    minimize bce(Net(x), y) with sgd
    measure accuracy(Net(x), y)
    epochs 1
}}
"""
    wanted = (arrays["y"] > 0).astype(np.float32)[:, None]
    found, weights, measured = judged(text, arrays | {"y": wanted})
    assert found is not None
    assert found.classes == 2
    assert np.array_equal(found.predicted, (scores(weights, arrays["x"]) > 0).ravel())
    assert np.trace(found.confusion()) / 150 == pytest.approx(measured.figures["accuracy"])


def test_numbers(arrays: dict[str, Any]) -> None:
    text = """\
model Net(x: f32[N, 4]) -> f32[N, 2] { dense(2) }
train net(x: f32[N, 4], y: f32[N, 2]) {
    minimize huber(Net(x), y) with sgd
    epochs 1
}
"""
    wanted = arrays["x"][:, :2] * 2
    found, weights, _ = judged(text, arrays | {"y": wanted})
    assert found is not None
    differences = np.abs(scores(weights, arrays["x"]) - wanted).mean(1)
    assert found.classes == 0
    assert found.worst[0].number == differences.argmax()
    assert found.predicted.shape == (300,)


def test_words_one_after_the_other() -> None:
    text = """\
model Net(x: i64[N, 5]) -> f32[N, 5, 7] { embed(7, 4) -> dense(7) }
train net(x: i64[N, 5], y: i64[N, 5]) {
    minimize cross_entropy(Net(x), y) with sgd
    epochs 1
}
"""
    y = np.random.default_rng(0).integers(0, 7, (30, 5))
    found, *_ = judged(text, {"x": y, "y": y})
    assert found is not None
    assert found.confusion().sum() == 150
    assert found.worst[0].wanted.shape == (5,)


def test_only_the_first_samples(arrays: dict[str, Any]) -> None:
    found, *_ = judged(CLASSES.replace("LOSS", "cross_entropy(Net(x), y)"), arrays, limit=64, worst=3)
    assert found is not None
    assert (found.samples, len(found.worst)) == (64, 3)


@pytest.mark.parametrize("loss", ["mean(square(Net(x)))", "bce(Net(x), 1)"])
def test_losses_without_a_target(arrays: dict[str, Any], loss: str) -> None:
    assert judged(CLASSES.replace("LOSS", loss), arrays)[0] is None
