"""For each rule of the verifier a graph that breaks it, put together without the builder, which would not make it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Input, Node, Operation, Output, Role, Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ir.verify import VerificationError, verify

N, T = symbol("N"), symbol("T", 8)
ROW = TensorType(DType.F32, (N, 4))


@dataclass(frozen=True)
class Join(Operation):
    opcode = "join"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        a, b = inputs
        if a != b:
            raise TypeMismatch("E0301", f"cannot join {a} and {b}")
        return (a,)


@dataclass(frozen=True)
class Make(Operation):
    """A result of the given type from no operand."""

    opcode = "make"
    type: TensorType

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return (self.type,)


def chain(length: int) -> tuple[Value, list[Node]]:
    """An input and nodes that each join the value before with itself, named a, b, c …"""
    x = last = Value("x", ROW)
    nodes = []
    for index in range(length):
        made = Value(chr(ord("a") + index), ROW)
        nodes.append(Node(Join(), (last, last), (made,)))
        last = made
    return x, nodes


def graph_of(
    *nodes: Node, inputs: tuple[Input, ...] = (), outputs: tuple[Output, ...] = (), x: Value | None = None
) -> Graph:
    return Graph("g", (*((Input(x),) if x else ()), *inputs), nodes, outputs)


def refused(graph: Graph) -> str:
    with pytest.raises(VerificationError) as caught:
        verify(graph)
    return str(caught.value)


def test_a_sound_graph_passes() -> None:
    x, nodes = chain(3)
    w = Value("w", ROW)
    outputs = (Output("y", nodes[2].output), Output("new", nodes[1].output, updates="w"))
    verify(graph_of(*nodes, x=x, inputs=(Input(w, Role.WEIGHT),), outputs=outputs))


def test_read_before_it_is_made() -> None:
    x, nodes = chain(6)
    nodes[2], nodes[3] = nodes[3], nodes[2]
    assert refused(graph_of(*nodes, x=x)) == (
        "graph g: %c is read before it is made\n"
        "    %a: f32[N, 4] = join(%x, %x)\n"
        "    %b: f32[N, 4] = join(%a, %a)\n"
        "--> %d: f32[N, 4] = join(%c, %c)\n"
        "    %c: f32[N, 4] = join(%b, %b)\n"
        "    %e: f32[N, 4] = join(%d, %d)"
    )


def test_value_of_another_graph_with_a_known_name() -> None:
    x, nodes = chain(1)
    stranger = Value("x", ROW)
    nodes[0] = Node(Join(), (x, stranger), nodes[0].outputs)
    assert "%x is read before it is made" in refused(graph_of(*nodes, x=x))


def test_made_twice() -> None:
    x, nodes = chain(2)
    message = refused(graph_of(*nodes, Node(Join(), (x, x), nodes[0].outputs), x=x))
    assert message.startswith("graph g: %a is defined twice\n")
    assert message.endswith("--> %a: f32[N, 4] = join(%x, %x)")


def test_two_values_of_one_name() -> None:
    x, nodes = chain(1)
    again = Node(Join(), (x, x), (Value("x", ROW),))
    message = refused(graph_of(*nodes, again, x=x))
    assert message.startswith("graph g: %x is defined twice\n")
    assert "--> %x: f32[N, 4] = join(%x, %x)" in message
    assert refused(graph_of(inputs=(Input(x), Input(x)))) == "graph g: %x is defined twice"


def test_operands_that_do_not_fit() -> None:
    x, nodes = chain(1)
    s = Value("s", TensorType(DType.F32))
    bad = Node(Join(), (nodes[0].output, s), (Value("y", ROW),))
    message = refused(graph_of(*nodes, bad, x=x, inputs=(Input(s),)))
    assert message.startswith("graph g: operands do not fit: cannot join f32[N, 4] and f32[]\n")
    assert message.endswith("    %a: f32[N, 4] = join(%x, %x)\n--> %y: f32[N, 4] = join(%a, %s)")


def test_wrong_number_of_operands() -> None:
    x, _ = chain(0)
    message = refused(graph_of(Node(Join(), (x,), (Value("y", ROW),)), x=x))
    assert message.startswith("graph g: operands do not fit: not enough values")
    assert message.endswith("--> %y: f32[N, 4] = join(%x)")


@pytest.mark.parametrize(
    "results",
    [
        (Value("y", TensorType(DType.F64, (N, 4))),),
        (Value("y", TensorType(DType.F32, (4, N))),),
        (Value("y", ROW), Value("z", ROW)),
        (),
    ],
)
def test_results_of_another_type(results: tuple[Value, ...]) -> None:
    x, _ = chain(0)
    message = refused(graph_of(Node(Join(), (x, x), results), x=x))
    assert message.startswith("graph g: the results have other types than f32[N, 4]\n")
    assert "join(%x, %x)" in message


def test_symbol_that_no_input_binds() -> None:
    x, _ = chain(0)
    made = TensorType(DType.F32, (N, T))
    message = refused(graph_of(Node(Make(made), (), (Value("y", made),)), x=x))
    assert message.startswith("graph g: symbol T is not the size of any input\n--> %y: f32[N, T] = make()")


def test_symbol_that_stands_only_inside_an_expression() -> None:
    x = Value("x", TensorType(DType.F32, (2 * N,)))
    assert refused(graph_of(x=x)) == "graph g: symbol N is not the size of any input"
    verify(graph_of(x=x, inputs=(Input(Value("z", ROW)),)))


def test_symbol_with_two_bounds() -> None:
    x = Value("x", TensorType(DType.F32, (T,)))
    made = TensorType(DType.F32, (symbol("T", 9),))
    message = refused(graph_of(Node(Make(made), (), (Value("y", made),)), x=x))
    assert message.startswith("graph g: symbol T has two bounds, T <= 8 and T <= 9\n-->")
    assert "two bounds" in refused(graph_of(x=x, inputs=(Input(Value("z", made)),)))


def test_outputs() -> None:
    x, nodes = chain(1)
    w, stranger = Value("w", ROW), Value("z", ROW)
    short = Value("b", TensorType(DType.F32, (4,)))
    inputs = (Input(w, Role.WEIGHT), Input(short, Role.STATE))

    def message(*outputs: Output) -> str:
        return refused(graph_of(*nodes, x=x, inputs=inputs, outputs=outputs))

    assert message(Output("y", stranger)) == "graph g: output y is not a value of the graph"
    assert message(Output("y", x), Output("y", w)) == "graph g: output y is named twice"
    assert message(Output("n", x, updates="b")) == "graph g: output n does not fit b, which it updates"
    assert message(Output("n", x, updates="x")) == "graph g: output n does not fit x, which it updates"
    assert message(Output("n", x, updates="none")) == "graph g: output n does not fit none, which it updates"
    assert message(Output("n", x, updates="w"), Output("m", x, updates="w")) == "graph g: w is updated twice"


def test_nodes_of_a_sound_graph_are_not_asked_for_their_types_again(work) -> None:
    x, nodes = chain(20)
    before = graph_of(*nodes, x=x, outputs=(Output("y", nodes[-1].output),))
    first = work(lambda: verify(before))
    more = Node(Join(), (x, x), (Value("more", ROW),))
    after = graph_of(*nodes, more, x=x, outputs=before.outputs)
    alone = graph_of(*nodes, more, x=x, outputs=before.outputs)
    assert work(lambda: verify(after, before)) < first / 2 < work(lambda: verify(alone))
    assert work(lambda: verify(after)) < 10  # it was found sound


def test_nodes_of_another_graph_are_no_excuse() -> None:
    x, nodes = chain(2)
    wrong = Node(Join(), (x, x), (Value("wrong", TensorType(DType.F32, (3,))),))
    before = graph_of(*nodes, wrong, x=x)
    after = graph_of(nodes[0], wrong, x=x)
    for known in (None, before):  # which nobody has looked at
        with pytest.raises(VerificationError, match="the results have other types"):
            verify(after, known)
    verify(sound := graph_of(*nodes, x=x))
    with pytest.raises(VerificationError, match="the results have other types"):
        verify(after, sound)
    with pytest.raises(VerificationError, match="read before it is made"):
        verify(graph_of(nodes[1], nodes[0], x=x), sound)


def test_types_are_asked_for_again_where_a_symbol_has_another_bound() -> None:
    x, nodes = chain(1)
    y = Value("y", TensorType(DType.F32, (T,)))
    before = graph_of(
        *nodes,
        Node(Make(TensorType(DType.F32, (T, 2))), (), (Value("m", TensorType(DType.F32, (T, 2))),)),
        x=x,
        inputs=(Input(y),),
    )
    verify(before)
    z = Value("y", TensorType(DType.F32, (symbol("T", 9),)))
    with pytest.raises(VerificationError, match="two bounds"):
        verify(graph_of(*before.nodes, x=x, inputs=(Input(z),)), before)
