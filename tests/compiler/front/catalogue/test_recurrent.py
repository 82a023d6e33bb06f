"""Recurrent layers against PyTorch: results, last states and every gradient over a grid of settings; and exported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from compiler.targets.onnx.inner import all_nodes
from runtime.inference.session import InferenceSession
from runtime.programs.engine import Engine

RNG = np.random.default_rng(0)
FEATURES, UNITS = 3, 5
KINDS = {"rnn": "rnn", "relu": "rnn", "lstm": "lstm", "gru": "gru"}
LENGTHS = np.array([7, 1, 4, 6])


@pytest.fixture(autouse=True)
def same_numbers_in_one_thread() -> Iterator[None]:
    """Each test draws the same numbers however it is run; PyTorch's threads would wait for one another at each step."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
    settings = {"bidirectional": "true"} if bidirectional else {}
    settings |= ({} if bias else {"bias": "false"}) | ({"activation": "relu"} if kind == "relu" else {}) | others
    return f"{KINDS[kind]}({UNITS}, {layers}{''.join(f', {name}={value}' for name, value in settings.items())})"


GRID = list(product(KINDS, (1, 2), (False, True), (False, True), (False, True), (True,)))
GRID += [(kind, 1, False, False, False, False) for kind in KINDS]
NAMES = ["kind", "layers", "bidirectional", "with_state", "with_lengths", "bias"]


@pytest.mark.parametrize(NAMES, GRID)
def test_training_agrees_with_torch(
    bench: Any,
    agrees: Any,
    kind: str,
    layers: int,
    bidirectional: bool,
    with_state: bool,
    with_lengths: bool,
    bias: bool,
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


# Training


FORECASTER = """
    model Forecaster(x: f32[N, 100, 1]) -> f32[N, 1] {
        rnn(50, activation=relu)
        dense(1)
    }
    train forecaster(x: f32[N, 100, 1], y: f32[N, 1]) { minimize mse(Forecaster(x), y) with adam(1e-3) }
"""
CHARACTERS = """
    model Characters(text: i64[N, T]) -> f32[N, T, 27] {
        embed(27, 8)
        lstm(16, 2, sequence=true)
        dense(27)
    }
    train characters(text: i64[N, T], next: i64[N, T]) {
        minimize cross_entropy(Characters(text), next) with adam(3e-3)
    }
"""


def train(text: str, name: str, weights: dict[str, Any], data: dict[str, Any], steps: int) -> tuple[list[float], Any]:
    """The loss of each step, and the weights afterwards, from these weights."""
    program = compiler.compile_train(compiler.check(Source("test.dl", text)), name)
    module = compiler.train_module(program)
    first = Engine(module, {"seed": np.array(0)}).call("initial", {})
    state = {"seed": np.array(0), "step": np.array(0)}
    engine = Engine(module, {**{name: array.copy() for name, array in first.items()}, **state, **weights})
    (step,) = (function for function in engine.functions if function.startswith("step"))
    return [float(engine.call(step, data)["loss"]) for _ in range(steps)], engine.kept


def torch_train(parts: Any, loss: Any, rate: float, steps: int) -> list[float]:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    optimizer = torch.optim.Adam([p for part in parts for p in part.parameters()], rate)
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        found.append(float(value.detach()))
    return found


def copied(prefix: str, module: Any, turned: bool = False) -> dict[str, Any]:
    return {
        f"{prefix}.{name}": np.ascontiguousarray(p.detach().numpy().T if turned else p.detach().numpy()).copy()
        for name, p in module.named_parameters()
    }


def test_the_forecaster_trains_as_in_torch(agrees: Any) -> None:
    """A hundred steps, fifty units with ReLU, as introductions to recurrent networks have it."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    torch.manual_seed(0)
    layer, head = torch.nn.RNN(1, 50, nonlinearity="relu", batch_first=True), torch.nn.Linear(50, 1)
    weights = copied("Forecaster.rnn", layer) | copied("Forecaster.dense", head, turned=True)
    assert sum(weight.size for weight in weights.values()) == 2651 + 50
    time = np.linspace(0, 12, 101) + RNG.uniform(0, 6, (32, 1))
    waves = np.sin(time).astype(np.float32)[:, :, None]
    x, y = np.ascontiguousarray(waves[:, :100]), np.ascontiguousarray(waves[:, 100])
    losses, after = train(FORECASTER, "forecaster", weights, {"x": x, "y": y}, 20)

    def loss() -> Any:
        return torch.nn.functional.mse_loss(head(layer(torch.tensor(x))[0][:, -1]), torch.tensor(y))

    np.testing.assert_allclose(losses, torch_train([layer, head], loss, 1e-3, 20), rtol=1e-4)
    assert losses[-1] < 0.7 * losses[0]
    np.testing.assert_allclose(after["Forecaster.rnn.weight_hh_l0"], layer.weight_hh_l0.detach(), atol=2e-5)


def test_a_character_model_trains_as_in_torch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    torch.manual_seed(0)
    table, layer, head = torch.nn.Embedding(27, 8), torch.nn.LSTM(8, 16, 2, batch_first=True), torch.nn.Linear(16, 27)
    weights = copied("Characters.embed", table) | copied("Characters.lstm", layer)
    weights |= copied("Characters.dense", head, turned=True)
    text = RNG.integers(0, 27, (6, 12))
    x, y = np.ascontiguousarray(text[:, :-1]), np.ascontiguousarray(text[:, 1:])
    losses, after = train(CHARACTERS, "characters", weights, {"text": x, "next": y}, 8)

    def loss() -> Any:
        logits = head(layer(table(torch.tensor(x)))[0])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(y).flatten())

    np.testing.assert_allclose(losses, torch_train([table, layer, head], loss, 3e-3, 8), rtol=1e-5)
    for name, weight in copied("Characters.lstm", layer).items():
        np.testing.assert_allclose(after[name], weight, atol=5e-5)


def test_weights_begin_as_in_torch() -> None:
    kept = train(CHARACTERS, "characters", {}, {"text": np.zeros((1, 2), int), "next": np.zeros((1, 2), int)}, 0)[1]
    limit = 1 / np.sqrt(16)
    for name, weight in kept.items():
        if name.startswith("Characters.lstm") and "adam" not in name:
            assert 0.8 * limit < np.abs(weight).max() <= limit


def test_dropout_stands_between_layers_while_training(bench: Any) -> None:
    x, received = numbers(4, 7, FEATURES), numbers(4, 5)
    weights = weights_of(torch_module("gru", 3, False, True), "gru")
    plain = bench.step("gru(5, 3)", {"x": x}, received, weights).result
    dropped = bench.step("gru(5, 3, dropout=0.5)", {"x": x}, received, weights).result
    assert not np.allclose(plain, dropped)
    np.testing.assert_allclose(bench.infer("gru(5, 3, dropout=0.5)", {"x": x}, weights), plain, rtol=1e-5, atol=1e-6)
    graph = bench.training_graph("gru(5, 3, dropout=0.5)", {"x": x}, received)
    drawn = [node.outputs[0].type.shape for node in graph.nodes if node.operation.opcode == "random_keep"]
    assert len(drawn) == 2


# Export


def model_file(body: str, signature: str) -> tuple[bytes, Engine]:
    """The exported file of a model, and its NumPy program, with seeded weights."""
    program = compiler.compile_model(compiler.check(Source("test.dl", f"model Net({signature}) {{\n{body}\n}}")), "Net")
    generator = np.random.default_rng(1)
    shapes = {weight.name: [int(str(dim)) for dim in weight.type.shape] for weight in program.weights}
    # As PyTorch draws them: what is larger has wide layers let roundings grow from step to step.
    ends = {name: shape[-1] ** -0.5 for name, shape in shapes.items()}
    weights = {
        name: generator.uniform(-ends[name], ends[name], shape).astype(np.float32) for name, shape in shapes.items()
    }
    return compiler.onnx_file(program, weights), Engine(compiler.model_module(program), weights)


EXPORTED = [
    ("lstm(6)", ""), ("gru(6)", ""), ("rnn(6)", ""), ("rnn(6, activation=relu)", ""),
    ("lstm(6, 2, sequence=true, bidirectional=true)", ""), ("gru(6, 2, bidirectional=true)", ""),
    ("lstm(6, bidirectional=true, lengths=n)", ", n: i64[N]"), ("gru(6, sequence=true, lengths=n)", ", n: i32[N]"),
    ("rnn(6, 2, lengths=n, state=h)", ", n: i64[N], h: f32[N, 2, 6]"),
    # Plain ones are of two kinds in one file, for few sequences and for many, or of the second for wide layers.
    ("rnn(6, 2, sequence=true, bidirectional=true)", ""), ("rnn(6, bidirectional=true, state=h)", ", h: f32[N, 2, 6]"),
    ("y, s = x -> rnn(6, activation=relu, sequence=true, state=h, give_state=true)\ny[:, 0] + s", ", h: f32[N, 6]"),
    ("rnn(6, sequence=true, bias=false)", ""), ("rnn(150, bidirectional=true)", ""), ("rnn(150, sequence=true)", ""),
    ("lstm(6, bidirectional=true, state=(h, c), lengths=n)", ", h: f32[N, 2, 6], c: f32[N, 2, 6], n: i64[N]"),
    ("y, after = x -> gru(6, state=h, give_state=true)\ny + after", ", h: f32[N, 6]"),
    ("y, s = x -> lstm(6, give_state=true)\nh, c = s\nconcat(y, h, c)", ""),
]  # fmt: skip


@pytest.mark.parametrize(("body", "more"), EXPORTED)
def test_exported_files_run_at_sizes_never_seen(body: str, more: str) -> None:
    content, engine = model_file(body, f"x: f32[N, T, 4]{more}")
    sessions = [InferenceSession(content, optimise=optimise) for optimise in (False, True)]
    for batch, steps in product((1, 3, 64), (1, 7, 130)):
        inputs = {"x": numbers(batch, steps, 4)}
        if "n:" in more:
            lengths = RNG.integers(0, steps + 1, batch)
            inputs["n"] = lengths.astype(np.int32) if "n: i32" in more else lengths
        for name in ("h", "c"):
            if f"{name}: f32[N, 2" in more:
                inputs[name] = numbers(batch, 2, 6)
            elif f"{name}: f32" in more:
                inputs[name] = numbers(batch, 6)
        expected = engine.call("infer", inputs)["output"]
        for session in sessions:
            np.testing.assert_allclose(session.run(inputs)["output"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("body", "kinds"), [
    ("lstm(6)", ["Transpose", "LSTM", "Squeeze"]),
    ("lstm(6, sequence=true)", ["Transpose", "LSTM", "Squeeze", "Transpose"]),
    ("gru(6, 2)", ["Transpose", "GRU", "Squeeze", "GRU", "Squeeze"]),
    ("rnn(6, bias=false)", ["Transpose", "Shape", "Greater", "If"]),
    ("rnn(6, 2)", ["Transpose", "Shape", "Greater", "If", "If"]),
    ("rnn(150, bias=false)", ["Transpose", "MatMul", "Shape", "Concat", "ConstantOfShape", "Scan"]),
    ("lstm(6, bidirectional=true)", ["Transpose", "LSTM", "Transpose", "Reshape"]),
    ("gru(6, 2, bidirectional=true)", ["Transpose", "GRU", "Transpose", "Reshape", "GRU", "Transpose", "Reshape"]),
    ("layer e = gru(6)\n(x -> e) + (x -> tanh -> e)", ["Transpose", "GRU", "Squeeze"] * 2 + ["Tanh", "Add"]),
])  # fmt: skip
def test_files_have_no_more_nodes_than_needed(body: str, kinds: list[str]) -> None:
    """Nothing rearranges weights in the file, which holds them once, as ONNX orders them."""
    content, _ = model_file(body, "x: f32[N, T, 4]")
    graph = onnx.load_from_string(content).graph
    assert sorted(node.op_type for node in graph.node) == sorted(kinds)
    recurrent = [node for node in all_nodes(graph.node) if node.op_type in ("LSTM", "GRU", "RNN")]
    held = {item.name for item in graph.initializer}
    assert all(name in held or not name for node in recurrent for name in node.input[1:4])
    weights = [item for item in graph.initializer if len(item.dims) == 3]
    assert len(weights) == 2 * len({node.input[1] for node in recurrent})


def test_a_sequence_that_ends_early_gives_zeros_and_keeps_its_state(bench: Any) -> None:
    """What stands behind the end, even infinities, changes nothing."""
    weights = weights_of(torch_module("lstm", 1, True, True), "lstm")
    x, body = numbers(3, 6, FEATURES), "lstm(5, sequence=true, bidirectional=true, lengths=n)"
    long = bench.infer(body, {"x": x, "n": np.array([2, 6, 0])}, weights)
    x[0, 2:], x[2] = np.inf, np.nan
    given = bench.infer(body, {"x": x, "n": np.array([2, 6, 0])}, weights)
    np.testing.assert_array_equal(given, long)
    assert not given[0, 2:].any()
    assert not given[2].any()
    alone = bench.infer(body, {"x": x[:1, :2], "n": np.array([2])}, weights)
    np.testing.assert_allclose(given[:1, :2], alone, rtol=1e-5, atol=1e-6)


# Mistakes


@pytest.mark.parametrize(("signature", "body", "message"), [
    ("x: f32[N, T, 4]", "lstm(0)", "lstm needs units to be at least 1, not 0"),
    ("x: f32[N, T, 4]", "gru(4, 0)", "gru needs layers to be at least 1, not 0"),
    ("x: f32[N, T, 4]", "gru(4, 2, dropout=1)", "1.0 does not"),
    ("x: f32[N, T, 4]", "gru(4, dropout=0.2)", "stands between its layers, and there is one"),
    ("x: f32[N, T, 4]", "rnn(4, activation=sigmoid)", "activation of rnn is one of tanh, relu"),
    ("x: f32[N, 4]", "lstm(4)", "lstm takes sequences such as f32[N, T, 16], not f32[N, 4]"),
    ("x: i64[N, T]", "lstm(4)", "lstm takes sequences such as f32[N, T, 16], not i64[N, T]"),
    ("x: f32[N, T, F]", "rnn(4)", "rnn needs a fixed number of features"),
    ("x: f32[N, T, 4], h: f32[N, 5]", "gru(4, state=h)", "the state of this gru is f32[N, 4], not f32[N, 5]"),
    ("x: f32[N, T, 4], h: f32[N, 4]", "gru(4, 2, state=h)", "the state of this gru is f32[N, 2, 4], not f32[N, 4]"),
    ("x: f32[N, T, 4], h: f32[N, 4]", "lstm(4, state=h)", "the state of lstm is a pair of tensors"),
    ("x: f32[N, T, 4]", "lstm(4, state=1)", "state of lstm is a tensor, or several in parentheses"),
    ("x: f32[N, T, 4], n: f32[N]", "rnn(4, lengths=n)", "lengths are whole numbers, i32 or i64, not f32[N]"),
    ("x: f32[N, T, 4], n: i64[N, T]", "rnn(4, lengths=n)", "one length for each of the N sequences, not i64[N, T]"),
])  # fmt: skip
def test_mistakes_are_told(signature: str, body: str, message: str) -> None:
    with pytest.raises(DiagnosticError, match=re.escape(message)):
        compiler.check(Source("test.dl", f"model Net({signature}) {{\n{body}\n}}"))
