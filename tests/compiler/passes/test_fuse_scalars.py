"""Operations on single numbers as one operation."""

from __future__ import annotations

import pytest

from compiler.ir.graph import Graph
from compiler.passes.fuse_scalars import FuseScalars

STEP = """
    data %x: f32[N]
    state %step: i64[]
    %one: f64[] = constant() {array=f64[](1.0)}
    %total: f32[] = sum(%x) {axes=[0], keepdims=false}
    %root: f32[] = sqrt(%total)
    %half: f32[] = mul(%root, %root)
    %y: f32[N] = mul(%x, %half)
    %time: f64[] = cast(%step) {dtype=f64}
    %after: f64[] = add(%time, %one)
    %rate: f32[] = cast(%after) {dtype=f32}
    %z: f32[N] = mul(%y, %rate)
    return z=%z
"""


def opcodes(graph: Graph) -> list[str]:
    return [node.operation.opcode for node in graph.nodes]


def test_a_group_stands_where_it_is_first_read(graphs) -> None:
    """What depends on the number of the step alone joins what the sum gives."""
    after = graphs.applied(FuseScalars(), graphs.read(STEP))
    assert opcodes(after) == ["constant", "sum", "scalar_steps", "mul", "mul"]
    assert [value.name for value in after.nodes[2].outputs] == ["rate", "half"]
    # The constant stands in the group, which reads the state and the sum.
    assert [value.name for value in after.nodes[2].inputs] == ["step", "total"]


def test_what_is_read_on_the_way_ends_a_group(graphs) -> None:
    text = """
        data %x: f32[N]
        %a: f32[] = sum(%x) {axes=[0], keepdims=false}
        %b: f32[] = neg(%a)
        %c: f32[] = square(%b)
        %y: f32[N] = mul(%x, %c)
        %d: f32[] = sum(%y) {axes=[0], keepdims=false}
        %e: f32[] = mul(%d, %b)
        %f: f32[] = add(%e, %d)
        return f=%f
    """
    after = graphs.applied(FuseScalars(), graphs.read(text))
    assert opcodes(after) == ["sum", "scalar_steps", "mul", "sum", "scalar_steps"]


@pytest.mark.parametrize(
    "text",
    [
        # One operation is as quick by itself.
        "data %x: f32[]\n %y: f32[] = neg(%x)\n %z: f32[1] = reshape(%y) {shape=[1]}\n return z=%z",
        # Vectors and short floats are left to NumPy.
        "data %x: f32[1]\n %y: f32[1] = neg(%x)\n %z: f32[1] = square(%y)\n return z=%z",
        "data %x: f16[]\n %y: f16[] = neg(%x)\n %z: f16[] = square(%y)\n return z=%z",
    ],
)
def test_what_is_left_alone(text: str, graphs) -> None:
    graph = graphs.read(text)
    assert FuseScalars().apply(graph) is graph


def test_infinity_stands_in_no_expression(graphs) -> None:
    text = """
        data %x: f32[]
        %most: f32[] = constant() {array=f32[](inf)}
        %y: f32[] = minimum(%x, %most)
        %z: f32[] = square(%y)
        return z=%z
    """
    after = graphs.applied(FuseScalars(), graphs.read(text))
    assert [value.name for value in after.nodes[-1].inputs] == ["x", "most"]
