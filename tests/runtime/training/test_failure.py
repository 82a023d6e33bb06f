from typing import Any

import numpy as np
import pytest

from compiler.diagnostics import Label, Source
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Origin, Value
from compiler.ir.types import DType, TensorType
from compiler.ops.constant import Constant
from compiler.ops.elementwise import Add, Divide, Multiply
from compiler.ops.interpret import interpret
from compiler.ops.normalise import Softmax
from compiler.ops.unary import Exp, Log
from runtime.training.failure import blame, first_bad

TYPE = TensorType(DType.F32, (2,))


def blamed(graph: Graph, **inputs: Any) -> str | None:
    arrays = {name: np.float32(value) for name, value in inputs.items()}
    value = first_bad(graph, interpret(graph, arrays), graph.output("loss"))
    node = graph.producers.get(value) if value else None
    return node.operation.opcode if node else value and value.name


def build(make: Any) -> Graph:
    b = Builder("g")
    x, y = b.input("x", TYPE), b.input("y", TYPE)
    b.output("loss", make(b, x, y))
    return b.finish()


def test_the_first_operation_on_the_way() -> None:
    def make(b: Builder, x: Value, y: Value) -> Value:
        return b.add(Add(), b.add(Multiply(), b.add(Log(), x), y), y)

    assert blamed(build(make), x=[1, 0], y=[1, 2]) == "log"
    assert blamed(build(make), x=[1, 1e30], y=[1, 3e38]) == "mul"
    assert blamed(build(make), x=[1, 2], y=[1, 2]) is None


def test_of_two_the_one_that_comes_first() -> None:
    def make(b: Builder, x: Value, y: Value) -> Value:
        return b.add(Add(), b.add(Exp(), x), b.add(Log(), y))

    assert blamed(build(make), x=[100, 0], y=[0, 0]) == "exp"


def test_infinities_that_lead_nowhere_do_not_count() -> None:
    def make(b: Builder, x: Value, y: Value) -> Value:
        mask = b.add(Constant(np.float32([0, -np.inf])))
        return b.add(Divide(), b.add(Softmax(0), b.add(Add(), x, mask)), y)

    assert blamed(build(make), x=[1, 2], y=[0, 1]) == "div"


def test_constants_count_only_where_nothing_else_is_to_blame() -> None:
    def make(b: Builder, x: Value, y: Value) -> Value:
        mask = b.add(Constant(np.float32([0, -np.inf])))
        return b.add(Add(), b.add(Add(), b.add(Log(), x), mask), y)

    assert blamed(build(make), x=[0, 1], y=[0, 1]) == "log"
    assert blamed(build(make), x=[1, 1], y=[0, 1]) == "constant"


def test_an_input_may_be_to_blame() -> None:
    graph = build(lambda b, x, y: b.add(Add(), x, y))
    assert blamed(graph, x=[1, np.nan], y=[1, 2]) == "x"
    inputs = {"x": np.float32([1, np.nan]), "y": np.float32([1, 2])}
    diagnostic = blame("E0701", "it broke", graph, inputs, graph.output("loss"))
    assert diagnostic.title == "it broke"


def test_a_value_that_only_the_program_spoils() -> None:
    graph = build(lambda b, x, y: b.add(Add(), x, y))
    inputs = {"x": np.float32([1, 2]), "y": np.float32([1, 2])}
    assert blame("E0701", "it broke", graph, inputs, graph.output("loss")).notes == (
        "computed operation by operation it stays finite: it is at the edge of what the element type can hold",
    )


@pytest.mark.parametrize(
    ("via", "where"), [((), ""), (("gradient", "fold"), ", in its gradient"), (("update",), ", in its update")]
)
def test_place_and_part_are_named(via: tuple[str, ...], where: str) -> None:
    source = Source("net.dl", "x / y")

    def make(b: Builder, x: Value, y: Value) -> Value:
        with b.at(Origin((source.span(0, 5),), "Net.head", via)):
            return b.add(Divide(), x, y)

    graph = build(make)
    inputs = {"x": np.float32([1, 2]), "y": np.float32([1, 0])}
    diagnostic = blame("E0701", "it broke", graph, inputs, graph.output("loss"))
    assert diagnostic.primary == Label(source.span(0, 5), f"`div` in Net.head gives inf first{where}")
    assert diagnostic.notes == ("`div` takes %x: f32[2], from 1 to 2", "`div` takes %y: f32[2], from 0 to 1")
    assert diagnostic.help[0] == "the divisor must not be 0: add a small number to it, as in a / (b + 1e-7)"
