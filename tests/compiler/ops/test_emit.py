"""The vocabulary: numbers as operands, what adds no node, compositions."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.ir.dims import Dim, symbol
from compiler.ir.graph import Graph
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.base import Array
from compiler.ops.constant import Constant
from compiler.ops.elementwise import Add
from compiler.ops.interpret import interpret_outputs

N = symbol("N")
F32, I64 = DType.F32, DType.I64


@pytest.fixture
def b() -> Emit:
    return Emit("g")


def opcodes(graph: Graph) -> list[str]:
    return [node.operation.opcode for node in graph.nodes]


def test_numbers_take_the_type_of_the_tensor(b: Emit) -> None:
    x = b.input("x", TensorType(DType.F64, (N,)))
    b.output("y", b.sub(1, b.mul(x, 2)))
    graph = b.finish()
    assert opcodes(graph) == ["constant", "mul", "constant", "sub"]
    assert {node.output.type.dtype for node in graph.nodes} == {DType.F64}
    assert interpret_outputs(graph, {"x": np.array([3.0, 5.0])})["y"].tolist() == [-5, -9]


def test_an_operand_has_to_be_a_tensor(b: Emit) -> None:
    with pytest.raises(ValueError, match="has to be a value"):
        b.mul(1, 2)


def test_add_adds_numbers_and_nodes(b: Emit) -> None:
    x = b.input("x", TensorType(F32, (N,)))
    b.add(x, b.add(Add(), x, x))
    assert opcodes(b.finish()) == ["add", "add"]


def test_what_changes_nothing_adds_no_node(b: Emit) -> None:
    x = b.input("x", TensorType(F32, (N, 3)))
    assert b.reshape(x, (N, 3)) is x
    assert b.transpose(x, (0, -1)) is x
    assert b.slice(x, (0, 0), (N, 3)) is x
    assert b.pad(x, (0, 0), (0, 0)) is x
    assert b.expand(x, (N, 3)) is x
    assert b.sum_to(x, (N, 3)) is x
    assert b.cast(x, F32) is x
    assert b.sum(x, ()) is x
    assert not b.finish().nodes


def test_axes_count_from_the_end_too(b: Emit) -> None:
    x = b.input("x", TensorType(F32, (N, 3, 4)))
    assert b.sum(x, (-1,)).type.shape == (N, 3)
    assert b.mean(x, (-1, 0), keepdims=True).type.shape == (1, 3, 1)
    assert b.max(x).type.shape == ()
    assert b.transpose(x, (-1, 0, 1)).type.shape == (4, N, 3)


def test_size_is_a_constant_where_it_is_known(b: Emit) -> None:
    b.input("x", TensorType(F32, (N, 3)))
    b.size(3, F32)
    b.size(2 * N, F32)
    assert opcodes(b.finish()) == ["constant", "size"]


@pytest.mark.parametrize(
    ("shape", "wide"),
    [((3,), (4, 3)), ((4, 1), (4, 3)), ((), (4, 3)), ((1, 1, 3), (2, 4, 3)), ((4, 3), (4, 3)), ((1,), (1,))],
)
def test_sum_to_is_the_inverse_of_broadcasting(b: Emit, shape: tuple[Dim, ...], wide: tuple[int, ...]) -> None:
    x = b.input("x", TensorType(F32, wide))
    b.output("y", b.sum_to(x, shape))
    array = np.arange(np.prod(wide), dtype=np.float32).reshape(wide)
    found = interpret_outputs(b.finish(), {"x": array})["y"]
    # The sum over all elements of y * v is that over all of x * (v repeated), for any v.
    probe = np.random.default_rng(0).normal(size=found.shape)
    assert found.shape == shape
    assert np.isclose((found * probe).sum(), (array * np.broadcast_to(probe, wide)).sum())


def test_constants_are_compared_by_content() -> None:
    nan = np.array([np.nan, 1.0])
    assert Constant(nan) == Constant(nan.copy())
    assert hash(Constant(nan)) == hash(Constant(nan.copy()))
    assert Constant(np.array([0.0])) != Constant(np.array([-0.0]))
    assert Constant(np.zeros(2, np.float32)) != Constant(np.zeros(2))
    assert Constant(np.zeros((2, 1))) != Constant(np.zeros((1, 2)))


def test_a_constant_is_the_owner_of_its_content() -> None:
    array: Array = np.ones(3)
    constant = Constant(array)
    array[:] = 5
    assert constant.array.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        constant.array[0] = 2


def test_a_constant_of_text_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        Constant(np.array(["a"]))
