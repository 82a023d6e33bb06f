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

STEPS = 12
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
    optimizer = make([weight, bias])
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
