"""The steps of small weights as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from compiler.ir.graph import Graph, Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, Step, WeightStep
from compiler.ops.elementwise import Add, Multiply, Subtract
from compiler.passes.join_steps import JoinSteps
from compiler.targets.numpy import generate

MOMENTUM = WeightStep(
    5, (Step(Multiply(), (2, 4)), Step(Add(), (5, 1)), Step(Multiply(), (6, 3)), Step(Subtract(), (0, 7))), (1, 3)
)


def training(sizes: Iterable[int], given: bool = False) -> Graph:
    """A step with momentum of vectors of these sizes, whose gradients are made of ``x``, or are ``given``."""
    b = Emit("step")
    x = b.input("x", TensorType(DType.F32))
    rate, keep = b.scalar(0.1, DType.F32), b.scalar(0.5, DType.F32)
    for number, size in enumerate(sizes):
        type = TensorType(DType.F32, (size,))
        weight = b.input(f"w{number}", type, Role.WEIGHT)
        slot = b.input(f"w{number}.slot", type, Role.STATE)
        gradient = b.input(f"g{number}", type) if given else b.mul(b.square(weight), x)
        velocity, after = b.add_node(MOMENTUM, (weight, gradient, slot, rate, keep))
        b.output(f"w{number}", after, updates=f"w{number}")
        b.output(f"w{number}.slot", velocity, updates=f"w{number}.slot")
    return b.finish()


def counts(graph: Graph) -> list[int]:
    return [node.operation.count for node in graph.nodes if node.operation.opcode == "joint_step"]


def test_weights_that_are_treated_alike_are_joined_up_to_a_size(graphs) -> None:
    after = graphs.applied(JoinSteps(most=10), training([4, 5, 7, 2, 11, 1]))
    assert counts(after) == [2, 3]
    # The one that is too large stays, where it stood.
    assert [node.operation.opcode for node in after.nodes].count("weight_step") == 1


@pytest.mark.parametrize("sizes", [[4], [11, 12]])
def test_what_is_left_alone(sizes: list[int]) -> None:
    graph = training(sizes)
    assert JoinSteps(most=10).apply(graph) is graph


def test_what_is_read_before_the_last_one_is_left_alone(graphs) -> None:
    b = Emit("step")
    scalars = tuple(b.scalar(value, DType.F32) for value in (0.1, 0.5))
    type = TensorType(DType.F32, (3,))
    results = []
    for number in range(3):
        weight = b.input(f"w{number}", type, Role.WEIGHT)
        gradient = b.square(results[0] if number == 2 else weight)
        results.append(b.add_node(MOMENTUM, (weight, gradient, weight, *scalars))[1])
    for number, value in enumerate(results):
        b.output(f"w{number}", value, updates=f"w{number}")
    assert counts(graphs.applied(JoinSteps(), b.finish())) == [2]


def run(graph: Graph, kept: dict[str, Any], **data: Any) -> dict[str, Any]:
    module: dict[str, Any] = {}
    exec(generate([graph]), module)
    bound = module["bind_step"](kept)
    for _ in range(3):
        bound(**data)
    return kept


def fresh(graph: Graph) -> dict[str, Any]:
    random = np.random.default_rng(0)
    kept = {item.name: item.value.type.shape for item in graph.inputs if item.role is not Role.DATA}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in kept.items()}


def in_rows(kept: dict[str, Any], rows: Iterable[Iterable[str]]) -> dict[str, Any]:
    """Copies, of which those with the names in a row lie one behind the other."""
    found = dict(kept)
    for names in rows:
        memory = np.concatenate([kept[name] for name in names])
        ends = np.cumsum([kept[name].size for name in names])
        found.update(zip(names, np.split(memory, ends[:-1]), strict=True))
    return found


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(
    "rows",
    [
        [],
        [["w0", "w1", "w2"], ["w0.slot", "w1.slot", "w2.slot"]],
        # Together in one group, and not in the other.
        [["w0", "w1", "w2"]],
        [["w0", "w1"], ["w0.slot", "w1.slot", "w2.slot"]],
        [["w2", "w1", "w0"], ["w0.slot", "w1.slot", "w2.slot"]],
    ],
)
def test_the_bits_are_the_same_wherever_the_arrays_lie(rows: list[list[str]], given: bool) -> None:
    graph = training([4, 5, 7], given)
    data: dict[str, Any] = {"x": np.array(0.5, np.float32)}
    if given:
        data |= {f"g{number}": np.full(size, 0.25, np.float32) for number, size in enumerate([4, 5, 7])}
    expected = run(graph, fresh(graph), **data)
    joined = JoinSteps().apply(graph)
    assert counts(joined) == [3]
    found = run(joined, in_rows(fresh(graph), rows), **data)
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }


@pytest.mark.parametrize(("together", "calls"), [(True, 1), (False, 3)])
def test_what_lies_together_is_one_call(together: bool, calls: int) -> None:
    graph = JoinSteps().apply(training([4, 5, 7]))
    module: dict[str, Any] = {}
    exec(generate([graph]), module)
    neighbours = module["SIGNATURES"]["step"]["neighbours"]
    assert neighbours == (("w0", "w1", "w2"), ("w0.slot", "w1.slot", "w2.slot"))
    made: list[int] = []
    update = module["update"]
    module["update"] = lambda weights, *others: (made.append(weights.size), update(weights, *others))
    module["bind_step"](in_rows(fresh(graph), neighbours) if together else fresh(graph))(np.array(0.5, np.float32))
    assert made == ([16] if together else [4, 5, 7])
    assert len(made) == calls


def test_gradients_are_made_one_behind_the_other() -> None:
    """Nothing is copied but what is given."""
    assert "np.copyto" not in generate([JoinSteps().apply(training([4, 5, 7]))])
    assert generate([JoinSteps().apply(training([4, 5, 7], given=True))]).count("np.copyto") == 3


def test_a_gradient_that_weights_have_in_common_is_there_for_each() -> None:
    b = Emit("step")
    x = b.input("x", TensorType(DType.F32, (3,)))
    gradient, scalars = b.square(x), tuple(b.scalar(1, DType.F32) for _ in range(2))
    for name in "vw":
        weight, slot = (b.input(f"{name}{end}", x.type, Role.WEIGHT) for end in ("", ".slot"))
        velocity, after = b.add_node(MOMENTUM, (weight, gradient, slot, *scalars))
        b.output(name, after, updates=name)
        b.output(f"{name}.slot", velocity, updates=f"{name}.slot")
    graph = JoinSteps().apply(b.finish())
    assert generate([graph]).count("np.copyto") == 1
    kept = run(graph, {name: np.zeros(3, np.float32) for name in ("v", "w", "v.slot", "w.slot")}, x=np.ones(3, "f4"))
    assert kept["v"].tolist() == kept["w"].tolist() == [-6.0] * 3
