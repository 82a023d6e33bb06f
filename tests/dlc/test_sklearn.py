"""The estimators: scikit-learn's own checks, and model files in pipelines."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from compiler.diagnostics import DiagnosticError
from dlc.sklearn import Classifier, Regressor

IRIS = """\
const features = 1
const outputs = 1
const units = 8

model Iris(x: f32[N, features]) -> f32[N, outputs] { dense(units) -> tanh -> dense(outputs) }

train iris(x: f32[N, features], kind: i64[N]) {
    minimize cross_entropy(Iris(x), kind) with adam(0.02)
    batch 16
    epochs 30
}
"""
# What needs a package that dlc has no use for.
SKIPPED = {"check_array_api_input", "check_classifier_data_not_an_array", "check_regressor_data_not_an_array"}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize("estimator", [Classifier(epochs=25), Regressor(epochs=25)], ids=["classifier", "regressor"])
def test_scikit_learns_own_checks(estimator: Any) -> None:
    found = check_estimator(estimator, on_fail=None, on_skip=None)
    failed = {
        check["check_name"]: check["exception"] for check in found if check["status"] not in ("passed", "skipped")
    }
    assert failed == {}
    assert {check["check_name"] for check in found if check["status"] == "skipped"} <= SKIPPED
    assert len(found) > 40


def test_a_model_file_in_a_pipeline(tmp_path: Path) -> None:
    (tmp_path / "iris.dl").write_text(IRIS)
    samples, labels = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[labels]
    pipeline = make_pipeline(StandardScaler(), Classifier(tmp_path / "iris.dl", set={"units": 12}, seed=1))
    assert cross_val_score(pipeline, samples, names, cv=3).mean() > 0.9
    fitted = pipeline.fit(samples, names)[-1]
    assert fitted.constants_ == {"features": 4, "outputs": 3, "units": 12}
    assert fitted.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert fitted.n_iter_ == 30
    assert fitted.model_.weights["Iris.dense.weight"].shape == (4, 12)
    again = copy.deepcopy(fitted)
    assert np.array_equal(again.predict_proba(samples), fitted.predict_proba(samples))


def test_probabilities_and_two_classes() -> None:
    text = """\
model Net(x: f32[N, 2]) -> f32[N, 1] { dense(1) LAST }
train net(x: f32[N, 2], y: f32[N, 1]) {
    minimize bce(Net(x), y) with adam(0.1)
    epochs 30
}
"""
    x = np.random.default_rng(0).normal(size=(100, 2))
    y = np.where(x[:, 0] > 0, "yes", "no")
    for last in ("", "-> sigmoid"):
        found = Classifier(text.replace("LAST", last)).fit(x, y)
        assert found.score(x, y) > 0.9
        chances = found.predict_proba(x)
        assert chances.shape == (100, 2)
        assert np.allclose(chances.sum(1), 1)


def test_images_and_several_numbers() -> None:
    text = """\
model Net(x: f32[N, 3, 3]) -> f32[N, 2] { flatten -> dense(2) }
train net(x: f32[N, 3, 3], y: f32[N, 2]) { minimize mse(Net(x), y) with adam(0.05); epochs 60 }
"""
    x = np.random.default_rng(0).normal(size=(80, 3, 3))
    y = np.stack([x[:, 0, 0], x[:, 1, 1] * 2], 1)
    found = Regressor(text).fit(x, y)
    assert found.predict(x).shape == (80, 2)
    assert found.score(x, y) > 0.95


def test_a_train_block_of_other_inputs() -> None:
    text = """\
model Net(x: f32[N, 2]) -> f32[N, 2] { dense(2) }
train net(x: f32[N, 2]) { minimize mean(Net(x)) with sgd; epochs 1 }
"""
    with pytest.raises(
        DiagnosticError, match=r"an estimator has samples and targets, but the train block `net` takes x"
    ):
        Classifier(text).fit(np.zeros((4, 2)), [0, 1, 0, 1])
