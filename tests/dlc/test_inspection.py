"""dlc gradcheck, overfit and inspect as a person sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler.ops.activation import Relu


def test_gradcheck(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("gradcheck", net, "--entries", 3)
    assert (outcome.code, outcome.err) == (0, "")
    title, _, _, _, *rows, _, verdict = outcome.out.splitlines()
    assert title == "net: gradients and central differences in f64, over 4 samples of net.npz"
    assert [row.split()[-1] for row in rows] == ["right"] * 4
    assert verdict.startswith("all gradients are right: 11 numbers checked, the largest difference is in Net.")


def test_a_wrong_gradient(dlc: Callable[..., Any], net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Relu.gradient
    monkeypatch.setattr(Relu, "gradient", lambda *given: tuple(given[1].mul(g, 2.0) for g in right(*given)))
    outcome = dlc("gradcheck", net)
    assert outcome.code == 1
    assert "2 of 4 weights have wrong gradients" in outcome.out


def test_overfit(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("overfit", net)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[0] == "net: 300 steps on 16 samples of net.npz"
    assert outcome.out.splitlines()[-1] == "yes: it can learn a batch"
    outcome = dlc("overfit", net, "--steps", 1)
    assert outcome.code == 1
    assert "no: it has not learned the batch" in outcome.out
    assert not Path("runs").exists()


def test_inspect(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("inspect", net, "--samples", 20)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("net: 20 samples of net.npz, with fresh weights\n\nloss 0.")
    assert any(line.split()[:4] == ["Net.head.dense", "dense(2)", "f32[N,", "2]"] for line in outcome.out.splitlines())
    dlc("train", net, "--no-export", "--no-report")
    assert "with runs/net/weights.safetensors" in dlc("inspect", net, "--weights", "runs/net").out
