"""An evaluation with one of its models taken out."""

from __future__ import annotations

import compiler
from compiler.diagnostics.source import Source
from compiler.ir.graph import Graph
from compiler.passes.cut import without_model
from compiler.program import EvaluationParts

TEXT = """
model Critic(x: f32[N, 3]) -> (score: f32[N, 1]) { dense(1) }
model Other(x: f32[N, 3]) -> f32[N, 3] { dense(3) }

train both(x: f32[N, 3], y: f32[N, 1]) {
    first = Critic(2 * x)
    second = x -> Other -> Critic
    third = Critic(x)
    minimize mse(first + second, y) + l2(Critic) with sgd(0.1)
}
"""


def parts(model: str, text: str = TEXT) -> EvaluationParts | None:
    elaborated = compiler.check(Source("both.dl", text)).elaborated
    train = elaborated.trains["both"]
    outputs = [output.name for output in elaborated.models[model].graph.outputs]
    return without_model(train.evaluate, [call for call in train.calls if call.model == model], outputs)


def opcodes(graph: Graph) -> list[str]:
    return [node.operation.opcode for node in graph.nodes]


def test_each_use_that_counts_is_a_part_of_its_own() -> None:
    found = parts("Critic")
    assert found is not None
    assert [call.graph.name for call in found.calls] == ["call0", "call1"]  # nothing depends on the third
    assert [call.results for call in found.calls] == [{"score": "call0.score"}, {"score": "call1.score"}]
    assert opcodes(found.calls[0].graph) == ["constant", "mul"]
    assert "matmul" in opcodes(found.calls[1].graph)  # the other model stays
    assert "matmul" not in opcodes(found.rest)
    assert {"call0.score", "call1.score"} <= {item.name for item in found.rest.inputs}


def test_a_use_takes_what_those_before_it_gave() -> None:
    found = parts("Other")
    assert found is not None
    assert len(found.calls) == 1
    assert [output.name for output in found.calls[0].graph.outputs] == ["x"]
    assert "call0.output" in {item.name for item in found.rest.inputs}


def test_a_model_that_the_evaluation_does_not_need() -> None:
    assert parts("Apart", TEXT + "model Apart(x: f32[N, 3]) -> f32[N, 3] { dense(3) }\n") is None
