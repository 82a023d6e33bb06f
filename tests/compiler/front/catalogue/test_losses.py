"""Losses in a whole training step against PyTorch, values and gradients, also where a careless form overflows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import Source
from compiler.ops.interpret import interpret_outputs

RNG = np.random.default_rng(1)
LOGITS = (RNG.standard_normal((7, 4)) * 3).astype(np.float32)
EXTREME = np.array([[1000, -1000, 0, 3], [-1000, -1000, 1000, 0]], np.float32)
LABELS = RNG.integers(0, 4, 7)
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
BINARY = (RNG.random((7, 4)) > 0.5).astype(np.float32)


def loss_and_gradient(loss: str, target_type: str, x: Any, target: Any, after: str = "") -> tuple[float, Any]:
    """The loss and its gradient by the kernel of a layer that begins as the identity; ``after`` follows that layer."""
    columns = x.shape[1]
    text = f"""
        model Net(x: f32[N, {columns}]) -> f32[N, {columns}] {{ dense({columns}, bias=false) {after} }}
        train net(x: f32[N, {columns}], y: {target_type}) {{ minimize {loss} with sgd(1.0) }}
    """
    program = compiler.compile_train(compiler.check(Source("test.dl", text)), "net")
    (step,) = program.steps
    inputs = {
        "x": x, "y": target, "Net.dense.weight": np.eye(columns, dtype=np.float32), "step": np.array(0),
        "seed": np.array(0),
    }  # fmt: skip
    outputs = interpret_outputs(step, {item.name: inputs[item.name] for item in step.inputs})
    # With a learning rate of 1 the update is the gradient: x.T @ d(loss)/d(logits).
    return float(outputs["loss"]), np.eye(columns, dtype=np.float32) - outputs["Net.dense.weight"]


def torch_loss(function: Callable[[Any, Any], Any], x: Any, target: Any) -> tuple[float, Any]:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    weight = torch.eye(x.shape[1], requires_grad=True)
    loss = function(torch.tensor(x) @ weight, torch.tensor(target))
    loss.backward()
    return float(loss.detach()), weight.grad.numpy()


def torch_functional() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is the oracle here").nn.functional


CASES: list[tuple[str, str, Any, Callable[[], Callable[[Any, Any], Any]], str]] = [
    ("cross_entropy(Net(x), y)", "i64[N]", LABELS, lambda: torch_functional().cross_entropy, ""),
    ("cross_entropy(Net(x), y)", "f32[N, 4]", ONE_HOT, lambda: torch_functional().cross_entropy, ""),
    (
        "cross_entropy(Net(x), y, smoothing=0.1)", "i64[N]", LABELS,
        lambda: lambda x, y: torch_functional().cross_entropy(x, y, label_smoothing=0.1), "",
    ),
    ("cross_entropy(Net(x), y)", "i64[N]", LABELS, lambda: torch_functional().cross_entropy, "-> softmax"),
    (
        "cross_entropy(Net(x), y, given=probabilities)", "i64[N]", LABELS,
        lambda: torch_functional().cross_entropy, "-> softmax -> reshape(2, 2) -> flatten",
    ),
    (
        "bce(Net(x), y)", "f32[N, 4]", BINARY,
        lambda: torch_functional().binary_cross_entropy_with_logits, "",
    ),
    (
        "bce(Net(x), y)", "f32[N, 4]", BINARY,
        lambda: torch_functional().binary_cross_entropy_with_logits, "-> sigmoid",
    ),
    ("mse(Net(x), y)", "f32[N, 4]", BINARY, lambda: torch_functional().mse_loss, ""),
    ("mae(Net(x), y)", "f32[N, 4]", BINARY, lambda: torch_functional().l1_loss, ""),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "type", "target", "oracle", "after"), CASES)
def test_loss_agrees_with_torch(loss: str, type: str, target: Any, oracle: Any, after: str) -> None:
    value, gradient = loss_and_gradient(loss, type, LOGITS, target, after)
    expected, expected_gradient = torch_loss(oracle(), LOGITS, target)
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("after", ["", "-> softmax"])
def test_cross_entropy_is_stable_however_it_is_spelled(after: str) -> None:
    labels = np.array([1, 2])
    value, gradient = loss_and_gradient("cross_entropy(Net(x), y)", "i64[N]", EXTREME, labels, after)
    assert value == pytest.approx(1000.0)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 100


@pytest.mark.parametrize("after", ["", "-> sigmoid"])
def test_bce_is_stable_however_it_is_spelled(after: str) -> None:
    target = (EXTREME < 0).astype(np.float32)
    value, gradient = loss_and_gradient("bce(Net(x), y)", "f32[N, 4]", EXTREME, target, after)
    exact = np.mean(
        [max(z, 0) - z * t + np.log1p(np.exp(-abs(z))) for z, t in zip(EXTREME.ravel(), target.ravel(), strict=True)]
    )
    assert value == pytest.approx(exact)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 100
