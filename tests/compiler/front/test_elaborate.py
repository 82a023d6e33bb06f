"""What stages, calls and train blocks mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler import Checked
from compiler.diagnostics import DiagnosticError
from compiler.ops.interpret import interpret_outputs

Check = Callable[..., Checked]


def run(checked: Checked, *arrays: object, model: str = "Net") -> np.ndarray:  # type: ignore[type-arg]
    """The result of a model without weights for arrays in the order of its inputs."""
    graph = checked.elaborated.models[model].graph
    inputs = {
        item.name: np.asarray(array, item.value.type.dtype.numpy)
        for item, array in zip(graph.inputs, arrays, strict=True)
    }
    (result,) = interpret_outputs(graph, inputs).values()
    return result


X = np.array([[1.0, -2.0], [3.0, 0.5]])
Y = np.array([[0.5, 4.0], [-1.0, 2.0]])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a -> maximum(b)", np.maximum(X, Y)),
        ("(a, b) -> maximum", np.maximum(X, Y)),
        ("maximum(a, b)", np.maximum(X, Y)),
        ("maximum(b)", np.maximum(X, Y)),
        ("relu", np.maximum(X, 0)),
        ("relu\n-> square", np.maximum(X, 0) ** 2),
        ("relu(b)", np.maximum(Y, 0)),
        ("b -> relu", np.maximum(Y, 0)),
        ("h = relu\nh + a", np.maximum(X, 0) + X),
        ("b -> relu() / 2 -> it + 1 -> square", (np.maximum(Y, 0) / 2 + 1) ** 2),
        ("h = b -> relu() / 2\nh", np.maximum(Y, 0) / 2),
        ("h = b -> relu\nit + h", X + np.maximum(Y, 0)),
        ("-a + 2 * b - 1", -X + 2 * Y - 1),
        ("a / 2 ** 2", X / 4),
        ("(a - b) ** 2", (X - Y) ** 2),
        ("a @ transpose(b)", X @ Y.T),
        ("select(a > b, a, 0.0)", np.where(X > Y, X, 0)),
        ("a * 2 if 3 > 2 else b", X * 2),
        ("residual { b -> relu }", X + np.maximum(Y, 0)),
        ("repeat 3 { it * 2 }", X * 8),
        ("repeat 3 as i { it + i }", X + 3),
        ("if 1 == 2 { relu } else { square }", X**2),
        ("a[:, 0]", X[:, 0]),
        ("a[:, -1:] * 2", X[:, -1:] * 2),
        ("a * a.shape[1]", X * 2),
        ("mean(a, 1, keep=true)", X.mean(1, keepdims=True)),
        ("concat(a, b, axis=1)", np.concatenate([X, Y], 1)),
        ("f, g = (a, b)\nf - g", X - Y),
    ],
)
def test_stages(check: Check, body: str, expected: np.ndarray) -> None:  # type: ignore[type-arg]
    checked = check("model Net(a: f32[N, 2], b: f32[N, 2]) {\n" + body + "\n}")
    np.testing.assert_allclose(run(checked, X, Y), expected.astype(np.float32), rtol=1e-6)


def test_blocks_bind_sizes_and_take_defaults_and_keywords(check: Check) -> None:
    checked = check("""
        block Scale(x: [N, D], factor=2, offset=D) { x * factor + offset }
        model Net(a: f32[N, 2], b: f32[N, 2]) { Scale(a) + Scale(b, offset=1, factor=3) }
    """)
    np.testing.assert_allclose(run(checked, X, Y), (X * 2 + 2) + (Y * 3 + 1), rtol=1e-6)


def test_constants_are_computed_in_any_order_and_can_be_set(check: Check) -> None:
    text = """
        const half = width // 2
        const width = 8
        model Net(x: f32[N, 4]) -> f32[N, half] { dense(half) }
    """
    assert check(text).elaborated.constants == {"half": 4, "width": 8}
    assert check(text, width="2 * 10").elaborated.constants == {"half": 10, "width": 20}


def test_a_set_constant_keeps_its_kind(check: Check) -> None:
    with pytest.raises(DiagnosticError, match=r"--set width=2\.5: width is the number 8 in the file") as caught:
        check("const width = 8\nmodel Net(x: f32[N, 4]) { dense(width) }", width="2.5")
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E0502"]


def test_setting_an_unknown_constant(check: Check) -> None:
    with pytest.raises(DiagnosticError, match="did you mean width"):
        check("const width = 8\nmodel Net(x: f32[N, 4]) { dense(width) }", wdith="4")


def test_dropout_is_gone_outside_training(check: Check) -> None:
    checked = check("""
        model Net(x: f32[N, 4]) -> f32[N, 4] { dropout(0.5) }
        model Other(x: f32[N, 4]) -> f32[N, 4] { dense(4) -> Net }
        train net(x: f32[N, 4]) { minimize mean(Other(x)) with sgd(0.1) }
    """)
    (train,) = checked.elaborated.trains.values()
    assert checked.elaborated.models["Net"].graph.nodes == ()

    def random_nodes(graph: object) -> int:
        return sum("random" in node.operation.opcode for node in graph.nodes)  # type: ignore[attr-defined]

    assert random_nodes(train.losses[0].graph) == 1
    assert random_nodes(train.evaluate) == 0


def test_one_minimize_statement_changes_what_it_names(check: Check) -> None:
    checked = check("""
        model G(z: f32[N, 2]) -> f32[N, 2] { dense(2) }
        model C(x: f32[N, 2]) -> f32[N, 1] { dense(4) -> relu -> dense(1) }
        train gan(x: f32[N, 2]) {
            fake = normal(N, 2) -> G
            minimize bce(C(x), 1) + bce(C(stop_gradient(fake)), 0) over C with adam(2e-4, beta1=0.5)
            minimize bce(C(fake), 1) over G with adam(2e-4, beta1=0.5)
        }
    """)
    train = checked.elaborated.trains["gan"]
    assert [{name.split(".")[0] for name in loss.over} for loss in train.losses] == [{"C"}, {"G"}]
    assert train.models == ("G", "C")


def test_frozen_weights_are_not_changed(check: Check) -> None:
    checked = check("""
        model Net(x: f32[N, 2]) -> f32[N, 1] {
            body: dense(4) -> relu
            head: dense(1)
        }
        train net(x: f32[N, 2], y: f32[N, 1]) {
            freeze Net.body
            minimize mse(Net(x), y) with sgd(0.1)
        }
    """)
    assert checked.elaborated.trains["net"].losses[0].over == ("Net.head.dense.weight", "Net.head.dense.bias")


def test_unused_names_are_warned_about(check: Check) -> None:
    checked = check("model Net(x: f32[N, 2], y: f32[N, 2]) {\n h = relu(x)\n x -> square\n}")
    assert [warning.title for warning in checked.warnings] == ["y is never used", "h is never used"]


def test_stages_of_a_model(check: Check) -> None:
    checked = check("""
        model Net(x: f32[N, 8]) -> f32[N, 4] {
            hidden: dense(16) -> relu
            dense(4)
        }
    """)
    rows = checked.elaborated.models["Net"].stages
    assert [(row.path, row.text, *map(str, row.outputs), str(row.macs), len(row.weights)) for row in rows] == [
        ("Net.hidden", "dense(16) -> relu", "f32[N, 16]", "128*N", 2),
        ("Net", "dense(4)", "f32[N, 4]", "64*N", 2),
    ]
