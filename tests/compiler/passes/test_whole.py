"""Random graphs through the whole pipeline: what they compute stays the same, and the work stays in proportion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Role, Value
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.passes.autodiff import Gradient
from compiler.passes.base import Pass
from compiler.passes.check import check_same_results
from compiler.passes.order import COMMON, NUMPY, ONNX, TRAIN
from compiler.passes.pipeline import Pipeline

F32 = DType.F32
N = symbol("N")
# Values are of one of these shapes, so that every two of one type fit together.
WIDE = TensorType(F32, (N, 6))

UNARY: tuple[Callable[[Emit, Value], Value], ...] = (
    lambda b, x: b.neg(x),
    lambda b, x: b.tanh(x),
    lambda b, x: b.sigmoid(x),
    lambda b, x: b.relu(x),
    lambda b, x: b.abs(x),
    lambda b, x: b.square(b.tanh(x)),
    lambda b, x: b.exp(b.minimum(x, 3.0)),
    lambda b, x: b.log(b.add(b.abs(x), 0.5)),
    lambda b, x: b.sqrt(b.add(b.square(x), 0.25)),
    lambda b, x: b.softmax(x, 1),
    lambda b, x: b.log(b.softmax(x, 1)),
    lambda b, x: b.div(b.exp(b.tanh(x)), b.sum(b.exp(b.tanh(x)), (1,), keepdims=True)),
    lambda b, x: b.log(b.sub(1, b.sigmoid(b.tanh(x)))),
    lambda b, x: b.div(1, b.add(1, b.exp(b.neg(b.tanh(x))))),
    lambda b, x: b.stop_gradient(x),
    lambda b, x: b.reshape(b.transpose(b.reshape(x, (N, 2, 3)), (0, 2, 1)), (N, 6)),
    lambda b, x: b.transpose(b.transpose(x, (1, 0)), (1, 0)),
    lambda b, x: b.reshape(b.reshape(x, (N, 3, 2)), (N, 6)),
    lambda b, x: b.slice(b.pad(x, (0, 1), (0, 2)), (0, 2), (N, 8)),
    lambda b, x: b.concat([b.slice(x, (0, 3), (N, 6)), b.slice(x, (0, 0), (N, 3))], 1),
    lambda b, x: b.expand(b.mean(x, (1,), keepdims=True), (N, 6)),
    lambda b, x: b.expand(b.max(x), (N, 6)),
    lambda b, x: b.cast(b.cast(x, DType.F64), F32),
    lambda b, x: b.mul(x, b.cast(b.greater(x, 0.25), F32)),
    lambda b, x: b.pow(b.add(b.abs(x), 0.5), 2.0),
    lambda b, x: b.gather(x, b.constant(np.array([5, 0, 0, 3, 2, 1])), 1),
)
BINARY: tuple[Callable[[Emit, Value, Value], Value], ...] = (
    lambda b, x, y: b.add(x, y),
    lambda b, x, y: b.sub(x, y),
    lambda b, x, y: b.mul(b.tanh(x), y),
    lambda b, x, y: b.div(x, b.add(b.square(y), 1)),
    lambda b, x, y: b.maximum(x, y),
    lambda b, x, y: b.minimum(x, b.mean(y, (0,))),
    lambda b, x, y: b.select(b.less(x, y), x, b.mul(y, 0.5)),
    lambda b, x, y: b.add(x, b.expand(b.sum(b.tanh(y), (1,), keepdims=True), (N, 6))),
)
SCALED: tuple[Callable[[Emit, Value, float], Value], ...] = (
    lambda b, x, c: b.add(x, c),
    lambda b, x, c: b.sub(c, x),
    lambda b, x, c: b.mul(c, x),
    lambda b, x, c: b.div(x, c) if c else b.mul(x, c),
    lambda b, x, c: b.maximum(x, c),
)

Steps = list[tuple[int, int, int, float]]
STEPS: st.SearchStrategy[Steps] = st.lists(
    st.tuples(
        st.integers(0, len(UNARY) + len(BINARY) + len(SCALED) + 1),
        st.integers(0, 100),
        st.integers(0, 100),
        st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.5, -3.0]),
    ),
    min_size=1,
    max_size=12,
)


def random_graph(steps: Steps) -> Graph:
    """A net of the given steps: each an operation and the values that it is applied to."""
    b = Emit("random")
    values = [b.input("x", WIDE), b.input("z", WIDE)]
    w = b.input("w", TensorType(F32, (6, 6)), Role.WEIGHT)
    row = b.input("row", TensorType(F32, (6,)), Role.WEIGHT)
    for choice, first, second, number in steps:
        x, y = values[first % len(values)], values[second % len(values)]
        if choice < len(UNARY):
            values.append(UNARY[choice](b, x))
        elif (choice := choice - len(UNARY)) < len(BINARY):
            values.append(BINARY[choice](b, x, y))
        elif (choice := choice - len(BINARY)) < len(SCALED):
            values.append(SCALED[choice](b, x, number))
        else:
            # Kept small, so that a tower of products does not leave the range in which they can be compared.
            linear = b.add(b.matmul(b.tanh(x), w), row)
            values.append(b.tanh(linear) if choice == len(SCALED) else linear)
    b.output("last", values[-1])
    b.output("loss", b.mean(b.tanh(values[-1])))
    return b.finish()


@given(STEPS)
@settings(max_examples=60)
def test_random_graphs_keep_their_results(steps: Steps) -> None:
    """Each pass that claims to be exact is compared with what was before it, and the whole with the beginning."""
    graph = random_graph(steps)
    passes: list[Pass] = [*COMMON, Gradient("loss", ("w", "row")), *TRAIN, *NUMPY]
    after = Pipeline(passes, check=True).run(graph)
    check_same_results("the whole pipeline", graph, after)
    check_same_results("the way to ONNX", graph, Pipeline((*COMMON, *ONNX), check=True).run(graph))


@given(STEPS)
@settings(max_examples=40)
def test_a_second_run_finds_nothing_to_do(steps: Steps) -> None:
    first = Pipeline(COMMON).run(random_graph(steps))
    changed: list[str] = []

    def observe(name: str, before: Graph, after: Graph, seconds: float) -> None:
        if [node.operation for node in before.nodes] != [node.operation for node in after.nodes]:
            changed.append(name)

    Pipeline(COMMON, observe).run(first)
    assert changed == []


def chain(length: int) -> Graph:
    """A net with work for every pass at each of its layers."""
    b = Emit("long")
    x = b.input("x", TensorType(F32, (N, 8)))
    w = b.input("w", TensorType(F32, (8, 8)), Role.WEIGHT)
    while len(b.nodes) < length:
        y = b.tanh(b.add(b.matmul(x, w), 1))
        y = b.mul(y, b.sub(1, y))
        y = b.reshape(b.reshape(y, (N, 2, 4)), (N, 8))
        x = b.add(b.neg(b.neg(y)), b.mul(x, 1.0))
    b.output("loss", b.mean(x))
    return b.finish()


@pytest.mark.parametrize(
    "link",
    [
        lambda b, x: b.neg(x),
        lambda b, x: b.reshape(x, (N, 2, 4) if x.type.rank == 2 else (N, 8)),
        lambda b, x: b.add(x, 0),
        lambda b, x: b.transpose(b.transpose(x, (1, 0)), (1, 0)),
    ],
    ids=["neg", "reshape", "add", "transpose"],
)
def test_long_chains_are_rewritten_in_one_go(
    link: Callable[[Emit, Value], Value], work: Callable[[Callable[[], object]], int]
) -> None:
    def calls(length: int) -> int:
        b = Emit("chain")
        x = value = b.input("x", TensorType(F32, (N, 8)))
        for _ in range(length):
            value = link(b, value)
        b.output("y", value)
        after: list[Graph] = []
        found = work(lambda: after.append(Pipeline(COMMON).run(b.finish())))
        assert after[0].nodes == ()
        assert after[0].output("y").name == x.name
        return found

    # Ten times the links: were the chain walked through for each of them, it would be a hundred times the work.
    assert calls(5000) < 15 * calls(500)


def test_the_work_is_in_proportion_to_the_graph(work: Callable[[Callable[[], object]], int]) -> None:
    def calls(length: int) -> int:
        graph = chain(length)
        return work(lambda: Pipeline((*COMMON, Gradient("loss", ("w",)), *TRAIN, *NUMPY)).run(graph))

    calls(100)
    # Eight times the nodes: a quadratic pass would take 64 times the calls.
    assert calls(2800) < 12 * calls(350)
