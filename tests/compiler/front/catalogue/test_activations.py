"""Activations, noise and functions on tensors, against PyTorch and NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
functional = torch.nn.functional
RNG = np.random.default_rng(0)


def numbers(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def tensor(array: Any, requires_grad: bool = False) -> Any:
    return torch.tensor(array, dtype=torch.float64, requires_grad=requires_grad)


ACTIVATIONS: list[tuple[str, Callable[[Any], Any]]] = [
    ("relu6", functional.relu6),
    ("selu", functional.selu),
    ("mish", functional.mish),
    ("hard_sigmoid", functional.hardsigmoid),
    ("hard_swish", functional.hardswish),
    ("softsign", functional.softsign),
    ("glu", functional.glu),
    ("glu(1)", lambda x: functional.glu(x, 1)),
    ("swiglu", lambda x: functional.silu(x[..., :3]) * x[..., 3:]),
    ("swiglu(axis=1)", lambda x: functional.silu(x[:, :2]) * x[:, 2:]),
    ("clip(-0.5, 1)", lambda x: functional.hardtanh(x, -0.5, 1.0)),
    ("it -> sign", torch.sign),
    ("it -> floor", torch.floor),
    ("it -> ceil", torch.ceil),
    ("it -> round", torch.round),
    ("it -> sin", torch.sin),
    ("it -> cos", torch.cos),
    ("it -> erf", torch.erf),
    ("log1p(it * it)", lambda x: torch.log1p(x * x)),
    ("expm1(it)", torch.expm1),
    ("where(it > 0, it, it * 0.5)", lambda x: torch.where(x > 0, x, x * 0.5)),
    ("cumsum(it)", lambda x: torch.cumsum(x, -1)),
    ("cumsum(it, axis=1)", lambda x: torch.cumsum(x, 1)),
    ("stack(it, it * 2, axis=1)", lambda x: torch.stack([x, x * 2], 1)),
    ("stack(it, it * 2, axis=-1)", lambda x: torch.stack([x, x * 2], -1)),
    ("unsqueeze(it, 2) * 2", lambda x: x.unsqueeze(2) * 2),
    ("squeeze(it[:, 0:1], 1)", lambda x: x[:, 0]),
    ("expand(it[:, 0:1], N, 4, 6)", lambda x: x[:, :1].expand(-1, 4, -1)),
    ("transpose(it, 0, 2, 1)", lambda x: x.transpose(1, 2)),
]


@pytest.mark.parametrize(("body", "oracle"), ACTIVATIONS)
def test_values_and_gradients_are_those_of_torch(bench: Any, agrees: Any, body: str, oracle: Any) -> None:
    x = numbers(3, 4, 6) * 3
    leaf = tensor(x, True)
    result = oracle(leaf)
    received = numbers(*result.shape)
    (result * tensor(received)).sum().backward()
    agrees(bench.infer(body, {"x": x}), result)
    if leaf.grad.any():
        step = bench.step(body, {"x": x}, received)
        agrees(step.result, result)
        agrees(step.gradients["x"], leaf.grad)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (2, 4, 3, 2)])
def test_prelu_is_that_of_torch(bench: Any, agrees: Any, shape: Any, per_channel: bool) -> None:
    x, received, weight = numbers(*shape), numbers(*shape), numbers(4 if per_channel else 1)
    leaves = tensor(x, True), tensor(weight, True)
    result = functional.prelu(*leaves)
    (result * tensor(received)).sum().backward()
    body = "prelu(per_channel=true)" if per_channel else "prelu"
    step = bench.step(body, {"x": x}, received, {"prelu.weight": weight})
    agrees(step.result, result)
    agrees(step.gradients["x"], leaves[0].grad)
    agrees(step.gradients["prelu.weight"], leaves[1].grad)
    agrees(bench.infer(body, {"x": x}, {"prelu.weight": weight}), result)


@pytest.mark.parametrize(("body", "axes"), [("spatial_dropout(0.25)", (2, 3)), ("drop_path(0.25)", (1, 2, 3))])
def test_what_is_dropped_is_dropped_whole(bench: Any, body: str, axes: tuple[int, ...]) -> None:
    x = np.ones((200, 8, 2, 3), np.float32)
    step = bench.step(body, {"x": x}, x)
    kept = step.result.max(axis=axes)
    assert (step.result.min(axis=axes) == kept).all()
    np.testing.assert_allclose(np.unique(kept), [0, 4 / 3], rtol=1e-6)
    assert abs((kept > 0).mean() - 0.75) < (0.04 if "spatial" in body else 0.12)
    np.testing.assert_array_equal(step.gradients["x"], step.result)
    np.testing.assert_array_equal(bench.infer(body, {"x": x}), x)


def test_gaussian_noise_is_there_while_training_only(bench: Any) -> None:
    x = numbers(64, 100)
    step = bench.step("gaussian_noise(0.5)", {"x": x}, np.ones_like(x))
    noise = step.result - x
    assert abs(noise.mean()) < 0.03
    assert abs(noise.std() - 0.5) < 0.03
    np.testing.assert_array_equal(step.gradients["x"], np.ones_like(x))
    np.testing.assert_array_equal(bench.infer("gaussian_noise(0.5)", {"x": x}), x)


def test_functions_of_indices(bench: Any, agrees: Any) -> None:
    x, i = numbers(3, 4), np.array([[0, 3], [1, 1], [2, 0]])
    inputs = {"x": x, "i": i}
    agrees(bench.infer("take_along(x, i)", inputs), np.take_along_axis(x, i, 1))
    agrees(bench.infer("one_hot(i, 4)", {"i": i}), np.eye(4)[i])
    agrees(bench.infer("x * arange(4, f32)", {"x": x}), x * np.arange(4))
    agrees(bench.infer("x + cast(unsqueeze(arange(T), 0), f32)", {"x": x}, types={"x": "f32[N, T]"}), x + np.arange(4))


def test_gather_takes_rows_of_a_weight(bench: Any, agrees: Any) -> None:
    """A tensor that is made from a weight is as good as a table."""
    table, x, received = numbers(5, 4), np.array([3, 0, 3]), numbers(3, 4)
    body = "layer token = embed(5, 4)\ny = x -> token\ngather(token.weight, x) + y * 0"
    step = bench.step(body, {"x": x}, received, {"token.embed.weight": table})
    agrees(step.result, table[x])
    expected = np.zeros_like(table)
    np.add.at(expected, x, received)
    agrees(step.gradients["token.embed.weight"], expected)


NODES = [
    ("relu6", ["Clip"]), ("selu", ["Selu"]), ("hard_sigmoid", ["HardSigmoid"]), ("softsign", ["Softsign"]),
    ("hard_swish", ["HardSigmoid", "Mul"]), ("mish", ["Softplus", "Tanh", "Mul"]), ("glu", ["Split", "Sigmoid", "Mul"]),
    ("swiglu", ["Split", "Sigmoid", "Mul", "Mul"]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "nodes"), NODES)
def test_an_exported_activation_has_no_more_nodes_than_needed(bench: Any, body: str, nodes: list[str]) -> None:
    import onnx

    content = compiler.onnx_file(bench.model(body, {"x": numbers(2, 4)}), {})
    assert [node.op_type for node in onnx.load_from_string(content).graph.node] == nodes


MISTAKES = [
    ("f32[N, 5]", "glu", "E0301", "glu takes an even number of features, not the 5 of f32[N, 5]"),
    ("f32[N, T]", "swiglu", "E0301", "swiglu takes an even number of features, not the T of f32[N, T]"),
    ("f32[N, 4]", "swiglu(axis=2)", "E0404", "f32[N, 4] has no dimension 2"),
    ("f32[N, 4]", "spatial_dropout(1)", "E0404", "the rate of spatial_dropout lies from 0 up to, not including, 1"),
    ("f32[N]", "spatial_dropout", "E0301", "spatial_dropout takes a batch of samples with channels, not f32[N]"),
    ("f32[N, 4]", "drop_path(-1)", "E0404", "the rate of drop_path lies from 0"),
    ("f32[N, 4]", "gaussian_noise(-1)", "E0404", "a standard deviation can't be negative: -1"),
    ("f32[N, 4]", "clip(it, 1, 0)", "E0404", "clip takes the lower bound first: 1.0 is above 0.0"),
    ("i64[N, 4]", "clip(it, 0, 0.5)", "E0404", "i64[N, 4] is clipped to whole numbers, not to 0.0 and 0.5"),
    ("f32[N, 4]", "squeeze(it, 1)", "E0404", "dimension 1 of f32[N, 4] is 4, not 1"),
    ("f32[N, 4]", "unsqueeze(it, 3)", "E0404", "a new dimension of f32[N, 4] stands at 0 to 2, not at 3"),
    ("f32[N, 4]", "one_hot(it, 3)", "E0303", "one_hot takes indices, which are whole numbers, not f32[N, 4]"),
    ("f32[N, 4]", "cumsum(it, 2)", "E0404", "f32[N, 4] has no dimension 2"),
]


@pytest.mark.parametrize(("type", "body", "code", "title"), MISTAKES)
def test_mistakes_are_told(type: str, body: str, code: str, title: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compiler.check(Source("test.dl", f"model Net(x: {type}) {{ {body} }}"))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    assert title in diagnostic.title
