"""Metrics against scikit-learn: whatever the batches are, the figure is that of the whole data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import Source
from compiler.ir.types import DType
from runtime.programs.engine import Engine
from runtime.training.evaluation import Totals

sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle here")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")

RNG = np.random.default_rng(5)
BATCHES = [1, 2, 7, 61]


def measure(text: str, batches: int, **inputs: Any) -> Any:
    """A metric of the inputs, added up over batches as the runtime does."""
    types = {name: ", ".join(["N", *map(str, array.shape[1:])]) for name, array in inputs.items()}
    signature = ", ".join(f"{name}: {DType.of(array.dtype)}[{types[name]}]" for name, array in inputs.items())
    source = f"""
        model W(w: f32[N, 1]) {{ dense(1) }}
        train net({signature}, w: f32[N, 1]) {{ minimize mean(W(w)) with sgd(0.1)
            measure value = {text} }}
    """
    program = compiler.compile_train(compiler.check(Source("test.dl", source)), "net")
    (found,) = program.measures
    engine = Engine(compiler.train_module(program), {"W.dense.weight": np.ones((1, 1), np.float32),
                                                     "W.dense.bias": np.zeros(1, np.float32)})  # fmt: skip
    totals = Totals()
    arrays = {**inputs, "w": np.zeros((len(next(iter(inputs.values()))), 1), np.float32)}
    parts = {name: np.array_split(array, batches) for name, array in arrays.items()}
    for index in range(batches):
        part = {name: pieces[index] for name, pieces in parts.items()}
        wanted = {item.name: part[item.name] for item in program.evaluate.inputs if item.name in part}
        totals.add(found.totals, engine.call("evaluate", wanted))
    measured = totals.finish(program.measures)
    return {**measured.figures, **measured.tables}["value"]


def scores(*shape: int) -> Any:
    return (RNG.standard_normal(shape) * 2).astype(np.float32)


X = scores(61, 7)
Y = np.where(RNG.random(61) < 0.4, X.argmax(1), RNG.integers(0, 5, 61))  # 5 and 6 never are in the target
TWO = scores(61)
SIDE = (TWO + scores(61) > 0.5).astype(np.float32)


def averaged(name: str, average: str) -> Callable[[Any, Any], Any]:
    return lambda y, p: getattr(sklearn, f"{name}_score")(y, p, average=average, zero_division=0)


OF_CLASSES: dict[str, Callable[[Any, Any], Any]] = {
    "accuracy(x, y)": lambda y, p: sklearn.accuracy_score(y, p),
    "balanced_accuracy(x, y)": lambda y, p: sklearn.recall_score(y, p, labels=np.unique(y), average="macro"),
    "iou(x, y)": averaged("jaccard", "macro"),
    **{
        f"{name}(x, y, average={average})": averaged(name, average)
        for name in ("precision", "recall", "f1")
        for average in ("macro", "micro")
    },
}
OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "accuracy(x, y)": sklearn.accuracy_score,
    "balanced_accuracy(x, y)": sklearn.balanced_accuracy_score,
    "precision(x, y)": sklearn.precision_score,
    "recall(x, y)": sklearn.recall_score,
    "f1(x, y)": sklearn.f1_score,
    "iou(x, y)": sklearn.jaccard_score,
}


@pytest.mark.parametrize("text", OF_CLASSES)
def test_classes(text: str) -> None:
    expected = OF_CLASSES[text](Y, X.argmax(1))
    for batches in BATCHES:
        assert measure(text, batches, x=X, y=Y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("text", OF_CLASSES)
def test_samples_that_do_not_count(text: str) -> None:
    y = Y.copy()
    y[::4] = -100
    mask = RNG.random(61) > 0.3
    counted = mask & (y != -100)
    expected = OF_CLASSES[text](y[counted], X[counted].argmax(1))
    for m in (mask, mask.astype(np.float32) / 2):
        found = measure(f"{text[:-1]}, ignore=-100, mask=m)", 3, x=X, y=y, m=m)
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("batches", BATCHES)
def test_confusion(batches: int) -> None:
    found = measure("confusion(x, y)", batches, x=X, y=Y)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, sklearn.confusion_matrix(Y, X.argmax(1), labels=range(7)))
    y, mask = np.where(np.arange(61) % 4 == 0, -1, Y), RNG.random(61) > 0.3
    counted = mask & (y >= 0)
    found = measure("confusion(x, y, ignore=-1, mask=m)", batches, x=X, y=y, m=mask)
    expected = sklearn.confusion_matrix(y[counted], X[counted].argmax(1), labels=range(7))
    np.testing.assert_array_equal(found, expected)
    two = measure("confusion(x, y)", batches, x=TWO, y=SIDE)
    np.testing.assert_array_equal(two, sklearn.confusion_matrix(SIDE, TWO > 0))


@pytest.mark.parametrize("text", OF_TWO)
def test_two_classes(text: str) -> None:
    expected = OF_TWO[text](SIDE > 0.5, TWO > 0)
    probability = 1 / (1 + np.exp(-TWO))
    for batches in BATCHES:
        assert measure(text, batches, x=TWO, y=SIDE) == pytest.approx(expected, rel=1e-12)
    column = {"x": TWO[:, None], "y": SIDE[:, None].astype(np.int64)}
    assert measure(text, 2, **column) == pytest.approx(expected, rel=1e-12)
    assert measure(f"{text[:-1]}, given=probabilities)", 2, x=probability, y=SIDE) == pytest.approx(expected)
    assert measure(text.replace("x,", "(x -> sigmoid),"), 2, x=TWO, y=SIDE) == pytest.approx(expected)


@pytest.mark.parametrize("text", OF_TWO)
def test_nothing_found_and_nothing_there(text: str) -> None:
    nothing = np.zeros(61, np.float32)
    none = measure(text, 3, x=nothing - 1, y=nothing)
    assert none == pytest.approx(1.0 if "accuracy" in text else 0.0)


@pytest.mark.parametrize("axis", [1, 2])
def test_maps(axis: int) -> None:
    x = np.moveaxis(scores(9, 3, 4, 5), 1, axis)
    y = RNG.integers(0, 3, tuple(np.delete(x.shape, axis)))
    flat, found = y.ravel(), x.argmax(axis).ravel()
    expected = sklearn.jaccard_score(flat, found, average="macro")
    assert measure(f"iou(x, y, axis={axis})", 4, x=x, y=y) == pytest.approx(expected, rel=1e-12)
    assert measure(f"accuracy(x, y, axis={axis})", 4, x=x, y=y) == pytest.approx(sklearn.accuracy_score(flat, found))


def test_one_hot_targets() -> None:
    hot = np.eye(7, dtype=np.float32)[Y]
    for text in ("accuracy(x, y)", "f1(x, y)"):
        assert measure(text, 2, x=X, y=hot) == measure(text, 2, x=X, y=Y)


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_top_k(k: int) -> None:
    expected = sklearn.top_k_accuracy_score(Y, X, k=k, labels=range(7))
    for batches in BATCHES:
        assert measure(f"top_k(x, y, {k})", batches, x=X, y=Y) == pytest.approx(expected, rel=1e-12)
    y = np.where(np.arange(61) % 4 == 0, -1, Y)
    counted = y >= 0
    expected = sklearn.top_k_accuracy_score(y[counted], X[counted], k=k, labels=range(7))
    assert measure(f"top_k(x, y, k={k}, ignore=-1)", 3, x=X, y=y) == pytest.approx(expected, rel=1e-12)


def test_the_first_of_equal_scores_is_the_larger() -> None:
    x, y = np.zeros((61, 7), np.float32), np.arange(61) % 7
    for k in (1, 3):
        assert measure(f"top_k(x, y, {k})", 2, x=x, y=y) == pytest.approx(np.mean(y < k))
    assert measure("accuracy(x, y)", 2, x=x, y=y) == pytest.approx(np.mean(y == 0))


@pytest.mark.parametrize("batches", BATCHES)
@pytest.mark.parametrize("spread", [0.01, 1.0, 20.0])
def test_auc(batches: int, spread: float) -> None:
    x = TWO * np.float32(spread)
    expected = sklearn.roc_auc_score(SIDE, x)
    assert measure("auc(x, y)", batches, x=x, y=SIDE) == pytest.approx(expected, abs=2e-3)
    both = np.stack([-x, x], 1) / 2 + 3
    assert measure("auc(x, y)", batches, x=both, y=SIDE.astype(np.int64)) == pytest.approx(expected, abs=2e-3)


def test_auc_of_many() -> None:
    x = scores(30_500)
    y = (x + scores(len(x)) > 1).astype(np.float32)
    assert measure("auc(x, y)", 5, x=x, y=y) == pytest.approx(sklearn.roc_auc_score(y, x), abs=2e-6)
    probability = 1 / (1 + np.exp(-x))
    found = measure("auc(x, y, given=probabilities)", 5, x=probability, y=y)
    assert found == pytest.approx(sklearn.roc_auc_score(y, x), abs=2e-6)


def test_auc_at_the_ends() -> None:
    y = (np.arange(61) % 2).astype(np.float32)
    endless = np.where(y > 0, np.inf, -np.inf).astype(np.float32)
    assert measure("auc(x, y)", 2, x=endless, y=y) == 1
    assert measure("auc(x, y)", 2, x=-endless, y=y) == 0
    assert measure("auc(x, y)", 2, x=np.zeros_like(y), y=y) == 0.5
    assert measure("auc(x, y)", 2, x=TWO, y=np.ones_like(y)) == 0.5
    sure = (endless > 0).astype(np.float32)
    assert measure("auc(x, y, given=probabilities)", 2, x=sure, y=y) == 1


@pytest.mark.parametrize("shape", [(61,), (61, 3), (61, 2, 3)])
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_r2(shape: Any, shift: float) -> None:
    y = (scores(*shape) + np.float32(shift)).astype(np.float32)
    x = (y + scores(*shape) / 3).astype(np.float32)
    columns = (y.reshape(-1, shape[-1]), x.reshape(-1, shape[-1])) if len(shape) > 1 else (y, x)
    expected = sklearn.r2_score(*(column.astype(np.float64) for column in columns))
    for batches in BATCHES:
        assert measure("r2(x, y)", batches, x=x, y=y) == pytest.approx(expected, rel=1e-9)


def test_r2_of_a_constant() -> None:
    assert measure("r2(x, y)", 3, x=TWO, y=np.full_like(TWO, 0.1)) == 0


@pytest.mark.parametrize("batches", BATCHES)
def test_perplexity(batches: int) -> None:
    logarithms = X - np.log(np.exp(X.astype(np.float64)).sum(1, keepdims=True))
    each = -logarithms[np.arange(61), Y]
    assert measure("perplexity(x, y)", batches, x=X, y=Y) == pytest.approx(np.exp(each.mean()), rel=1e-6)
    y, mask = np.where(np.arange(61) % 3 == 0, -1, Y), RNG.random(61) > 0.5
    expected = np.exp(each[mask & (y >= 0)].mean())
    assert measure("perplexity(x, y, ignore=-1, mask=m)", batches, x=X, y=y, m=mask) == pytest.approx(expected, 1e-6)


@pytest.mark.parametrize("batches", BATCHES)
def test_errors(batches: int) -> None:
    x, y, mask = X, scores(61, 7), RNG.random(61) > 0.5
    difference = (x.astype(np.float64) - y)[mask]
    assert measure("mae(x, y, mask=m)", batches, x=x, y=y, m=mask) == pytest.approx(np.abs(difference).mean(), 1e-6)
    squared = sklearn.root_mean_squared_error(x.ravel(), y.ravel())
    assert measure("rmse(x, y)", batches, x=x, y=y) == pytest.approx(squared, rel=1e-6)
    squared = sklearn.root_mean_squared_error(y.ravel(), np.full(y.size, 0.5))
    assert measure("rmse(y, 0.5)", batches, y=y) == pytest.approx(squared, rel=1e-6)
    assert measure("mae(y, 2)", batches, y=y) == pytest.approx(np.abs(y - 2).mean(), rel=1e-6)
