from __future__ import annotations

from dataclasses import dataclass

import pytest

from compiler.diagnostics.source import Source
from compiler.ir.builder import Builder
from compiler.ir.dims import symbol
from compiler.ir.graph import NOWHERE, Graph, Operation, Origin, Role, Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ir.verify import verify

N = symbol("N")
ROW = TensorType(DType.F32, (N, 4))
SOURCE = Source("a.dl", "relu\nadd\n")


@dataclass(frozen=True)
class Join(Operation):
    """Two operands of one type give that type."""

    opcode = "join"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        a, b = inputs
        if a != b:
            raise TypeMismatch("E0301", f"cannot join {a} and {b}")
        return (a,)


@dataclass(frozen=True)
class Twice(Operation):
    """One operand gives itself two times."""

    opcode = "twice"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (a,) = inputs
        return a, a


def names(values: tuple[Value, ...]) -> list[str]:
    return [value.name for value in values]


def built() -> tuple[Builder, Value, Value]:
    builder = Builder("g")
    return builder, builder.input("x", ROW), builder.input("w", ROW, Role.WEIGHT)


def test_builds_what_was_asked() -> None:
    builder, x, w = built()
    y = builder.add(Join(), x, w)
    a, b = builder.add_node(Twice(), (y,))
    builder.output("result", b)
    builder.output("w", a, updates="w")
    graph = builder.finish()
    verify(graph)
    assert [(item.name, item.role) for item in graph.inputs] == [("x", Role.DATA), ("w", Role.WEIGHT)]
    assert [str(node.operation.opcode) for node in graph.nodes] == ["join", "twice"]
    assert (y.type, y.name, a.name, b.name) == (ROW, "t0", "t1", "t2")
    assert graph.output("result") is b
    assert graph.outputs[1].updates == "w"
    assert graph.producers[b] is graph.nodes[1]
    assert graph.users[x] == (graph.nodes[0],)
    assert graph.users[b] == ()
    assert graph.reads == {x: 1, w: 1, y: 1, a: 1, b: 1}
    assert graph.free_number == 3
    assert graph.inputs_of(Role.WEIGHT) == (w,)
    assert graph.output_values == {a, b}
    assert list(graph.values()) == [x, w, y, a, b]
    assert graph.symbols == ROW.symbols
    with pytest.raises(KeyError):
        graph.output("other")


def test_a_node_that_reads_a_value_twice_is_its_user_twice() -> None:
    builder, x, _ = built()
    builder.add(Join(), x, x)
    graph = builder.finish()
    assert graph.users[x] == (graph.nodes[0], graph.nodes[0])


def test_mistakes_are_refused() -> None:
    builder, x, _ = built()
    stranger = Builder("other").input("x", ROW)
    with pytest.raises(ValueError, match="has a value x already"):
        builder.input("x", ROW)
    with pytest.raises(ValueError, match="%x is not a value of graph g"):
        builder.add(Join(), x, stranger)
    with pytest.raises(ValueError, match="%x is not a value of graph g"):
        builder.output("y", stranger)
    with pytest.raises(ValueError, match="twice has 2 results"):
        builder.add(Twice(), x)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        builder.add_node(Join(), (x, x), ("a", "b"))
    builder.output("y", x)
    with pytest.raises(ValueError, match="has an output y already"):
        builder.output("y", x)


def test_operands_that_do_not_fit_are_a_type_mismatch() -> None:
    builder, x, _ = built()
    other = builder.input("z", TensorType(DType.F32, (3,)))
    with pytest.raises(TypeMismatch, match="cannot join"):
        builder.add(Join(), x, other)
    assert builder.finish().nodes == ()


def test_origins_are_stamped_and_restored() -> None:
    first, second = Origin((SOURCE.span(0, 4),), "a"), Origin((SOURCE.span(5, 8),), "b")
    builder = Builder("g")
    with builder.at(first):
        x = builder.input("x", ROW)
        with builder.at(second):
            y = builder.add(Join(), x, x)
        z = builder.add(Join(), x, y)
    last = builder.add(Join(), z, z)
    graph = builder.finish()
    found = [graph.origin_of(value) for value in (x, y, z, last)]
    assert found == [first, second, first, NOWHERE]
    assert [builder.origin_of(value) for value in (x, y, z, last)] == found


def test_the_origin_is_restored_after_a_failure() -> None:
    builder = Builder("g")
    with pytest.raises(RuntimeError), builder.at(Origin(scope="a")):
        raise RuntimeError
    assert builder.origin == NOWHERE


def test_origins_merge_to_the_last_with_the_places_of_all() -> None:
    first, second = Origin((SOURCE.span(0, 4),), "a"), Origin((SOURCE.span(5, 8),), "b", ("fold",))
    merged = Origin.merge((first, second))
    assert merged == Origin((SOURCE.span(5, 8), SOURCE.span(0, 4)), "b", ("fold",))
    assert Origin.merge(()) is NOWHERE
    assert merged.through("fold") is merged
    assert merged.through("fuse").via == ("fold", "fuse")


def source_graph() -> Graph:
    builder, x, w = built()
    with builder.at(Origin(scope="head")):
        y = builder.add(Join(), x, w)
    a, b = builder.add_node(Twice(), (y,), ("left", "t7"))
    builder.output("y", builder.add(Join(), a, b))
    return builder.finish()


def test_copies_keep_names_and_origins() -> None:
    graph = source_graph()
    builder = Builder("copy")
    builder.reserve(graph)
    copies = {item.value: builder.input(item.name, item.value.type) for item in graph.inputs}
    fresh = builder.add(Join(), copies[graph.inputs[0].value], copies[graph.inputs[0].value])
    for node in graph.nodes:
        made = builder.copy(node, tuple(copies[value] for value in node.inputs))
        copies.update(zip(node.outputs, made, strict=True))
    copied = builder.finish()
    assert fresh.name == "t8"
    for before, after in copies.items():
        assert (before.name, before.type) == (after.name, after.type)
        assert graph.origin_of(before) == copied.origin_of(after)


def test_what_reads_the_same_values_is_taken_over_as_it_is() -> None:
    graph = source_graph()
    join, twice, last = graph.nodes
    builder = Builder("copy")
    builder.reserve(graph)
    builder.keep_inputs(graph)
    assert builder.copy(join, join.inputs) is join.outputs
    other = builder.add(Join(), join.output, join.output)
    assert names(builder.copy(join, join.inputs)) == ["t9"]  # its name is taken
    with pytest.raises(ValueError, match="%left is not a value of graph copy"):
        builder.copy(last, last.inputs)
    # What reads other values of the same types gives the same results, so that what reads those stays as it is.
    assert builder.copy(twice, (other,)) is twice.outputs
    assert builder.copy(last, last.inputs) is last.outputs
    copied = builder.finish()
    assert [node is before for node, before in zip(copied.nodes[-2:], (twice, last), strict=True)] == [False, True]
    assert copied.nodes[-2].inputs == (other,)
    assert copied.inputs == graph.inputs
    assert copied.input_origins == graph.input_origins
    assert copied.nodes[0] is join
    assert builder.origin_of(join.output) == join.origin


def test_what_was_added_last_can_give_the_results_of_another_node() -> None:
    graph = source_graph()
    join, twice, _ = graph.nodes
    builder = Builder("copy")
    builder.keep_inputs(graph)
    (made,) = builder.add_node(Join(), join.inputs)
    builder.adopt(join.outputs)
    assert builder.producer(made) is None
    assert builder.copy(twice, twice.inputs) is twice.outputs
    assert builder.finish().nodes[0].outputs == join.outputs


def test_a_wanted_name_that_is_taken_becomes_a_number() -> None:
    builder, x, _ = built()
    assert names(builder.add_node(Twice(), (x,), ("x", "free"))) == ["t0", "free"]
    assert names(builder.add_node(Twice(), (x,), ("same", "same"))) == ["same", "t1"]


def test_numbers_step_over_names_that_were_given() -> None:
    builder, x, _ = built()
    builder.add_node(Twice(), (x,), ("t0", "t1"))
    assert builder.add(Join(), x, x).name == "t2"


def test_reserve_knows_numbers_from_other_names() -> None:
    other = Builder("other")
    for name in ("t5", "t", "tail", "t9x", "t²"):
        other.input(name, ROW)
    builder = Builder("g")
    builder.reserve(other.finish())
    x = builder.input("x", ROW)
    assert builder.add(Join(), x, x).name == "t6"
