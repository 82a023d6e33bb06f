"""Gradients checked, batches learned, values looked at: of networks that are well and of networks that are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from runtime.inspect.batch import first_batch
from runtime.inspect.gradcheck import WeightCheck, check_gradients
from runtime.inspect.overfit import Overfit, overfit
from runtime.inspect.statistics import Statistics, statistics
from runtime.programs.project import project_of_text
from runtime.training.job import Changes, Job, make_job

TEXT = """\
const rate = 0.01

model Net(x: f32[N, 6]) -> f32[N, 3] {
    body: dense(8) -> ACTIVATION
    head: dense(3)
}

train net(x: f32[N, 6], y: i64[N]) {
    minimize cross_entropy(Net(x), y) + 0.01 * l2(Net) with adam(rate)
    epochs 1
}
"""


def job(text: str = TEXT, activation: str = "tanh", arrays: Any = None, **constants: str) -> Job:
    project = project_of_text(text.replace("ACTIVATION", activation), Path(), constants)
    return make_job(project, None, Changes(data=arrays))


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(40, 6)).astype(np.float32), "y": rng.integers(0, 3, 40)}


def checks(made: Job, **options: Any) -> list[WeightCheck]:
    return list(check_gradients(made, first_batch(made, 4), {}, **options))


@pytest.mark.parametrize("activation", ["tanh", "relu", "batch_norm -> gelu", "dropout(0.5) -> layer_norm"])
@pytest.mark.parametrize("given", [None, arrays()])
def test_gradients_are_right(activation: str, given: Any) -> None:
    found = checks(job(activation=activation, arrays=given))
    assert {"Net.body.dense.weight", "Net.head.dense.bias"} <= {check.name for check in found}
    assert all(check.right and check.tried == min(10, check.size) for check in found)
    for check in found:
        assert check.worst is not None
        assert check.worst.gradient == pytest.approx(check.worst.measured, rel=1e-4, abs=1e-8)


def tried(made: Job, steps: int = 200, samples: int = 8) -> Overfit:
    return overfit(made, first_batch(made, samples), steps)


def test_a_batch_is_learned() -> None:
    found = tried(job(arrays=arrays(), rate="0.05"))
    assert found.learned
    assert found.reached == "8 of 8 predictions are right"
    assert found.after < found.before
    assert (len(found.losses), found.hints, found.still) == (200, [], ())


@pytest.mark.parametrize(
    ("rate", "activation", "steps", "hint"),
    [
        ("1e-6", "tanh", 20, "still falls"),
        ("1e-3", "tanh", 20, "still falls"),
        ("0.05", "(it * 0 -> relu)", 200, "to rest"),
        ("0.5", "(it - it)", 20, "never changed: Net.body.dense.bias"),
    ],
)
def test_a_batch_is_not_learned(rate: str, activation: str, steps: int, hint: str) -> None:
    found = tried(job(arrays=arrays(), rate=rate, activation=activation), steps)
    assert not found.learned
    assert hint in "\n".join(found.hints)


def test_numbers_out_of_hand() -> None:
    text = TEXT.replace("cross_entropy(Net(x), y)", "mean(exp(square(Net(x))))").replace("adam(rate)", "sgd(1e3)")
    found = tried(job(text, arrays=arrays()))
    assert isinstance(found.failure, DiagnosticError)
    assert "out of hand" in found.hints[0]


def looked_at(made: Job, samples: int = 16) -> Statistics:
    (found,) = statistics(made, first_batch(made, samples), {})
    return found


def test_statistics_are_those_of_the_values() -> None:
    made = job(arrays=arrays())
    batch = first_batch(made, 16)
    found = looked_at(made)
    assert [(value.where, value.text, value.type) for value in found.values] == [
        ("Net.body.dense", "dense(8)", "f32[N, 8]"), ("Net.body.tanh", "tanh", "f32[N, 8]"),
        ("Net.head.dense", "dense(3)", "f32[N, 3]"),
    ]  # fmt: skip
    from runtime.training.loop import initial_state

    kept = initial_state(made.program, made.make_engine)
    hidden = batch.inputs["x"] @ kept["Net.body.dense.weight"] + kept["Net.body.dense.bias"]
    assert (found.values[0].mean, found.values[0].deviation) == pytest.approx((hidden.mean(), hidden.std()), rel=1e-4)
    assert found.values[0].dead == 0
    size = np.sqrt(np.mean(np.square(kept["Net.body.dense.weight"])))
    assert found.weights[0].size == pytest.approx(size, rel=1e-5)
    assert found.remarks == []


@pytest.mark.parametrize(
    ("activation", "remark"),
    [
        ("(it - 100 -> relu)", "dead: 100% of what Net.body.relu relu gives"),
        ("(it * 1e-9)", "vanishing: the gradient of Net.body.dense"),
        ("(it * 1e9)", "exploding: the gradient of Net.body.dense.weight"),
        ("(it - it)", "no gradient reaches Net.body.dense.weight"),
        ("(it / (it - it))", "gives NaN or infinity"),
    ],
)
def test_what_is_wrong_is_named(activation: str, remark: str) -> None:
    text = TEXT.replace(" + 0.01 * l2(Net)", "")
    assert remark in "\n".join(looked_at(job(text, activation, arrays())).remarks)


def test_a_bias_that_a_norm_takes_off_is_idle() -> None:
    """Its gradient is 0 but for rounding, which tells nothing of the layers before it."""
    text = TEXT.replace(" + 0.01 * l2(Net)", "")
    (remark,) = looked_at(job(text, "batch_norm", arrays())).remarks
    assert remark.startswith("idle: Net.body.dense.bias: a norm behind takes off what the bias adds")
    twice = text.replace("head:", "more: tanh -> dense(8) -> batch_norm\n    head:")
    (remark,) = looked_at(job(twice, "batch_norm", arrays())).remarks
    assert remark.startswith("idle: Net.body.dense.bias and 1 more like it: ")
    assert looked_at(job(text.replace("dense(8)", "dense(8, bias=false)"), "batch_norm", arrays())).remarks == []


def test_batches() -> None:
    assert first_batch(job(arrays=arrays()), 16).source.startswith("16 samples of ")
    random = first_batch(job(), 5)
    assert random.source == "5 random samples"
    assert set(np.unique(random.inputs["y"])) <= {0, 1, 2}
    with pytest.raises(DiagnosticError, match="E0601"):
        first_batch(job(TEXT.replace("epochs 1", 'epochs 1\n    data "none.npz"')), 4)
