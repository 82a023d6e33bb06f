"""Groups of elementwise operations."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Role
from compiler.ir.types import DType, TensorType
from compiler.ir.verify import verify
from compiler.ops import Emit
from compiler.ops.base import Array
from compiler.ops.chain import LARGE, ElementwiseChain
from compiler.passes.check import check_same_results
from compiler.passes.fuse_elementwise import FuseElementwise
from compiler.targets.numpy import generate

F32 = DType.F32
N = symbol("N")
WIDE = TensorType(F32, (1025, 1024))
SCALAR = TensorType(F32)


def groups(graph: Graph) -> list[list[str]]:
    """The opcodes of each group's steps."""
    return [
        [step.operation.opcode for step in node.operation.steps]
        for node in graph.nodes
        if isinstance(node.operation, ElementwiseChain)
    ]


def test_text_before_and_after(graphs) -> None:
    before = """
        data %g: f32[1025, 1024]
        weight %w: f32[1025, 1024]
        state %v: f32[1025, 1024]
        %momentum: f32[] = constant() {array=f32[](0.9)}
        %a: f32[1025, 1024] = mul(%v, %momentum)
        %velocity: f32[1025, 1024] = add(%a, %g)
        %rate: f32[] = constant() {array=f32[](0.01)}
        %b: f32[1025, 1024] = mul(%velocity, %rate)
        %next: f32[1025, 1024] = sub(%w, %b)
        update %w=%next
        update %v=%velocity
    """
    after = """
        data %g: f32[1025, 1024]
        weight %w: f32[1025, 1024]
        state %v: f32[1025, 1024]
        %momentum: f32[] = constant() {array=f32[](0.9)}
        %velocity: f32[1025, 1024] = elementwise_chain(%v, %momentum, %g)
            {steps=[[@mul, [0, 1]], [@add, [3, 2]]]}
        %rate: f32[] = constant() {array=f32[](0.01)}
        %next: f32[1025, 1024] = elementwise_chain(%velocity, %rate, %w)
            {steps=[[@mul, [0, 1]], [@sub, [2, 3]]]}
        update %w=%next
        update %v=%velocity
    """
    assert graphs.same_text(graphs.applied(FuseElementwise(), graphs.read(before)), after)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda b, x, s: b.exp(b.neg(b.abs(x))), [["abs", "neg", "exp"]]),
        # Steps on scalars go with what reads them.
        (lambda b, x, s: b.mul(x, b.sqrt(b.add(s, 1))), [["add", "sqrt", "mul"]]),
        (lambda b, x, s: b.select(b.greater(x, s), b.exp(x), b.sin(x)), [["greater", "exp", "sin", "select"]]),
        (lambda b, x, s: b.cast(b.square(b.cast(x, DType.F64)), F32), [["cast", "square", "cast"]]),
        # What two read is computed once, and so ends a group, unless both are in one.
        (lambda b, x, s: b.mul(e := b.exp(b.neg(x)), b.cos(e)), [["neg", "exp", "cos", "mul"]]),
        (lambda b, x, s: b.div(b.cos(e := b.exp(b.neg(x))), b.sum(e)), [["neg", "exp"], ["cos", "div"]]),
        # Views, reductions and products stand between groups.
        (lambda b, x, s: b.exp(b.neg(b.reshape(b.sin(b.cos(x)), (1024, 1025)))), [["cos", "sin"], ["neg", "exp"]]),
        # A group of one is none.
        (lambda b, x, s: b.exp(x), []),
        # Too small, or perhaps too small, to be worth it.
        (lambda b, x, s: b.exp(b.neg(s)), []),
        (lambda b, x, s: b.exp(b.neg(b.slice(x, (0, 0), (1025, 1000)))), []),
        # Operands that are repeated, or not in the order of their elements, are not walked through part by part.
        (lambda b, x, s: b.exp(b.add(x, b.sum(x, (0,)))), []),
        (lambda b, x, s: b.exp(b.add(b.transpose(x, (1, 0)), s)), []),
        (lambda b, x, s: b.exp(b.add(b.expand(s, (1025, 1024)), x)), []),
    ],
)  # fmt: skip
def test_groups(graphs, make, expected: list[list[str]]) -> None:
    assert groups(graphs.applied(FuseElementwise(), graphs.built(make, WIDE, SCALAR))) == expected


def test_sizes_that_are_not_known_to_be_large(graphs) -> None:
    small = graphs.built(lambda b, x: b.exp(b.neg(x)), TensorType(F32, (N, 64)))
    assert FuseElementwise().apply(small) is small
    large = graphs.built(lambda b, x: b.exp(b.neg(x)), TensorType(F32, (N, LARGE + 1)))
    assert groups(FuseElementwise().apply(large)) == [["neg", "exp"]]


def test_results_of_the_graph_end_groups(graphs) -> None:
    b = Emit("g")
    x = b.input("x", WIDE)
    power = b.exp(b.neg(x))
    b.output("power", power)
    b.output("y", b.sin(b.sqrt(power)))
    assert groups(graphs.applied(FuseElementwise(), b.finish())) == [["neg", "exp"], ["sqrt", "sin"]]


def test_groups_are_bounded(graphs) -> None:
    def many(b: Emit, x: Any) -> Any:
        for _ in range(100):
            x = b.sin(x)
        return x

    graph = FuseElementwise().apply(graphs.built(many, WIDE))
    assert [len(steps) for steps in groups(graph)] == [4, 48, 48]


STEPS = (
    lambda b, x, y: b.add(x, y),
    lambda b, x, y: b.mul(x, b.tanh(y)),
    lambda b, x, y: b.sub(1, x),
    lambda b, x, y: b.exp(b.neg(b.abs(x))),
    lambda b, x, y: b.select(b.less(x, y), x, y),
    lambda b, x, y: b.add(x, b.mean(y)),
    lambda b, x, y: b.mul(x, b.mean(y, (0,))),
    lambda b, x, y: b.reshape(b.transpose(x, (1, 0)), (N, 3)),
    lambda b, x, y: b.cast(b.mask(b.cast(x, DType.F64), b.greater(y, 0.5)), F32),
)


@given(st.lists(st.tuples(st.integers(0, len(STEPS) - 1), st.integers(0, 9), st.integers(0, 9), st.booleans())))
@settings(max_examples=60)
def test_random_groups_keep_results(steps: list[tuple[int, int, int, bool]]) -> None:
    b = Emit("random")
    values = [b.input(name, TensorType(F32, (N, 3))) for name in ("x", "y")]
    for index, (step, first, second, named) in enumerate(steps):
        values.append(STEPS[step](b, values[-1 - first % len(values)], values[-1 - second % len(values)]))
        if named:
            b.output(f"y{index}", values[-1])
    b.output("last", values[-1])
    before = b.finish()
    with patch("compiler.passes.fuse_elementwise.LARGE", 0):
        after = FuseElementwise().apply(before)
    verify(after)
    check_same_results("fuse-elementwise", before, after)
    assert [node.output.name for node in after.nodes] == [
        node.output.name for node in before.nodes if node.output.name in {value.name for value in after.values()}
    ]
    assert all(len(group) > 1 for group in groups(after))


def test_the_program_computes_the_same(graphs) -> None:
    """What the groups are for: the NumPy program walks through them part by part."""
    b = Emit("step")
    gradient = b.input("gradient", WIDE)
    weight, moment = b.input("weight", WIDE, Role.WEIGHT), b.input("moment", WIDE, Role.STATE)
    mean = b.add(b.mul(moment, 0.9), b.mul(gradient, 0.1))
    b.output("weight", b.sub(weight, b.div(mean, b.add(b.sqrt(b.square(gradient)), 1e-3))), updates="weight")
    b.output("moment", mean, updates="moment")
    before = b.finish()
    after = graphs.applied(FuseElementwise(), before)
    assert len(groups(after)) == 2
    for name in ("weight", "moment"):
        np.testing.assert_array_equal(_run(after)[name], _run(before)[name])


def _run(graph: Graph) -> dict[str, Array]:
    """The weights and state after one call of the generated program."""
    rng = np.random.default_rng(0)
    gradient, weight, moment = (rng.standard_normal((1025, 1024)).astype(np.float32) for _ in range(3))
    kept = {"weight": weight, "moment": moment}
    module: dict[str, Any] = {}
    exec(generate([graph]), module)
    module["bind_step"](kept)(gradient)
    return kept
