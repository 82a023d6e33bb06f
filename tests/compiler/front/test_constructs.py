"""What the constructs of the language compute, where no other file of this folder has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dlc
from compiler import Checked
from compiler.diagnostics import DiagnosticError

Check = Callable[..., Checked]
X = np.arange(24, dtype=np.float32).reshape(2, 4, 3) - 7


def computed(body: str) -> np.ndarray:  # type: ignore[type-arg]
    """What a model of [N, T, 3], with T at least 3, gives for X."""
    model = dlc.loads(f"model Net(x: f32[N, 3 <= T, 3]) {{\n{body}\n}}")
    return np.asarray(model.predict(X))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("x[0]", X[0]),
        ("x[-1, 2]", X[-1, 2]),
        ("x[:, -1]", X[:, -1]),
        ("x[:, 1:]", X[:, 1:]),
        ("x[:, :-1]", X[:, :-1]),
        ("x[:, -2:]", X[:, -2:]),
        ("x[:, ::2]", X[:, ::2]),
        ("x[:, 1::2, 2]", X[:, 1::2, 2]),
        ("x[:, x.shape[1] - 1]", X[:, -1]),
        ("x[:, :x.shape[1] // 2]", X[:, :2]),
        ("x * x.shape[-1] + x.shape[1]", X * 3 + 4),
        ("x ** 2 % 5", X**2 % 5),
        ("x @ transpose(x)", X @ X.transpose(0, 2, 1)),
        ("x * (7 // 2) + 7 % 4 - 2 ** 3", X * 3 + 3 - 8),
        ("x * (-7 // 2)", X * -4),
        ("select(x > 1 or not (x > -5 and x != 0), x, 0.0)", np.where((X > 1) | ~((X > -5) & (X != 0)), X, 0)),
        ("x -> (relu if 2 > 1 else tanh)", np.maximum(X, 0)),
        ("relu if 1 > 2 else square", X**2),
        ("x * 2 if not (1 == 2 and 1 < 2) else x", X * 2),
        ("x * 2 if 1 != 2 or 1 / 0 > 1 else x", X * 2),
        (
            "repeat 2 as i {\n repeat 2 as k { residual { it * i } }\n if i == 0 { it + 1 } else { it - 1 }\n}",
            (X + 1) * 4 - 1,
        ),
        ("y = x\nrepeat 3 { y = y + x }\ny", X * 4),
        ("a, rest = (x, (it * 2, it * 3))\nb, c = rest\na + b * c", X + X * 2 * X * 3),
        ("pair = (x, it * 2)\npair[1] - pair[0]", X),
        ("repeat [1, 2] + [3] as k { it * k }", X * 6),
        ("repeat [(1, 2), (3, 4)] as row { it * row[0] + row[1] }", (X * 1 + 2) * 3 + 4),
        ("relu = it * 3\nrelu", X * 3),
        ("N = 2\nx * N", X * 2),
    ],
)
def test_bodies(body: str, expected: np.ndarray) -> None:  # type: ignore[type-arg]
    np.testing.assert_allclose(computed(body), expected, rtol=1e-6)


def test_models_call_models_and_share_their_weights() -> None:
    model = dlc.loads(
        """
        model Encoder(x: f32[N, 4]) -> f32[N, 2] { dense(2) }
        model Distance(left: f32[N, 4], right: f32[N, 4]) -> f32[N] { sum(square(Encoder(left) - Encoder(right)), 1) }
        model Twice(left: f32[N, 4], right: f32[N, 4]) -> f32[N] { 2 * Distance(left, right) }
        """,
        model="Twice",
    )
    assert set(model.weights) == {"Encoder.dense.weight", "Encoder.dense.bias"}
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 5, 4)).astype(np.float32)
    between = (left - right) @ model.weights["Encoder.dense.weight"]
    np.testing.assert_allclose(
        model.predict({"left": left, "right": right}), 2 * (between**2).sum(1), rtol=1e-4, atol=1e-6
    )


def test_results_by_name_in_the_exported_file_too(tmp_path: Path) -> None:
    model = dlc.loads(
        "model Net(x: f32[N, 3], y: f32[N, 3]) -> (larger: f32[N, 3], both: f32[N]) { (maximum(x, y), sum(x + y, 1)) }"
    )
    x, y = X[:, 0], X[:, 1] * -1
    expected = {"larger": np.maximum(x, y), "both": (x + y).sum(1)}
    model.export(tmp_path / "net.onnx")
    for found in (model.predict({"x": x, "y": y}), dlc.InferenceSession(tmp_path / "net.onnx").run({"x": x, "y": y})):
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-6)


KINDS = {
    "whole": ("8", "9", 9, "2.5"),
    "real": ("0.5", "2", 2, "true"),
    "share": ("20%", "35%", 0.35, '"35%"'),
    "truth": ("true", "1 == 2", False, "0"),
    "text": ('"a"', '"b c"', "b c", "3"),
    "list": ("[1, 2]", "[3, 4, 5]", (3, 4, 5), "3"),
    "rows": ("[(1, 0.5)]", "[(2, 0.1), (3, 0.2)]", ((2, 0.1), (3, 0.2)), "true"),
    "texts": ('["a"]', '["b", "c"]', ("b", "c"), '"b"'),
}


@pytest.mark.parametrize("kind", KINDS)
def test_set_takes_each_kind_and_no_other(check: Check, kind: str) -> None:
    written, given, value, wrong = KINDS[kind]
    text = f"const x = {written}\nmodel Net(a: f32[N, 4]) {{ relu }}"
    assert check(text, x=given).elaborated.constants == {"x": value}
    with pytest.raises(DiagnosticError) as caught:
        check(text, x=wrong)
    assert [found.code for found in caught.value.diagnostics] == ["E0502"]


def test_old_weights_fit_a_network_that_grew_around_them(tmp_path: Path) -> None:
    before = dlc.loads("model Net(x: f32[N, 4]) -> f32[N, 2] {\n body: dense(8) -> relu\n head: dense(2)\n}")
    before.save(tmp_path / "old.safetensors")
    after = dlc.loads(
        "model Net(x: f32[N, 4]) -> f32[N, 2] {\n it * 2 -> dropout(0.1)\n body: dense(8) -> relu\n"
        " residual { it * 0 }\n head: dropout(0.5) -> dense(2)\n}"
    )
    after.load_weights(tmp_path / "old.safetensors")
    x = X[:, 0, :1] * np.ones(4, np.float32)
    np.testing.assert_array_equal(after.predict(x), before.predict(2 * x))
    assert list(after.weights) == list(before.weights)
