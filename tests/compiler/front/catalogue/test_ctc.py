"""The CTC loss against PyTorch, values and gradients, over a grid of settings; and where it is infinite."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Each test draws the same numbers however it is run."""
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def torch_loss(x: Any, labels: Any, lengths: Any, counts: Any, blank: int, **more: Any) -> tuple[float, Any]:
    """In f64. PyTorch takes the steps first."""
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    given = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.ctc_loss(
        given.log_softmax(2).transpose(0, 1), torch.tensor(labels), torch.tensor(lengths), torch.tensor(counts),
        blank, **more,
    )  # fmt: skip
    loss.backward()
    return float(loss.detach()), given.grad.numpy()


def labels_of(samples: int, most: int, classes: int, blank: int, repeats: bool) -> Any:
    """No label is the blank; where there may be ``repeats``, of two classes only."""
    others = np.delete(np.arange(classes), blank)
    return RNG.choice(others[:2] if repeats else others, (samples, most))


@pytest.mark.parametrize("blank", [0, 4])
@pytest.mark.parametrize(("samples", "steps", "most"), [(1, 1, 1), (3, 9, 4), (5, 30, 12), (2, 64, 3)])
@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("spelled", ["x", "(x -> softmax)", "(x -> log_softmax)"])
def test_it_is_that_of_torch(
    bench: Any, blank: int, samples: int, steps: int, most: int, repeats: bool, spelled: str
) -> None:
    x = (2 * RNG.standard_normal((samples, steps, 5))).astype(np.float32)
    labels = labels_of(samples, most, 5, blank, repeats)
    counts = RNG.integers(1, most + 1, samples)
    lengths = np.minimum(steps, 2 * counts + RNG.integers(0, steps, samples))
    for row, count in zip(labels, counts, strict=True):
        row[count:] = blank
    expected, gradient = torch_loss(x, labels, lengths, counts, blank, zero_infinity=True)
    expression = f"ctc({spelled}, y, lengths=n, blank={blank}, zero_infinity=true)"
    value, gradients = bench.loss(expression, {"x": x, "y": labels, "n": lengths})
    assert value == pytest.approx(expected, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(gradients["x"], gradient, rtol=1e-5, atol=1e-5)
    told = f"ctc({spelled}, y, lengths=n, target_lengths=m, blank={blank}, zero_infinity=true)"
    again, _ = bench.loss(told, {"x": x, "y": labels.astype(np.int32), "n": lengths, "m": counts})
    assert again == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_all_steps_and_labels_count_where_nothing_else_is_said(bench: Any) -> None:
    x, labels = RNG.standard_normal((4, 12, 6)).astype(np.float32), labels_of(4, 5, 6, 0, False)
    expected, gradient = torch_loss(x, labels, [12] * 4, [5] * 4, 0)
    value, gradients = bench.loss("ctc(x, y)", {"x": x, "y": labels})
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradients["x"], gradient, rtol=1e-5, atol=1e-5)


def test_it_is_the_sum_over_all_paths(bench: Any) -> None:
    """Every path of four steps, spelled out."""
    x = RNG.standard_normal((1, 4, 3)).astype(np.float32)
    probabilities = np.exp(x[0].astype(np.float64)) / np.exp(x[0].astype(np.float64)).sum(1, keepdims=True)
    for labels in ([1], [1, 2], [2, 2], [1, 2, 1]):
        total = 0.0
        for path in np.ndindex(3, 3, 3, 3):
            joined = [label for place, label in enumerate(path) if place == 0 or path[place - 1] != label]
            if [label for label in joined if label] == labels:
                total += float(np.prod(probabilities[range(4), path]))
        value, _ = bench.loss("ctc(x, y)", {"x": x, "y": np.array([labels])})
        assert value == pytest.approx(-np.log(total) / len(labels), rel=1e-6)


def test_no_labels_are_spelled_by_blanks(bench: Any) -> None:
    x = RNG.standard_normal((2, 3, 4)).astype(np.float32)
    expected, gradient = torch_loss(x, [[1, 2], [0, 0]], [3, 3], [2, 0], 0)
    value, gradients = bench.loss("ctc(x, y)", {"x": x, "y": np.array([[1, 2], [0, 0]])})
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradients["x"], gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("labels", [[[1, 1, 1]], [[1, 2, 0]]])
def test_labels_that_do_not_fit(bench: Any, labels: Any) -> None:
    inputs = {"x": RNG.standard_normal((1, 4, 3)).astype(np.float32), "y": np.array(labels), "n": np.array([1])}
    value, _ = bench.loss("ctc(x, y, lengths=n)", inputs)
    assert value == np.inf
    value, gradients = bench.loss("ctc(x, y, lengths=n, zero_infinity=true)", inputs)
    assert value == 0
    assert not gradients["x"].any()


def test_extreme_scores_and_long_sequences(bench: Any) -> None:
    """No product of probabilities would be a number any more."""
    x = np.full((2, 500, 3), -200, np.float32)
    x[:, :, 0] = 200
    inputs = {"x": x, "y": np.tile([1, 2], (2, 20))}
    value, gradients = bench.loss("ctc(x, y)", inputs)
    # 40 of 500 steps have a label, which is 400 less likely than a blank, as a logarithm.
    assert value == pytest.approx(400 - math.log(math.comb(500, 40)) / 40, rel=1e-6)
    assert np.isfinite(gradients["x"]).all()
    assert np.abs(gradients["x"]).max() > 1e-4


def test_a_network_learns_to_spell() -> None:
    """Without being told where in the input each label is."""
    from runtime.programs.engine import Engine

    text = """
        model Reader(x: f32[N, T, 4]) -> f32[N, T, 5] { gru(16, sequence=true, bidirectional=true) -> dense(5) }
        train reader(x: f32[N, T, 4], y: i64[N, S]) { minimize ctc(Reader(x), y) with adam(0.02) }
    """
    program = compiler.compile_train(compiler.check(Source("test.dl", text)), "reader")
    module = compiler.train_module(program)
    first = Engine(module, {"seed": np.array(0)}).call("initial", {})
    kept = {name: array.copy() for name, array in first.items()} | {"seed": np.array(0), "step": np.array(0)}
    labels = RNG.integers(1, 5, (16, 3))
    x = np.zeros((16, 12, 4), np.float32)
    for row, spelled in zip(x, labels, strict=True):
        places = np.sort(RNG.choice(np.arange(0, 12, 2), 3, replace=False))
        row[places, spelled - 1] = 1
    engine = Engine(module, kept)
    losses = [float(engine.call("step0", {"x": x, "y": labels})["loss"]) for _ in range(150)]
    assert losses[-1] < 0.05 * losses[0]


MISTAKES = [
    ("ctc(x -> flatten, y)", "E0301", "ctc takes the scores of sequences such as f32[N, T, 27], not f32[N, 30]"),
    ("ctc(x, x)", "E0303", "ctc takes labels as integers, not f32[N, 6, 5]"),
    ("ctc(x, n)", "E0301", "ctc of f32[N, 6, 5] takes labels of the type i64[N, S], not i64[N]"),
    ("ctc(x, y, blank=5)", "E0404", "the blank is one of the classes 0 to 4, not 5"),
    ("ctc(x, y, lengths=y)", "E0404", "there has to be one length for each of the N sequences, not i64[N, 3]"),
    ("ctc(x, y, target_lengths=y)", "E0404", "there has to be one length for each of the N sequences, not i64[N, 3]"),
    ("ctc(x, y, lengths=x)", "E0404", "lengths are whole numbers, i32 or i64, not f32[N, 6, 5]"),
]


@pytest.mark.parametrize(("loss", "code", "title"), MISTAKES)
def test_mistakes(loss: str, code: str, title: str) -> None:
    text = f"train net(x: f32[N, 6, 5], y: i64[N, 3], n: i64[N]) {{ minimize {loss} with sgd(0.1) }}"
    with pytest.raises(DiagnosticError) as caught:
        compiler.check(Source("test.dl", text))
    (found, *_) = caught.value.diagnostics
    assert found.code == code
    assert found.title == title
