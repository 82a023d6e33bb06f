"""Recurrent layers against PyTorch: results, last states and every gradient over a grid of settings; and exported."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from runtime.engine import Engine
from runtime.session import Session

RNG = np.random.default_rng(0)
FEATURES, UNITS = 3, 5
KINDS = {"rnn": "rnn", "relu": "rnn", "lstm": "lstm", "gru": "gru"}
LENGTHS = np.array([7, 1, 4, 6])


def numbers(*shape: int) -> Any:
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def torch_module(kind: str, layers: int, bidirectional: bool, bias: bool, features: int = FEATURES) -> Any:
    """PyTorch's layer in f64, so that every difference is one of ours."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    cls = {"rnn": torch.nn.RNN, "relu": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind]
    more = {"nonlinearity": "relu"} if kind == "relu" else {}
    module = cls(features, UNITS, layers, bias=bias, batch_first=True, bidirectional=bidirectional, **more)
    return module.double()


def weights_of(module: Any, kind: str) -> dict[str, Any]:
    """The module's weights as f32, which it gets back, by the names they have in a model ``Net``."""
    torch = pytest.importorskip("torch")
    found = {}
    for name, parameter in module.named_parameters():
        found[f"{KINDS[kind]}.{name}"] = parameter.detach().numpy().astype(np.float32)
        with torch.no_grad():
            parameter.copy_(torch.tensor(found[f"{KINDS[kind]}.{name}"]))
    return found


def run_torch(module: Any, x: Any, states: tuple[Any, ...], lengths: Any) -> tuple[Any, tuple[Any, ...]]:
    """y [N, T, D·H] and the last states [L·D, N, H]."""
    torch = pytest.importorskip("torch")
    rnn = torch.nn.utils.rnn
    first = None if not states else states if isinstance(module, torch.nn.LSTM) else states[0]
    if lengths is not None:
        packed = rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        y, last = module(packed, first)
        y, _ = rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
    else:
        y, last = module(x, first)
    return y, last if isinstance(last, tuple) else (last,)


def call(kind: str, layers: int, bidirectional: bool, bias: bool, **others: str) -> str:
    """The layer as it is written."""
    settings = [str(UNITS), str(layers), *(["bidirectional=true"] if bidirectional else []), *([] if bias else ["bias=false"])]
    settings += ["activation=relu"] if kind == "relu" else []
    return f"{KINDS[kind]}({', '.join([*settings, *(f'{name}={value}' for name, value in others.items())])})"


GRID = list(product(KINDS, (1, 2), (False, True), (False, True), (False, True), (True,)))
GRID += [(kind, 1, False, False, False, False) for kind in KINDS]
NAMES = ["kind", "layers", "bidirectional", "with_state", "with_lengths", "bias"]


@pytest.mark.parametrize(NAMES, GRID)
def test_training_agrees_with_torch(
    bench: Any, agrees: Any, kind: str, layers: int, bidirectional: bool, with_state: bool, with_lengths: bool, bias: bool
) -> None:
    """The whole sequence and the last states, beside one another as the result."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    module = torch_module(kind, layers, bidirectional, bias)
    weights, places = weights_of(module, kind), layers * (1 + bidirectional)
    count = 2 if kind == "lstm" else 1
    inputs, others = {"x": numbers(4, 7, FEATURES)}, {}
    names = ["h", "c"][:count] if with_state else []
    for name in names:
        inputs[name] = numbers(4, places, UNITS) if places > 1 else numbers(4, UNITS)
    if names:
        others["state"] = "(h, c)" if kind == "lstm" else "h"
    if with_lengths:
        inputs["lengths"], others["lengths"] = LENGTHS, "lengths"
    parts = [f"{name} -> flatten" for name in (["h_n", "c_n"] if count == 2 else ["last"])]
    body = f"y, last = x -> {call(kind, layers, bidirectional, bias, sequence='true', give_state='true', **others)}"
    body += "\nh_n, c_n = last" if count == 2 else ""
    body += f"\nconcat(y -> flatten, {', '.join(parts)}, axis=1)"
    received = numbers(4, UNITS * (7 * (1 + bidirectional) + count * places))
    step = bench.step(body, inputs, received, weights)

    tensors = {name: torch.tensor(inputs[name], dtype=torch.float64, requires_grad=True) for name in ["x", *names]}
    first = tuple(tensors[name].reshape(4, places, UNITS).transpose(0, 1).contiguous() for name in names)
    y, last = run_torch(module, tensors["x"], first, inputs.get("lengths"))
    result = torch.cat([y.flatten(1), *(state.transpose(0, 1).flatten(1) for state in last)], 1)
    (result * torch.tensor(received)).sum().backward()
    agrees(step.result, result)
    for name, tensor in tensors.items():
        agrees(step.gradients[name], tensor.grad)
    for name, parameter in module.named_parameters():
        agrees(step.gradients[f"{KINDS[kind]}.{name}"], parameter.grad)


LAST = [(*case, bidirectional) for case in product(KINDS, (False, True)) for bidirectional in (False, True)]


@pytest.mark.parametrize(("kind", "with_lengths", "bidirectional"), LAST)
def test_the_last_step_is_each_direction_s_own(
    bench: Any, agrees: Any, kind: str, with_lengths: bool, bidirectional: bool
) -> None:
    """Without ``sequence``, where no gradient comes through the steps before, and with a symbol for the steps."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    module = torch_module(kind, 2, bidirectional, bias=True)
    weights = weights_of(module, kind)
    inputs = {"x": numbers(4, 7, FEATURES)} | ({"lengths": LENGTHS} if with_lengths else {})
    received = numbers(4, UNITS * (1 + bidirectional))
    body = call(kind, 2, bidirectional, True, **({"lengths": "lengths"} if with_lengths else {}))
    step = bench.step(body, inputs, received, weights, {"x": f"f32[N, T, {FEATURES}]"})
    x = torch.tensor(inputs["x"], dtype=torch.float64, requires_grad=True)
    _, (last, *_) = run_torch(module, x, (), inputs.get("lengths"))
    result = torch.cat(list(last[-1 - bidirectional :]), 1)
    (result * torch.tensor(received)).sum().backward()
    agrees(step.result, result)
    agrees(step.gradients["x"], x.grad)
    for name, parameter in module.named_parameters():
        agrees(step.gradients[f"{KINDS[kind]}.{name}"], parameter.grad)
