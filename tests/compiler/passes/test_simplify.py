"""Algebraic identities: each rule where it fires and where it must not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.ir.dims import symbol
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.convert import Cast
from compiler.ops.reduce import Max
from compiler.ops.shape import Expand, Reshape, Transpose
from compiler.ops.slice import Pad, Slice
from compiler.passes.autodiff import NotDifferentiable, gradient
from compiler.passes.check import check_same_results
from compiler.passes.simplify import DropStopGradient, Simplify

BOOL, U8, I8, I32, I64 = DType.BOOL, DType.U8, DType.I8, DType.I32, DType.I64
F16, F32, F64 = DType.F16, DType.F32, DType.F64
N = symbol("N")
X = TensorType(F32, (N, 3))
ROW, COLUMN, SCALAR, CUBE = (TensorType(F32, shape) for shape in ((3,), (N, 1), (), (2, N, 3)))
TRUTH, WHOLE, BYTES = X.with_dtype(BOOL), X.with_dtype(I64), X.with_dtype(U8)


def ones(b: Emit, *shape: int) -> Any:
    return b.constant(np.ones(shape, np.float32))


def flag(b: Emit, value: bool) -> Any:
    return b.constant(np.array(value))


# The rule that is shown, the types of the inputs, a result, and what becomes of it.
FIRES = [
    ("add-zero", (X,), lambda b, x: b.add(x, 0), lambda b, x: x),
    ("add-zero", (X,), lambda b, x: b.add(b.scalar(0, F32), x), lambda b, x: x),
    ("add-zero", (ROW,), lambda b, x: b.add(x, b.expand(b.scalar(0, F32), (2, 3))), lambda b, x: b.expand(x, (2, 3))),
    ("subtract-zero", (WHOLE,), lambda b, x: b.sub(x, 0), lambda b, x: x),
    ("zero-minus", (X,), lambda b, x: b.sub(0, x), lambda b, x: b.neg(x)),
    ("subtract-itself", (WHOLE,), lambda b, x: b.sub(x, x), lambda b, x: b.expand(b.scalar(0, I64), (N, 3))),
    ("add-negative", (X, ROW), lambda b, x, y: b.add(x, b.neg(y)), lambda b, x, y: b.sub(x, y)),
    ("add-negative", (X, ROW), lambda b, x, y: b.add(b.neg(x), y), lambda b, x, y: b.sub(y, x)),
    ("subtract-negative", (X, ROW), lambda b, x, y: b.sub(x, b.neg(y)), lambda b, x, y: b.add(x, y)),
    ("negate-twice", (X,), lambda b, x: b.neg(b.neg(x)), lambda b, x: x),
    ("negate-difference", (X, ROW), lambda b, x, y: b.neg(b.sub(x, y)), lambda b, x, y: b.sub(y, x)),
    ("multiply-by-one", (X,), lambda b, x: b.mul(1, x), lambda b, x: x),
    ("multiply-by-one", (X,), lambda b, x: b.mul(x, ones(b, 2, 1, 3)), lambda b, x: b.expand(x, (2, N, 3))),
    ("multiply-by-minus-one", (X,), lambda b, x: b.mul(x, -1), lambda b, x: b.neg(x)),
    ("multiply-by-zero", (WHOLE,), lambda b, x: b.mul(x, 0), lambda b, x: b.expand(b.scalar(0, I64), (N, 3))),
    ("multiply-by-itself", (X,), lambda b, x: b.mul(x, x), lambda b, x: b.square(x)),
    ("multiply-by-reciprocal", (X, X), lambda b, x, y: b.mul(b.reciprocal(y), x), lambda b, x, y: b.div(x, y)),
    ("multiply-negatives", (X, X), lambda b, x, y: b.mul(b.neg(x), b.neg(y)), lambda b, x, y: b.mul(x, y)),
    ("scale-negative", (X,), lambda b, x: b.mul(b.neg(x), 3), lambda b, x: b.mul(x, -3)),
    ("negate-scaled", (X,), lambda b, x: b.neg(b.mul(x, 3)), lambda b, x: b.mul(x, -3)),
    ("join-factors", (X,), lambda b, x: b.mul(b.mul(x, 3), 0.5), lambda b, x: b.mul(x, 1.5)),
    ("divide-by-one", (X,), lambda b, x: b.div(x, 1), lambda b, x: x),
    ("divide-by-minus-one", (X,), lambda b, x: b.div(x, -1), lambda b, x: b.neg(x)),
    ("divide-by-power-of-two", (X,), lambda b, x: b.div(x, 16), lambda b, x: b.mul(x, 0.0625)),
    ("one-divided-by", (X,), lambda b, x: b.div(1, x), lambda b, x: b.reciprocal(x)),
    ("power-0", (X,), lambda b, x: b.pow(x, 0), lambda b, x: b.expand(b.scalar(1, F32), (N, 3))),
    ("power-1", (X,), lambda b, x: b.pow(x, 1), lambda b, x: x),
    ("power-2", (X,), lambda b, x: b.pow(x, 2), lambda b, x: b.square(x)),
    ("power-3", (X,), lambda b, x: b.pow(x, 3), lambda b, x: b.mul(b.square(x), x)),
    ("power-1/2", (X,), lambda b, x: b.pow(x, 0.5), lambda b, x: b.sqrt(x)),
    ("power-minus-1/2", (X,), lambda b, x: b.pow(x, -0.5), lambda b, x: b.reciprocal(b.sqrt(x))),
    ("power-minus-1", (X,), lambda b, x: b.pow(x, -1), lambda b, x: b.reciprocal(x)),
    ("square-of-sign-free", (X,), lambda b, x: b.square(b.abs(b.neg(x))), lambda b, x: b.square(x)),
    ("absolute-of-negative", (X,), lambda b, x: b.abs(b.neg(x)), lambda b, x: b.abs(x)),
    ("root-of-square", (X,), lambda b, x: b.sqrt(b.square(x)), lambda b, x: b.abs(x)),
    ("relu-twice", (X,), lambda b, x: b.relu(b.relu(x)), lambda b, x: b.relu(x)),
    ("abs-twice", (X,), lambda b, x: b.abs(b.abs(x)), lambda b, x: b.abs(x)),
    ("sign-twice", (X,), lambda b, x: b.sign(b.sign(x)), lambda b, x: b.sign(x)),
    ("floor-twice", (X,), lambda b, x: b.floor(b.floor(x)), lambda b, x: b.floor(x)),
    ("ceil-twice", (X,), lambda b, x: b.ceil(b.ceil(x)), lambda b, x: b.ceil(x)),
    ("round-twice", (X,), lambda b, x: b.round(b.round(x)), lambda b, x: b.round(x)),
    ("select-between-equals", (TRUTH, ROW), lambda b, c, x: b.select(c, x, x), lambda b, c, x: b.expand(x, (N, 3))),
    ("select-where-true", (X, X), lambda b, x, y: b.select(flag(b, True), x, y), lambda b, x, y: x),
    ("select-where-false", (X, X), lambda b, x, y: b.select(flag(b, False), x, y), lambda b, x, y: y),
    (
        "select-by-negation",
        (TRUTH, X, X),
        lambda b, c, x, y: b.select(b.logical_not(c), x, y),
        lambda b, c, x, y: b.select(c, y, x),
    ),
    ("mask-where-true", (X,), lambda b, x: b.mask(x, flag(b, True)), lambda b, x: x),
    ("mask-twice", (X, TRUTH), lambda b, x, c: b.mask(b.mask(x, c), c), lambda b, x, c: b.mask(x, c)),
    ("multiply-by-truth", (X, TRUTH), lambda b, x, c: b.mul(b.cast(c, F32), x), lambda b, x, c: b.mask(x, c)),
    ("maximum-of-equals", (X,), lambda b, x: b.minimum(x, b.maximum(x, x)), lambda b, x: x),
    ("join-lower-bounds", (X,), lambda b, x: b.maximum(b.maximum(x, 1), 2), lambda b, x: b.maximum(x, 2)),
    ("join-upper-bounds", (WHOLE,), lambda b, x: b.minimum(b.minimum(x, 1), 2), lambda b, x: b.minimum(x, 1)),
    ("not-twice", (TRUTH,), lambda b, x: b.logical_not(b.logical_not(x)), lambda b, x: x),
    ("not-equal", (X, X), lambda b, x, y: b.logical_not(b.equal(x, y)), lambda b, x, y: b.not_equal(x, y)),
    ("not-unequal", (X, X), lambda b, x, y: b.logical_not(b.not_equal(x, y)), lambda b, x, y: b.equal(x, y)),
    ("and-true", (TRUTH,), lambda b, x: b.logical_and(flag(b, True), x), lambda b, x: x),
    ("or-false", (TRUTH,), lambda b, x: b.logical_or(x, flag(b, False)), lambda b, x: x),
    ("and-itself", (TRUTH,), lambda b, x: b.logical_and(x, b.logical_or(x, x)), lambda b, x: x),
    ("cast-to-own-type", (X,), lambda b, x: b.add(Cast(F32), x), lambda b, x: x),
    ("cast-twice", (BYTES,), lambda b, x: b.cast(b.cast(x, I64), F32), lambda b, x: b.cast(x, F32)),
    ("cast-twice", (X,), lambda b, x: b.cast(b.cast(x, F64), F32), lambda b, x: x),
    ("reshape-to-own-shape", (X,), lambda b, x: b.add(Reshape((N, 3)), x), lambda b, x: x),
    ("reshape-twice", (X,), lambda b, x: b.reshape(b.reshape(x, (3 * N,)), (3, N)), lambda b, x: b.reshape(x, (3, N))),
    ("expand-to-own-shape", (X,), lambda b, x: b.add(Expand((N, 3)), x), lambda b, x: x),
    ("expand-twice", (ROW,), lambda b, x: b.expand(b.expand(x, (1, 3)), (5, 3)), lambda b, x: b.expand(x, (5, 3))),
    (
        "expand-single",
        (X, SCALAR),
        lambda b, x, y: b.expand(b.reshape(y, (1, 1)), (N, 3)),
        lambda b, x, y: b.expand(y, (N, 3)),
    ),
    (
        "view-of-repeated",
        (X, TensorType(F32, (1, 1))),
        lambda b, x, y: b.slice(b.transpose(b.expand(y, (N, 3)), (1, 0)), (0, 0), (2, N)),
        lambda b, x, y: b.expand(y, (2, N)),
    ),
    ("transpose-nothing", (X,), lambda b, x: b.add(Transpose((0, -1)), x), lambda b, x: x),
    ("transpose-twice", (X,), lambda b, x: b.transpose(b.transpose(x, (1, 0)), (1, 0)), lambda b, x: x),
    (
        "transpose-twice",
        (CUBE,),
        lambda b, x: b.transpose(b.transpose(x, (1, 2, 0)), (0, 2, 1)),
        lambda b, x: b.transpose(x, (1, 0, 2)),
    ),
    ("transpose-ones", (COLUMN,), lambda b, x: b.transpose(x, (1, 0)), lambda b, x: b.reshape(x, (1, N))),
    ("slice-whole", (X,), lambda b, x: b.add(Slice((0, 0), (N, 3), (1, 1)), x), lambda b, x: x),
    (
        "slice-twice",
        (TensorType(F32, (9,)),),
        lambda b, x: b.slice(b.slice(x, (1,), (8,)), (2,), (7,), (2,)),
        lambda b, x: b.slice(x, (3,), (8,), (2,)),
    ),
    ("pad-nothing", (X,), lambda b, x: b.add(Pad((0, 0), (0, 0)), x), lambda b, x: x),
    (
        "pad-twice",
        (X,),
        lambda b, x: b.pad(b.pad(x, (1, 0), (0, 2)), (0, 1), (3, 0)),
        lambda b, x: b.pad(x, (1, 1), (3, 2)),
    ),
    ("concat-one", (X,), lambda b, x: b.concat([x], 0), lambda b, x: x),
    ("reduce-ones", (COLUMN,), lambda b, x: b.max(x, (1,)), lambda b, x: b.reshape(x, (N,))),
    ("reduce-ones", (X,), lambda b, x: b.add(Max(()), x), lambda b, x: x),
    (
        "sum-of-scattered",
        (TensorType(F32, (N, 2)), TensorType(I64, (N, 2))),
        lambda b, x, i: b.sum(b.scatter_along((N, 5), i, x, 1), (1,), keepdims=True),
        lambda b, x, i: b.sum(x, (1,), keepdims=True),
    ),
    ("compute-then-repeat", (X,), lambda b, x: b.mul(x, b.expand(b.scalar(3, F32), (N, 3))), lambda b, x: b.mul(x, 3)),
    ("compute-then-repeat", (ROW,), lambda b, x: b.exp(b.expand(x, (2, 3))), lambda b, x: b.expand(b.exp(x), (2, 3))),
    (
        "compute-then-repeat",
        (ROW, COLUMN),
        lambda b, x, y: b.maximum(b.expand(x, (2, N, 3)), b.expand(y, (2, N, 3))),
        lambda b, x, y: b.expand(b.maximum(x, y), (2, N, 3)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "types", "before", "after"), FIRES, ids=[case[0] for case in FIRES])
def test_fires(graphs, rule, types, before, after) -> None:
    graph = graphs.built(before, *types)
    result = graphs.applied(Simplify(), graph)
    assert graphs.unnamed(result) == graphs.unnamed(graphs.built(after, *types))


# The rule that is shown, the types of the inputs, a result that it leaves alone, and a part of the reason.
STAYS = [
    ("add-zero", (X,), lambda b, x: b.add(x, 1), "is not 0"),
    ("zero-minus", (BYTES,), lambda b, x: b.sub(0, x), "u8 has no negative numbers"),
    ("subtract-itself", (X,), lambda b, x: b.sub(x, x), "infinite and NaN elements would get lost"),
    ("subtract-itself", (X, X), lambda b, x, y: b.sub(x, y), "%x1 is not %x0"),
    ("negate-difference", (X,), lambda b, x: b.div(b.neg(d := b.sub(x, 1)), b.exp(d)), "has other uses"),
    ("multiply-by-zero", (X,), lambda b, x: b.mul(x, 0), "infinite and NaN elements would get lost"),
    ("multiply-by-one", (X,), lambda b, x: b.mul(x, b.constant(np.array([1, 2, 1], np.float32))), "is not 1"),
    ("join-factors", (X,), lambda b, x: b.mul(b.mul(x, 1e30), 1e30), "out of range"),
    ("join-factors", (X,), lambda b, x: b.mul(b.mul(x, 1e-30), 1e-30), "out of range"),
    ("join-factors", (WHOLE,), lambda b, x: b.mul(b.mul(x, 2), 3), "only factors of floats"),
    ("multiply-by-reciprocal", (X, ROW), lambda b, x, y: b.mul(x, b.reciprocal(y)), "%x1 has fewer elements"),
    ("divide-by-power-of-two", (X,), lambda b, x: b.div(x, 10), "1/10 is not a number of f32"),
    ("divide-by-power-of-two", (X,), lambda b, x: b.div(x, 2.0**127), "is not a number of f32"),
    ("multiply-by-truth", (X, BYTES), lambda b, x, y: b.mul(x, b.cast(y, F32)), "%x1 holds numbers"),
    ("multiply-by-truth", (WHOLE, TRUTH), lambda b, x, y: b.mul(x, b.cast(y, I64)), "only floats are masked"),
    ("cast-twice", (X,), lambda b, x: b.cast(b.cast(x, F16), F32), "not every number of f32 is one of f16"),
    ("cast-twice", (TensorType(I32, (4,)),), lambda b, x: b.cast(b.cast(x, F32), F64), "not every number of i32"),
    ("cast-to-own-type", (X,), lambda b, x: b.cast(x, F64), "f32 is not f64"),
    ("reshape-to-own-shape", (X,), lambda b, x: b.reshape(x, (3, N)), "f32[N, 3] becomes f32[3, N]"),
    ("transpose-nothing", (X,), lambda b, x: b.transpose(x, (1, 0)), "axes change their places"),
    ("transpose-ones", (X,), lambda b, x: b.transpose(x, (1, 0)), "axes of more than one element"),
    ("expand-single", (ROW,), lambda b, x: b.expand(b.reshape(x, (1, 3)), (2, 3)), "more than one element"),
    ("slice-whole", (X,), lambda b, x: b.slice(x, (0, 1), (N, 3)), "f32[N, 3] becomes f32[N, 2]"),
    (
        "slice-twice",
        (TensorType(F32, (9,)),),
        lambda b, x: b.slice(b.slice(x, (0,), (9,), (2,)), (1,), (4,)),
        "the inner slice leaves elements out",
    ),
    ("pad-twice", (ROW,), lambda b, x: b.pad(b.pad(x, (1,), (0,)), (1,), (0,), 2), "one pads with 2, the other with 0"),
    ("reduce-ones", (COLUMN,), lambda b, x: b.sum(x, (0, 1)), "axis 0 has N elements"),
    (
        "sum-of-scattered",
        (TensorType(F32, (N, 2)), TensorType(I64, (N, 2))),
        lambda b, x, i: b.sum(b.scatter_along((N, 5), i, x, 1)),
        "the sum goes over the axes (0, 1)",
    ),
    ("compute-then-repeat", (X, ROW), lambda b, x, y: b.add(x, y), "no operand is made by expand"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "types", "make", "reason"), STAYS, ids=[case[0] for case in STAYS])
def test_stays(graphs, rule, types, make, reason) -> None:
    refusals = graphs.refusals(Simplify.rules, graphs.built(make, *types))
    assert any(refusal.rule == rule and reason in refusal.reason for refusal in refusals), list(map(str, refusals))


def test_every_rule_is_shown() -> None:
    assert {rule.name for rule in Simplify.rules} == {case[0] for case in FIRES}


def test_text_before_and_after(graphs) -> None:
    before = """
        data %image: u8[N, 8, 8]
        weight %w: f32[64, 10]
        %a: f32[N, 8, 8] = cast(%image) {dtype=f32}
        %sixteen: f32[] = constant() {array=f32[](16.0)}
        %b: f32[N, 8, 8] = div(%a, %sixteen)
        %c: f32[N, 1, 8, 8] = reshape(%b) {shape=[N, 1, 8, 8]}
        %d: f32[N, 64] = reshape(%c) {shape=[N, 64]}
        %e: f32[N, 10] = matmul(%d, %w)
        %zero: f32[] = constant() {array=f32[](0.0)}
        %logits: f32[N, 10] = add(%e, %zero)
        return logits=%logits
    """
    after = """
        data %image: u8[N, 8, 8]
        weight %w: f32[64, 10]
        %a: f32[N, 8, 8] = cast(%image) {dtype=f32}
        %t0: f32[] = constant() {array=f32[](0.0625)}
        %b: f32[N, 8, 8] = mul(%a, %t0)
        %d: f32[N, 64] = reshape(%b) {shape=[N, 64]}
        %e: f32[N, 10] = matmul(%d, %w)
        return logits=%e
    """
    assert graphs.same_text(graphs.applied(Simplify(), graphs.read(before)), after)


def test_a_result_may_become_an_input(graphs) -> None:
    graph = graphs.applied(
        Simplify(), graphs.read("data %x: f32[N]\n%y: f32[N] = neg(%x)\n%z: f32[N] = neg(%y)\nreturn z=%z")
    )
    assert graph.output("z").name == "x"
    assert graph.nodes == ()


def test_stop_gradient_is_dropped_on_demand(graphs) -> None:
    graph = graphs.built(lambda b, x: b.exp(b.stop_gradient(x)), X)
    assert Simplify().apply(graph) is graph
    assert graphs.unnamed(graphs.applied(DropStopGradient(), graph)) == graphs.unnamed(
        graphs.built(lambda b, x: b.exp(x), X)
    )


FLOATS = [case for case in FIRES if all(type.dtype is F32 for type in case[1]) and not case[0].startswith("not-")]


@pytest.mark.parametrize(("rule", "types", "before", "after"), FLOATS, ids=[case[0] for case in FLOATS])
def test_gradients_stay_the_same(graphs, rule, types, before, after) -> None:
    def loss(b: Emit, *inputs: Any) -> Any:
        result = before(b, *inputs)
        return b.sum(b.mul(result, b.sin(b.add(result, 1))))

    graph = graphs.built(loss, *types)
    simplified = Simplify().apply(graph)
    names = [item.name for item in graph.inputs]
    if rule in ("sign-twice", "floor-twice", "ceil-twice", "round-twice"):
        with pytest.raises(NotDifferentiable):
            gradient(simplified, "y", names)
    else:
        check_same_results(rule, gradient(graph, "y", names), gradient(simplified, "y", names))
