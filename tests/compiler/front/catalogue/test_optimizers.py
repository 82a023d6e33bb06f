"""Optimizers step by step against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import Source
from compiler.ir.graph import Role
from compiler.ops.interpret import interpret_outputs

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")

STEPS = 20
RNG = np.random.default_rng(0)
X = RNG.standard_normal((STEPS, 8, 3)).astype(np.float32)
Y = RNG.standard_normal((STEPS, 8, 2)).astype(np.float32)
WEIGHT = RNG.standard_normal((3, 2)).astype(np.float32)
BIAS = np.zeros(2, np.float32)

CASES: list[tuple[str, Callable[[Any], Any]]] = [
    ("sgd(0.1)", lambda p: torch.optim.SGD(p, 0.1)),
    ("sgd(0.1, momentum=0.9)", lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    ("sgd(0.1, momentum=0.9, nesterov=true)", lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True)),
    ("sgd(0.1, weight_decay=0.05)", lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.05)),
    ("adam(0.05)", lambda p: torch.optim.Adam(p, 0.05)),
    ("adam(0.05, beta1=0.5, beta2=0.9, eps=1e-6)", lambda p: torch.optim.Adam(p, 0.05, (0.5, 0.9), 1e-6)),
    ("adam(0.05, weight_decay=0.1)", lambda p: torch.optim.Adam(p, 0.05, weight_decay=0.1)),
    ("adamw(0.05)", lambda p: torch.optim.AdamW(p, 0.05)),
    ("adamw(0.05, weight_decay=0.2)", lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.2)),
    ("nadam", lambda p: torch.optim.NAdam(p)),
    ("nadam(0.05, weight_decay=0.1)", lambda p: torch.optim.NAdam(p, 0.05, weight_decay=0.1)),
    ("rmsprop", lambda p: torch.optim.RMSprop(p)),
    ("rmsprop(0.02, weight_decay=0.1, decay=0.9)", lambda p: torch.optim.RMSprop(p, 0.02, 0.9, weight_decay=0.1)),
    (
        "rmsprop(0.01, momentum=0.8, centered=true)",
        lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.8, centered=True),
    ),
    ("adagrad", lambda p: torch.optim.Adagrad(p)),
    (
        "adagrad(0.1, lr_decay=0.2, start=0.5, weight_decay=0.1)",
        lambda p: torch.optim.Adagrad(p, 0.1, 0.2, 0.1, initial_accumulator_value=0.5),
    ),
    ("adadelta", lambda p: torch.optim.Adadelta(p)),
    ("adadelta(0.5, decay=0.95, weight_decay=0.1)", lambda p: torch.optim.Adadelta(p, 0.5, 0.95, weight_decay=0.1)),
]


def trajectory(optimizer: str, clip: str = "") -> list[np.ndarray]:  # type: ignore[type-arg]
    """The kernel after each step of the program, run by the reference interpreter."""
    text = f"""
        model Net(x: f32[N, 3]) -> f32[N, 2] {{ dense(2) }}
        train net(x: f32[N, 3], y: f32[N, 2]) {{
            minimize mse(Net(x), y) with {optimizer}
            {clip}
        }}
    """
    program = compiler.compile_train(compiler.check(Source("test.dl", text)), "net")
    (step,) = program.steps
    kept = interpret_outputs(program.initial, {"seed": np.array(0)})
    kept |= {"Net.dense.weight": WEIGHT, "Net.dense.bias": BIAS}
    found = []
    for x, y in zip(X, Y, strict=True):
        inputs = {v.name: kept[v.name] for role in (Role.WEIGHT, Role.STATE) for v in step.inputs_of(role)}
        outputs = interpret_outputs(step, {**inputs, "x": x, "y": y})
        kept |= {output.updates: outputs[output.name] for output in step.outputs if output.updates}
        found.append(kept["Net.dense.weight"])
    assert int(kept["step"]) == STEPS
    return found


def torch_trajectory(make: Callable[[Any], Any], clip: float | None = None) -> list[np.ndarray]:  # type: ignore[type-arg]
    weight = torch.tensor(WEIGHT.copy(), requires_grad=True)
    bias = torch.tensor(BIAS.copy(), requires_grad=True)
    # Weight decay is for kernels, as is the custom.
    optimizer = make([{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}])
    found = []
    for x, y in zip(X, Y, strict=True):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(torch.tensor(x) @ weight + bias, torch.tensor(y)).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([weight, bias], clip)
        optimizer.step()
        found.append(weight.detach().numpy().copy())
    return found


@pytest.mark.parametrize(("text", "make"), CASES, ids=[text for text, _ in CASES])
def test_every_step_agrees(text: str, make: Callable[[Any], Any]) -> None:
    np.testing.assert_allclose(trajectory(text), torch_trajectory(make), rtol=2e-5, atol=2e-6)


def test_clipping_agrees() -> None:
    expected = torch_trajectory(lambda p: torch.optim.SGD(p, 0.1), clip=0.3)
    np.testing.assert_allclose(trajectory("sgd(0.1)", "clip 0.3"), expected, rtol=2e-5, atol=2e-6)
    assert not np.allclose(trajectory("sgd(0.1)"), expected, rtol=1e-3)


def paper_trajectory(update: Callable[..., Any]) -> list[np.ndarray]:  # type: ignore[type-arg]
    """The kernel after each step of ``update(weight, gradient, state, decay, time)``, which gives the next weight."""
    weight, bias = WEIGHT.astype(np.float64), BIAS.astype(np.float64)
    states: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    found = []
    for time, (x, y) in enumerate(zip(X, Y, strict=True), 1):
        error = 2 * (x @ weight + bias - y) / y.size
        weight, bias = (
            update(weight, x.T @ error, states[0], 0.1, time),
            update(bias, error.sum(0), states[1], 0.0, time),
        )
        found.append(weight)
    return found


def test_lion_is_that_of_the_paper() -> None:
    def update(weight: Any, gradient: Any, state: dict[str, Any], decay: float, time: int) -> Any:
        m = state.get("m", 0.0)
        step = np.sign(0.9 * m + 0.1 * gradient)
        state["m"] = 0.99 * m + 0.01 * gradient
        return weight - 0.05 * (step + decay * weight)

    found = trajectory("lion(0.05, weight_decay=0.1)")
    np.testing.assert_allclose(found, paper_trajectory(update), rtol=2e-5, atol=2e-6)


def test_lamb_is_that_of_the_paper() -> None:
    def update(weight: Any, gradient: Any, state: dict[str, Any], decay: float, time: int) -> Any:
        state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * gradient
        state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * gradient**2
        ratio = state["m"] / (1 - 0.9**time) / (np.sqrt(state["v"] / (1 - 0.999**time)) + 1e-6) + decay * weight
        norms = np.linalg.norm(weight), np.linalg.norm(ratio)
        trust = norms[0] / norms[1] if min(norms) > 0 else 1.0
        return weight - 0.05 * trust * ratio

    found = trajectory("lamb(0.05, weight_decay=0.1)")
    np.testing.assert_allclose(found, paper_trajectory(update), rtol=2e-5, atol=2e-6)


def test_gradients_are_clipped_by_value_before_they_are_by_norm() -> None:
    def update(weight: Any, gradient: Any, state: dict[str, Any], decay: float, time: int) -> Any:
        return weight - 0.1 * np.clip(gradient, -0.05, 0.05)

    expected = paper_trajectory(update)
    np.testing.assert_allclose(trajectory("sgd(0.1)", "clip_value 0.05"), expected, rtol=2e-5, atol=2e-6)
    with_norm = trajectory("sgd(0.1)", "clip_value 0.05\n            clip 100.0")
    np.testing.assert_allclose(with_norm, expected, rtol=2e-5, atol=2e-6)
