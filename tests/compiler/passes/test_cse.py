"""Common subexpressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compiler.ir.graph import Origin
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.unary import Negative
from compiler.passes.cse import CommonSubexpressions
from compiler.passes.dead import DeadCode


def test_equal_nodes_are_joined(graphs: Any) -> None:
    before = """
        data %x: f32[N, 3]
        %a: f32[] = constant() {array=f32[](0.1)}
        %b: f32[] = constant() {array=f32[](0.1)}
        %c: f32[N, 3] = mul(%x, %a)
        %d: f32[N, 3] = mul(%b, %x)
        %e: f32[N] = sum(%c) {axes=[1]}
        %f: f32[N] = sum(%d) {axes=[1]}
        %y: f32[N] = sub(%e, %f)
        return y=%y, f=%f
    """
    after = """
        data %x: f32[N, 3]
        %a: f32[] = constant() {array=f32[](0.1)}
        %c: f32[N, 3] = mul(%x, %a)
        %e: f32[N] = sum(%c) {axes=[1]}
        %y: f32[N] = sub(%e, %e)
        return y=%y, f=%e
    """
    assert graphs.same_text(graphs.applied(CommonSubexpressions(), graphs.read(before)), after)


def test_what_differs_stays(graphs: Any) -> None:
    """In its operation, an attribute, an operand, the order of the operands, the type or the bits of a constant."""
    graph = graphs.read(
        """
        data %x: f32[4, 4]
        state %seed: i64[]
        %one: f32[] = constant() {array=f32[](0.0)}
        %minus: f32[] = constant() {array=f32[](-0.0)}
        %wide: f64[] = constant() {array=f64[](0.0)}
        %whole: f32[1] = constant() {array=f32[1](0.0)}
        %a: f32[4] = sum(%x) {axes=[0]}
        %b: f32[4] = sum(%x) {axes=[1]}
        %c: f32[4] = max(%x) {axes=[0]}
        %d: f32[4] = sub(%a, %b)
        %e: f32[4] = sub(%b, %a)
        %f: f32[4] = random_uniform(%seed, %seed) {shape=[4], stream=0}
        %g: f32[4] = random_uniform(%seed, %seed) {shape=[4], stream=1}
        return a=%a, b=%b, c=%c, d=%d, e=%e, f=%f, g=%g, one=%one, minus=%minus, wide=%wide, whole=%whole
        """
    )
    assert CommonSubexpressions().apply(graph) is graph


def test_random_numbers_of_one_stream_are_drawn_once(graphs: Any) -> None:
    before = """
        state %seed: i64[]
        %a: f32[4] = random_uniform(%seed, %seed) {shape=[4], stream=0}
        %b: f32[4] = random_uniform(%seed, %seed) {shape=[4], stream=0}
        return a=%a, b=%b
    """
    assert graphs.text(graphs.applied(CommonSubexpressions(), graphs.read(before))).count("random_uniform") == 1


@dataclass(frozen=True)
class Unlike(Negative):
    """An operation that says it gives something else each time."""

    opcode = "unlike"
    pure = False


def test_impure_operations_are_not_joined() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(DType.F32))
    b.output("y", b.sub(b.add(Unlike(), x), b.add(Unlike(), x)))
    graph = b.finish()
    assert CommonSubexpressions().apply(graph) is graph


def test_the_first_place_is_kept() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(DType.F32))
    for scope in ("first", "second"):
        with b.at(Origin(scope=scope)):
            b.output(scope, b.exp(x))
    (node,) = DeadCode().apply(CommonSubexpressions().apply(b.finish())).nodes
    assert node.origin.scope == "first"
