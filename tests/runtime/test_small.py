"""How many calls of NumPy a step of a small network takes: they are all that its time consists of."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import compiler
from runtime.programs.engine import Engine
from runtime.programs.project import project_of_text
from runtime.training.loop import initial_state

XOR = """
model Xor(x: f32[N, 2]) -> f32[N, 1] { dense(4) -> relu; dense(1) -> sigmoid }
train xor(x: f32[N, 2], y: f32[N, 1]) { minimize bce(x -> Xor, y) with OPTIMIZER; batch 4 }
"""
DATA = {"x": np.eye(4, 2, dtype=np.float32), "y": np.ones((4, 1), np.float32)}


class Counted:
    """A ufunc, of which Python's profiler sees no call, as a function, of which it does."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc = ufunc
        self.reduce = ufunc.reduce

    def __call__(self, *operands: Any, **named: Any) -> Any:
        return self._ufunc(*operands, **named)


def calls_of_a_step(optimizer: str, work) -> int:
    program = project_of_text(XOR.replace("OPTIMIZER", optimizer), Path()).train()
    text = compiler.train_module(program)
    state = initial_state(program, lambda kept: Engine(text, kept))
    module: dict[str, Any] = {}
    exec(text, module)
    named = {name: getattr(np, name) for name in re.findall(r"np\.(\w+)", text)}
    ufuncs = {name: Counted(each) for name, each in named.items() if isinstance(each, np.ufunc)}
    step = module["bind_step0"](state, 4)
    step(**DATA)
    module["np"] = SimpleNamespace(**{**named, **ufuncs})
    return work(lambda: step(**DATA))


@pytest.mark.parametrize(
    ("optimizer", "most"),
    # With the functions of the module that make them. Weight decay treats kernels and biases differently: two updates.
    [("sgd(0.1)", 36), ("sgd(0.1, momentum=0.9)", 38), ("adam(lr=1e-2)", 47), ("adamw(lr=1e-2)", 61)],
)
def test_a_step_takes_few_calls(optimizer: str, most: int, work) -> None:
    assert calls_of_a_step(optimizer, work) <= most
