"""The pipeline: order, verification, observation and the checking mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.elementwise import Subtract
from compiler.ops.unary import Exp
from compiler.passes.autodiff import Gradient
from compiler.passes.base import Pass
from compiler.passes.check import ChangedResults
from compiler.passes.cse import CommonSubexpressions
from compiler.passes.dead import DeadCode
from compiler.passes.order import COMMON, NUMPY, ONNX, TRAIN
from compiler.passes.pipeline import Pipeline, PipelineError
from compiler.passes.rewrite import Refusal
from compiler.passes.simplify import DropStopGradient, Simplify

TYPE = TensorType(DType.F32, (symbol("N"), 3))


def example() -> Graph:
    b = Emit("example")
    x = b.input("x", TYPE)
    b.output("kept", b.add(x, 1))
    b.output("y", b.mul(b.tanh(x), b.tanh(x)))
    return b.finish()


@dataclass(frozen=True)
class Rewired(Pass):
    """Does with the graph what it is told to: a pass that is wrong on purpose."""

    change: Callable[[Graph], Graph]

    name = "rewired"

    def apply(self, graph: Graph) -> Graph:
        return self.change(graph)


def last_node_is(graph: Graph, change: Callable[[Node], Node]) -> Graph:
    return replace(graph, nodes=(*graph.nodes[:-1], change(graph.nodes[-1])))


def test_passes_run_in_order_and_are_observed() -> None:
    seen = []

    def observe(name: str, before: Graph, after: Graph, seconds: float) -> None:
        seen.append((name, len(before.nodes), len(after.nodes)))
        assert seconds >= 0

    after = Pipeline((CommonSubexpressions(), Simplify(), DeadCode()), observe).run(example())
    assert seen == [("common-subexpressions", 5, 4), ("simplify", 4, 4), ("dead-code", 4, 4)]
    assert [node.operation.opcode for node in after.nodes] == ["constant", "add", "tanh", "square"]


def test_a_pass_that_changes_the_result_is_named() -> None:
    def exp_for_tanh(graph: Graph) -> Graph:
        nodes = (replace(node, operation=Exp()) if node.operation.opcode == "tanh" else node for node in graph.nodes)
        return replace(graph, nodes=tuple(nodes))

    passes = (CommonSubexpressions(), Rewired(exp_for_tanh), DeadCode())
    with pytest.raises(ChangedResults, match=r"pass rewired changed .* graph example .*: output y .*N=") as caught:
        Pipeline(passes, check=True).run(example())
    assert caught.value.step == "rewired"
    assert caught.value.output == "y"
    assert 0.5 < caught.value.difference < 1e6
    Pipeline(passes, check=False).run(example())


def test_a_pass_that_says_it_changes_results_is_not_compared() -> None:
    class Inexact(Rewired):
        exact = False

    def swapped(graph: Graph) -> Graph:
        first, second = graph.outputs
        return replace(graph, outputs=(replace(first, value=second.value), second))

    with pytest.raises(ChangedResults, match="output kept"):
        Pipeline((Rewired(swapped),), check=True).run(example())
    Pipeline((Inexact(swapped),), check=True).run(example())


def test_of_an_inexact_pass_the_exact_part_is_compared() -> None:
    class Partly(Rewired):
        exact = False

        def exact_part(self) -> Pass:
            return Rewired(wrong)

    def wrong(graph: Graph) -> Graph:
        return last_node_is(graph, lambda node: replace(node, operation=Subtract()))

    with pytest.raises(ChangedResults, match=r"pass rewired changed .* output y"):
        Pipeline((Partly(lambda graph: replace(graph, name="other")),), check=True).run(example())


def test_the_environment_asks_for_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, asked in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("DLC_CHECK", value)
        assert Pipeline(COMMON).check is asked
    monkeypatch.delenv("DLC_CHECK")
    assert not Pipeline(COMMON).check


def test_an_unsound_graph_is_laid_to_the_pass() -> None:
    def reversed_nodes(graph: Graph) -> Graph:
        return replace(graph, nodes=graph.nodes[::-1])

    with pytest.raises(PipelineError, match=r"pass rewired left an unsound graph.*read before it is made"):
        Pipeline((Rewired(reversed_nodes),)).run(example())


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: replace(graph, outputs=graph.outputs[:1]),
        lambda graph: replace(graph, outputs=graph.outputs[::-1]),
        lambda graph: replace(graph, outputs=(replace(graph.outputs[0], name="z"), *graph.outputs[1:])),
    ],
)
def test_a_pass_keeps_inputs_and_outputs(change: Callable[[Graph], Graph]) -> None:
    with pytest.raises(PipelineError, match="pass rewired changed the inputs or outputs of graph example"):
        Pipeline((Rewired(change),)).run(example())


def test_a_pass_that_needs_another_before_it() -> None:
    class Late(Rewired):
        after = ("simplify", "dead-code")

    late = Late(lambda graph: graph)
    Pipeline((DeadCode(), Simplify(), late))
    with pytest.raises(PipelineError, match="pass rewired has to come after simplify"):
        Pipeline((DeadCode(), late, Simplify()))


def test_a_pass_that_would_be_wrong_after_another() -> None:
    Pipeline((Gradient("kept", ()), DropStopGradient()))
    with pytest.raises(PipelineError, match="pass gradient must not come after drop-stop-gradient"):
        Pipeline((DropStopGradient(), DeadCode(), Gradient("kept", ())))


def test_reasons_are_told_to_the_tracer() -> None:
    told: list[Refusal] = []
    Pipeline((Simplify(),), tracer=told.append).run(example())
    reason = next(refusal for refusal in told if refusal.rule == "multiply-by-one")
    assert str(reason) == "multiply-by-one: not at %t4 = mul(%t2, %t3): %t3 is not 1"


def test_the_lists_can_follow_one_another() -> None:
    b = Emit("step")
    x = b.input("x", TYPE)
    b.output("loss", b.mean(b.square(b.stop_gradient(b.tanh(x)))))
    for rest in (NUMPY, ONNX):
        Pipeline((*COMMON, Gradient("loss", ("x",)), *TRAIN, *rest), check=True).run(b.finish())


def test_a_value_that_is_no_longer_made_is_found() -> None:
    def without_maker(graph: Graph) -> Graph:
        return last_node_is(graph, lambda node: replace(node, inputs=(Value("ghost", TYPE), *node.inputs[1:])))

    with pytest.raises(PipelineError, match="rewired"):
        Pipeline((Rewired(without_maker),)).run(example())


def test_equal_runs_of_a_pipeline_give_equal_graphs() -> None:
    first, second = (Pipeline(COMMON).run(example()) for _ in range(2))
    assert [node.operation for node in first.nodes] == [node.operation for node in second.nodes]
    assert [value.name for value in first.values()] == [value.name for value in second.values()]
    assert np.unique([value.name for value in first.values()]).size == len(list(first.values()))
