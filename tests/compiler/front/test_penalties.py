"""What functions of the catalogue take besides tensors: parts of models, and numbers in front of tensors."""

from __future__ import annotations

import numpy as np
import pytest

import compiler
from compiler.diagnostics import Source
from compiler.ops.interpret import interpret_outputs

MODEL = """
model Net(x: f32[N, 2]) -> f32[N, 1] {
    body: repeat 2 { dense(2) }
    head: dense(1)
}
"""


def penalised(term: str) -> set[str]:
    """The weights that a loss of nothing but ``term`` depends on."""
    text = f"{MODEL}\ntrain net(x: f32[N, 2]) {{ minimize {term} + 0 * mean(x) with sgd }}\n"
    checked = compiler.check(Source("net.dl", text))
    return set(checked.elaborated.trains["net"].losses[0].over)


@pytest.mark.parametrize(
    ("term", "weights"),
    [
        ("l2(Net)", {"Net.body.0.dense.weight", "Net.body.1.dense.weight", "Net.head.dense.weight"}),
        ("l2(Net.head)", {"Net.head.dense.weight"}),
        ("l1(Net.body)", {"Net.body.0.dense.weight", "Net.body.1.dense.weight"}),
        ("l1(Net.head.dense)", {"Net.head.dense.weight"}),
    ],
)
def test_a_penalty_takes_a_model_or_a_part_of_one(term: str, weights: set[str]) -> None:
    assert penalised(term) == weights


@pytest.mark.parametrize("stage", ["maximum(0, x)", "maximum(x, 0)", "x -> maximum(0)", "maximum(0)"])
def test_a_number_may_stand_on_either_side(stage: str) -> None:
    checked = compiler.check(Source("net.dl", f"model Net(x: f32[N, 2]) {{ {stage} }}"))
    graph = checked.elaborated.models["Net"].graph
    x = np.array([[-1.0, 2.0]], np.float32)
    (result,) = interpret_outputs(graph, {"x": x}).values()
    np.testing.assert_array_equal(result, [[0.0, 2.0]])
