"""Losses of classification against PyTorch, values and gradients, over a grid of settings and at extreme scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
F = torch.nn.functional
RNG = np.random.default_rng(0)
WEIGHTS = [0.5, 2.0, 0.0, 1.25]


def compare(bench: Any, expression: str, inputs: dict[str, Any], oracle: Callable[..., Any], *by: str) -> None:
    """The loss and its gradients by the inputs named (by x where none is) are those of PyTorch in f64."""
    given = {name: torch.tensor(array) for name, array in inputs.items()}
    wanted = {
        name: value.double().requires_grad_(name in (by or "x")) if value.is_floating_point() else value
        for name, value in given.items()
    }
    expected = oracle(**wanted)
    expected.backward()
    value, gradients = bench.loss(expression, inputs)
    assert value == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-6)
    for name in by or ("x",):
        np.testing.assert_allclose(gradients[name], wanted[name].grad.numpy(), rtol=1e-5, atol=1e-5)


def scores(*shape: int, scale: float = 3.0) -> Any:
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def labels(*shape: int, ignored: int | None = None) -> Any:
    drawn = RNG.integers(0, 4, shape)
    if ignored is not None:
        drawn.flat[::3] = ignored
    return drawn


def channels_last(x: Any, axis: int) -> Any:
    return x.movedim(axis, -1)


@pytest.mark.parametrize(("shape", "axis"), [((7, 4), -1), ((3, 5, 4), 2), ((3, 4, 5), 1), ((2, 4, 3, 2), 1)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("ignore", [None, -100, 2])
@pytest.mark.parametrize("spelled", ["x", "(x -> softmax({axis}))"])
def test_cross_entropy_of_labels(
    bench: Any, shape: Any, axis: int, smoothing: float, weights: Any, ignore: Any, spelled: str
) -> None:
    x = scores(*shape)
    y = labels(*np.delete(shape, axis), ignored=ignore)
    settings = f"smoothing={smoothing}, axis={axis}"
    settings += "" if weights is None else f", weights={weights}"
    settings += "" if ignore is None else f", ignore={ignore}"
    factors = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    index = -1000 if ignore is None else ignore
    compare(
        bench,
        f"cross_entropy({spelled.format(axis=axis)}, y, {settings})",
        {"x": x, "y": y},
        lambda x, y: F.cross_entropy(
            channels_last(x, axis).reshape(-1, 4), y.reshape(-1), factors, ignore_index=index, label_smoothing=smoothing
        ),
    )


@pytest.mark.parametrize(("shape", "axis"), [((7, 4), -1), ((3, 4, 5), 1)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_of_probabilities(bench: Any, shape: Any, axis: int, smoothing: float, weights: Any) -> None:
    x = scores(*shape)
    y = torch.softmax(torch.tensor(scores(*shape)), axis).numpy()
    settings = f"smoothing={smoothing}, axis={axis}" + ("" if weights is None else f", weights={weights}")
    factors = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    compare(
        bench,
        f"cross_entropy(x, y, {settings})",
        {"x": x, "y": y},
        lambda x, y: F.cross_entropy(
            channels_last(x, axis).reshape(-1, 4), channels_last(y, axis).reshape(-1, 4), factors,
            label_smoothing=smoothing,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("mask", [RNG.random((3, 5)) > 0.5, scores(3, 5) ** 2, np.array([True, False, True])])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_masks_weigh_samples(bench: Any, mask: Any, weights: Any) -> None:
    settings = "" if weights is None else f", weights={weights}"

    def oracle(x: Any, y: Any, m: Any) -> Any:
        factors = torch.ones(4, dtype=torch.float64) if weights is None else torch.tensor(weights, dtype=torch.float64)
        each = F.cross_entropy(x.reshape(-1, 4), y.reshape(-1), factors, reduction="none").reshape(3, 5)
        counted = m.double() if m.ndim == 2 else m.double()[:, None].expand(3, 5)
        return (each * counted).sum() / (factors[y] * counted).sum()

    compare(
        bench, f"cross_entropy(x, y, mask=m{settings})", {"x": scores(3, 5, 4), "y": labels(3, 5), "m": mask}, oracle
    )


@pytest.mark.parametrize("settings", ["ignore=1", "mask=m"])
def test_nothing_that_counts_gives_nothing_to_learn(bench: Any, settings: str) -> None:
    inputs = {"x": scores(3, 4), "y": np.ones(3, np.int64), "m": np.zeros(3, np.float32)}
    value, gradients = bench.loss(f"cross_entropy(x, y, {settings})", inputs)
    assert value == 0
    assert not gradients["x"].any()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize(("shape", "axis"), [((7, 4), -1), ((3, 4, 5), 1)])
def test_nll(bench: Any, weights: Any, shape: Any, axis: int) -> None:
    settings = f"axis={axis}, ignore=3" + ("" if weights is None else f", weights={weights}")
    factors = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    compare(
        bench,
        f"nll(x, y, {settings})",
        {"x": scores(*shape), "y": labels(*np.delete(shape, axis))},
        lambda x, y: F.nll_loss(x, y, factors, ignore_index=3),
    )


@pytest.mark.parametrize("weight", [1.0, 0.25, 5.0])
@pytest.mark.parametrize("spelled", ["x", "(x -> sigmoid)"])
@pytest.mark.parametrize("shape", [(7, 4), (3,), (2, 3, 4)])
def test_bce(bench: Any, weight: float, spelled: str, shape: Any) -> None:
    y = RNG.random(shape).astype(np.float32)
    factor = torch.tensor(weight, dtype=torch.float64)
    compare(
        bench,
        f"bce({spelled}, y, positive_weight={weight})",
        {"x": scores(*shape), "y": y},
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, pos_weight=factor),
    )


@pytest.mark.parametrize("positive", [1.0, 5.0])
@pytest.mark.parametrize("spelled", ["x", "(x -> sigmoid)"])
@pytest.mark.parametrize("shape", [(7, 4), (2, 3, 4)])
def test_bce_with_weights_of_labels(bench: Any, positive: float, spelled: str, shape: Any) -> None:
    factors, factor = torch.tensor(WEIGHTS, dtype=torch.float64), torch.tensor(positive, dtype=torch.float64)
    compare(
        bench,
        f"bce({spelled}, y, weights={WEIGHTS}, positive_weight={positive})",
        {"x": scores(*shape), "y": (RNG.random(shape) > 0.5).astype(np.float32)},
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, factors, pos_weight=factor),
    )


@pytest.mark.parametrize("weight", [1.0, 5.0])
@pytest.mark.parametrize("spelled", ["x", "(x -> sigmoid)"])
def test_bce_with_a_mask(bench: Any, weight: float, spelled: str) -> None:
    inputs = {"x": scores(6, 5), "y": (RNG.random((6, 5)) > 0.5).astype(np.float32), "m": RNG.random((6, 5)) > 0.5}
    factor = torch.tensor(weight, dtype=torch.float64)
    compare(
        bench,
        f"bce({spelled}, y, positive_weight={weight}, mask=m)",
        inputs,
        lambda x, y, m: F.binary_cross_entropy_with_logits(x[m], y[m], pos_weight=factor),
    )


def focal_of_torch(x: Any, y: Any, gamma: float, alpha: float) -> Any:
    """The definition of torchvision's ``sigmoid_focal_loss``."""
    p = torch.sigmoid(x)
    right = p * y + (1 - p) * (1 - y)
    each = F.binary_cross_entropy_with_logits(x, y, reduction="none") * (1 - right) ** gamma
    return ((alpha * y + (1 - alpha) * (1 - y)) * each).mean()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("spelled", ["x", "(x -> sigmoid)"])
def test_focal_of_two_classes(bench: Any, gamma: float, alpha: float, spelled: str) -> None:
    compare(
        bench,
        f"focal({spelled}, y, gamma={gamma}, alpha={alpha})",
        {"x": scores(7, 4), "y": (RNG.random((7, 4)) > 0.5).astype(np.float32)},
        lambda x, y: focal_of_torch(x, y, gamma, alpha),
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("spelled", ["x", "(x -> softmax)"])
def test_focal_of_classes(bench: Any, gamma: float, weights: Any, spelled: str) -> None:
    def oracle(x: Any, y: Any) -> Any:
        right = torch.log_softmax(x, -1).gather(-1, y[..., None])[..., 0]
        factors = 1.0 if weights is None else torch.tensor(weights, dtype=torch.float64)[y]
        return -(factors * (1 - right.exp()) ** gamma * right).mean()

    settings = f"gamma={gamma}" + ("" if weights is None else f", weights={weights}")
    compare(bench, f"focal({spelled}, y, {settings})", {"x": scores(3, 5, 4), "y": labels(3, 5)}, oracle)


@pytest.mark.parametrize("margin", [0.5, 1.0, 3.0])
def test_hinge(bench: Any, margin: float) -> None:
    x, sides = scores(7, 4), np.sign(scores(7, 4))
    side = {"x": x, "y": sides}
    compare(bench, f"hinge(x, y, margin={margin})", side, lambda x, y: torch.relu(margin - x * y).mean())
    compare(bench, f"hinge(x, -1, margin={margin})", {"x": x}, lambda x: torch.relu(margin + x).mean())
    compare(
        bench,
        f"hinge(x, y, margin={margin})",
        {"x": x, "y": labels(7)},
        lambda x, y: F.multi_margin_loss(x, y, margin=margin),
    )


EXTREME = np.array([[1000, -1000, 0, 3], [-1000, -1000, 1000, 0], [200, 90, -90, 88]], np.float32)
STABLE = [
    "cross_entropy({x}, y, weights=[1, 2, 3, 4], smoothing=0.1, ignore=7)",
    "focal({x}, y)",
    "focal({x}, y, gamma=0.5)",
    "hinge(x, y)",
    "kl({x}, t)",
]


@pytest.mark.parametrize("loss", STABLE)
@pytest.mark.parametrize("after", ["x", "(x -> softmax)"])
def test_extreme_scores_of_classes(bench: Any, loss: str, after: str) -> None:
    for right in range(4):
        inputs = {"x": EXTREME, "y": np.full(3, right), "t": np.eye(4, dtype=np.float32)[np.full(3, right)]}
        value, gradients = bench.loss(loss.format(x=after), inputs)
        assert np.isfinite(value)
        assert np.isfinite(gradients["x"]).all()
        if right == 1:  # the worst of two samples
            assert value > 100
            assert np.abs(gradients["x"]).max() > 0.1


@pytest.mark.parametrize("settings", ["bce(S, t, positive_weight=3)", "focal(S, t)", "focal(S, t, gamma=0.5)"])
@pytest.mark.parametrize("after", ["x", "(x -> sigmoid)"])
@pytest.mark.parametrize("right", [0, 1])
def test_extreme_scores_of_two_classes(bench: Any, settings: str, after: str, right: int) -> None:
    inputs = {"x": EXTREME, "t": np.full_like(EXTREME, right)}
    value, gradients = bench.loss(settings.replace("S", after), inputs)
    assert value > 10
    assert np.isfinite(gradients["x"]).all()
    assert np.abs(gradients["x"]).max() > 0.01
