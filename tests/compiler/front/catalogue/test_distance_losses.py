"""Losses of regression, distributions and embeddings against PyTorch, values and gradients, over a grid of settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
F = torch.nn.functional
RNG = np.random.default_rng(3)
SHAPES = [(5,), (7, 4), (2, 3, 4)]


def compare(bench: Any, expression: str, inputs: dict[str, Any], oracle: Callable[..., Any]) -> None:
    """The loss and its gradients by every float but the mask m and the pairs' label s are those of PyTorch in f64."""
    given = {name: torch.tensor(array) for name, array in inputs.items()}
    floats = [name for name, value in given.items() if value.is_floating_point() and name not in "ms"]
    wanted = {
        name: value.double().requires_grad_(name in floats) if value.is_floating_point() else value
        for name, value in given.items()
    }
    expected = oracle(**wanted)
    expected.backward()
    value, gradients = bench.loss(expression, inputs)
    assert value == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-6)
    for name in floats:
        np.testing.assert_allclose(gradients[name], wanted[name].grad.numpy(), rtol=1e-5, atol=1e-5)


def numbers(*shape: int, scale: float = 3.0) -> Any:
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("delta", [0.1, 1.0, 4.0])
def test_huber(bench: Any, shape: Any, delta: float) -> None:
    compare(
        bench,
        f"huber(x, y, delta={delta})",
        {"x": numbers(*shape), "y": numbers(*shape)},
        lambda x, y: F.huber_loss(x, y, delta=delta),
    )


def test_huber_of_one_number_and_at_its_joint(bench: Any) -> None:
    compare(
        bench,
        "huber(x, 0.5)",
        {"x": np.array([-0.5, 0.5, 1.5, 1e9, -1e9], np.float32)},
        lambda x: F.huber_loss(x, torch.full_like(x, 0.5)),
    )


@pytest.mark.parametrize(
    ("loss", "oracle"), [("mse", F.mse_loss), ("mae", F.l1_loss), ("huber", F.huber_loss)], ids=["mse", "mae", "huber"]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_masked_elements_do_not_count(bench: Any, loss: str, oracle: Any, shape: Any) -> None:
    mask = RNG.random(shape) > 0.4
    mask.flat[0] = True
    compare(
        bench,
        f"{loss}(x, y, mask=m)",
        {"x": numbers(*shape), "y": numbers(*shape), "m": mask},
        lambda x, y, m: oracle(x[m], y[m]),
    )


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("given", ["logits", "logarithms", "probabilities"])
@pytest.mark.parametrize("zeros", [False, True])
def test_kl(bench: Any, axis: int, given: str, zeros: bool) -> None:
    x, y = numbers(3, 4, 5), torch.softmax(torch.tensor(numbers(3, 4, 5)), axis).numpy()
    if zeros:
        y = np.eye(5, dtype=np.float32)[RNG.integers(0, 5, (3, 4))] if axis == -1 else np.zeros_like(y)
        y[:, 0] += 0 if axis == -1 else 1
    spelled = f"(x -> softmax({axis}))" if given == "probabilities" else "x"

    def oracle(x: Any) -> Any:
        wanted = torch.tensor(y, dtype=torch.float64)
        return F.kl_div(torch.log_softmax(x, axis), wanted, reduction="sum") / (12 if axis == -1 else 15)

    if given == "logarithms":
        x = torch.log_softmax(torch.tensor(x, dtype=torch.float64), axis).float().numpy()
    value, gradients = bench.loss(f"kl({spelled}, y, axis={axis})", {"x": x, "y": y})
    wanted = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    expected = oracle(wanted)
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(gradients["x"], wanted.grad.numpy(), rtol=1e-5, atol=1e-5)
    assert np.isfinite(gradients["y"]).all()


def test_kl_of_equals_is_nothing(bench: Any) -> None:
    value, gradients = bench.loss("kl(x, (x -> softmax -> stop_gradient))", {"x": numbers(4, 6)})
    assert value == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(gradients["x"], 0, atol=1e-6)


@pytest.mark.parametrize("shape", [(7, 4), (2, 3, 4)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 8.0])
def test_gaussian_kl(bench: Any, shape: Any, scale: float) -> None:
    def oracle(x: Any, v: Any) -> Any:
        normal = torch.distributions.Normal(x, (v / 2).exp())
        standard = torch.distributions.Normal(torch.zeros_like(x), torch.ones_like(x))
        return torch.distributions.kl_divergence(normal, standard).reshape(len(x), -1).sum(1).mean()

    compare(bench, "gaussian_kl(x, v)", {"x": numbers(*shape, scale=scale), "v": numbers(*shape, scale=scale)}, oracle)


@pytest.mark.parametrize("margin", [0.0, 0.5, -0.5])
@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_cosine_embedding(bench: Any, margin: float, kind: Any) -> None:
    x, y = numbers(9, 6), numbers(9, 6)
    sides = np.sign(RNG.standard_normal(9)).astype(kind)
    pairs = {"x": x, "y": y, "s": sides}
    compare(
        bench,
        f"cosine_embedding(x, y, s, margin={margin})",
        pairs,
        lambda x, y, s: F.cosine_embedding_loss(x, y, s, margin=margin),
    )
    for side in (1, -1):
        compare(
            bench,
            f"cosine_embedding(x, y, {side}, margin={margin})",
            {"x": x, "y": y},
            lambda x, y, side=side: F.cosine_embedding_loss(x, y, torch.full((9,), side), margin=margin),
        )


@pytest.mark.parametrize("margin", [0.5, 2.0, 9.0])
@pytest.mark.parametrize("kind", [np.float32, np.bool_])
def test_contrastive(bench: Any, margin: float, kind: Any) -> None:
    def oracle(x: Any, y: Any, s: Any) -> Any:
        distance = (x - y).norm(dim=-1)
        return torch.where(s > 0, distance**2, torch.relu(margin - distance) ** 2).mean() / 2

    pairs = {"x": numbers(3, 5, 4), "y": numbers(3, 5, 4), "s": (RNG.random((3, 5)) > 0.5).astype(kind)}
    compare(bench, f"contrastive(x, y, s, margin={margin})", pairs, oracle)
    pairs.pop("s")
    far = torch.zeros(3, 5)
    compare(bench, f"contrastive(x, y, 0, margin={margin})", pairs, lambda x, y: oracle(x, y, far))


@pytest.mark.parametrize("margin", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("shape", [(9, 6), (3, 2, 4)])
def test_triplet(bench: Any, margin: float, shape: Any) -> None:
    compare(
        bench,
        f"triplet(x, y, z, margin={margin})",
        {name: numbers(*shape) for name in "xyz"},
        lambda x, y, z: F.triplet_margin_loss(x, y, z, margin=margin, eps=0.0),
    )


@pytest.mark.parametrize("loss", ["triplet(x, x, y)", "contrastive(x, y, 0)", "cosine_embedding(x, z)"])
def test_coinciding_vectors_have_finite_gradients(bench: Any, loss: str) -> None:
    x = numbers(4, 3)
    value, gradients = bench.loss(loss, {"x": x, "y": x, "z": np.zeros_like(x)})
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
