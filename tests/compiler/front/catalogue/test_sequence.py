"""Embeddings and positions: against PyTorch and against the formulas written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source

torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
RNG = np.random.default_rng(0)


def numbers(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def tensor(array: Any, requires_grad: bool = False) -> Any:
    return torch.tensor(array, dtype=torch.float64, requires_grad=requires_grad)


@pytest.mark.parametrize("padding", [None, 0, 3])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((6,), "int64"), ((4, 7), "int64"), ((2, 3, 4), "int32"), ((5, 2), "uint8")]
)
def test_embed_is_that_of_torch(bench: Any, agrees: Any, shape: Any, dtype: str, padding: int | None) -> None:
    table, indices, received = numbers(9, 5), RNG.integers(0, 9, shape).astype(dtype), numbers(*shape, 5)
    indices.flat[:2] = 0, 3
    weight = torch.nn.Parameter(tensor(table))
    if padding is not None:
        weight.data[padding] = 0
    result = torch.nn.functional.embedding(torch.tensor(indices.astype(np.int64)), weight, padding)
    (result * tensor(received)).sum().backward()
    body = "embed(9, 5)" if padding is None else f"embed(9, 5, padding={padding})"
    step = bench.step(body, {"x": indices}, received, {"embed.weight": table})
    agrees(step.result, result)
    agrees(step.gradients["embed.weight"], weight.grad)
    agrees(bench.infer(body, {"x": indices}, {"embed.weight": table}), result)


@pytest.mark.parametrize("steps", [1, 5, 8])
def test_position_adds_the_first_rows(bench: Any, agrees: Any, steps: int) -> None:
    x, table, received = numbers(3, steps, 4), numbers(8, 4), numbers(3, steps, 4)
    types = {"x": "f32[N, T <= 8, 4]", "received": "f32[N, T, 4]"}
    step = bench.step("position(8)", {"x": x}, received, {"position.weight": table}, types)
    agrees(step.result, x + table[:steps])
    expected = np.zeros_like(table)
    expected[:steps] = received.sum(axis=0)
    agrees(step.gradients["position.weight"], expected)
    agrees(step.gradients["x"], received)
    agrees(bench.infer("position(8)", {"x": x}, {"position.weight": table}, types), x + table[:steps])


def sinusoids(steps: int, features: int, base: float) -> Any:
    table = np.zeros((steps, features))
    for t in range(steps):
        for i in range(features // 2):
            table[t, 2 * i] = np.sin(t / base ** (2 * i / features))
            table[t, 2 * i + 1] = np.cos(t / base ** (2 * i / features))
    return table


@pytest.mark.parametrize(("steps", "features", "base"), [(1, 4, 10000.0), (7, 6, 10000.0), (300, 8, 100.0)])
@pytest.mark.parametrize("type", ["f32[N, T, {}]", "f32[N, T <= 512, {}]", "f32[N, {}, {}]"])
def test_sinusoidal_positions_are_those_of_the_paper(
    bench: Any, agrees: Any, steps: int, features: int, base: float, type: str
) -> None:
    x = numbers(2, steps, features)
    types = {"x": type.format(features) if "T" in type else type.format(steps, features)}
    found = bench.infer(f"sinusoidal(base={base:g})", {"x": x}, types=types)
    agrees(found, x + sinusoids(steps, features, base))


def turned(x: Any, base: float) -> Any:
    """As LLaMA writes it down: pairs as complex numbers, turned by multiplication."""
    half = x.shape[-1] // 2
    speeds = base ** (-np.arange(half) / half)
    angles = np.arange(x.shape[1])[:, None] * speeds
    turns = torch.polar(torch.ones(angles.shape, dtype=torch.float64), torch.tensor(angles))
    turns = turns.reshape(x.shape[1], *(1,) * (x.ndim - 3), half)
    pairs = torch.complex(x[..., :half], x[..., half:]) * turns
    return torch.cat([pairs.real, pairs.imag], -1)


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 7, 3, 4), (1, 1, 2)])
@pytest.mark.parametrize("base", [10000.0, 50.0])
def test_rotary_turns_pairs(bench: Any, agrees: Any, shape: Any, base: float) -> None:
    x, received = numbers(*shape), numbers(*shape)
    leaf = tensor(x, True)
    result = turned(leaf, base)
    (result * tensor(received)).sum().backward()
    step = bench.step(f"rotary(base={base:g})", {"x": x}, received)
    agrees(step.result, result)
    agrees(step.gradients["x"], leaf.grad)
    symbolic = {"x": ", ".join(["f32[N, T", *map(str, shape[2:])]) + "]"}
    agrees(bench.infer(f"rotary(base={base:g})", {"x": x}, types=symbolic), result)


def test_late_positions_are_exact_in_a_file(bench: Any) -> None:
    """In f32 an angle of 20,000 is off by a thousandth."""
    x = np.zeros((1, 20_000, 2), np.float32)
    found = bench.infer("sinusoidal", {"x": x}, types={"x": "f32[N, T, 2]"})
    np.testing.assert_allclose(found[0, -1], [np.sin(19_999), np.cos(19_999)], atol=1e-6)


def test_rotary_makes_scores_depend_on_distances_only(bench: Any) -> None:
    x = np.broadcast_to(numbers(1, 1, 8), (1, 12, 8)).copy()
    y = bench.infer("rotary", {"x": x})
    scores = y[0] @ y[0].T
    for distance in range(12):
        np.testing.assert_allclose(np.diag(scores, distance), scores[0, distance], rtol=1e-4)


def test_attention_turns_queries_and_keys(bench: Any, agrees: Any) -> None:
    x, weight, out = numbers(2, 6, 8), numbers(8, 24), np.eye(8, dtype=np.float32)
    weights = {"attention.in_proj_weight": weight, "attention.out_proj.weight": out}
    q, k, v = (part.reshape(2, 6, 2, 4) for part in (tensor(x) @ tensor(weight)).split(8, -1))
    parts = (part.transpose(1, 2) for part in (turned(q, 100.0), turned(k, 100.0), v))
    result = torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(2, 6, 8)
    found = bench.infer("attention(2, rotary=100, bias=false)", {"x": x}, weights, {"x": "f32[N, T, 8]"})
    agrees(found, result)


def test_indices_outside_of_the_vocabulary_are_noted() -> None:
    text = """
        model Net(x: i64[N, 4]) -> f32[N, 4, 2] { embed(7, 2) }
        train net(x: i64[N, 4], y: f32[N, 4, 2]) { minimize mse(Net(x), y) with sgd(0.1) }
    """
    checked = compiler.check(Source("test.dl", text))
    (noted,) = compiler.compile_train(checked, "net").ranges
    assert (noted.input, noted.size) == ("x", 7)


MISTAKES = [
    ("i64[N, T]", "embed(0, 4)", "E0404", "embed needs vocabulary to be at least 1, not 0"),
    ("i64[N, T]", "embed(5, 4, padding=5)", "E0404", "the padding is one of the indices 0 to 4, not 5"),
    ("f32[N, T]", "embed(5, 4)", "E0303", "embed takes indices, which are whole numbers, not f32[N, T]"),
    ("f32[N, 65, 4]", "position(64)", "E0301", "position(64) has no place for the 65 steps of f32[N, 65, 4]"),
    ("f32[N, T, 4]", "position(64)", "E0302", "position(64) has place for 64 steps, and f32[N, T, 4] may have more"),
    ("f32[N, T <= 65, 4]", "position(64)", "E0302", "position(64) has place for 64 steps"),
    ("f32[N]", "position(64)", "E0301", "position takes a sequence of features such as f32[N, T, 64], not f32[N]"),
    ("f32[N, T, 5]", "sinusoidal", "E0301", "sinusoidal takes an even number of features, not the 5 of f32[N, T, 5]"),
    ("f32[N, T, 4]", "rotary(base=-1)", "E0404", "the base of the wavelengths is above 0, not -1"),
    ("f32[N, 4]", "rotary", "E0301", "rotary takes f32[N, T, D] or, with heads, f32[N, T, H, D], not f32[N, 4]"),
]


@pytest.mark.parametrize(("type", "body", "code", "title"), MISTAKES)
def test_mistakes_are_told(type: str, body: str, code: str, title: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        compiler.check(Source("test.dl", f"model Net(x: {type}) {{ {body} }}"))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    assert title in diagnostic.title
