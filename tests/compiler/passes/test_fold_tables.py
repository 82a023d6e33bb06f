"""What becomes of the rows of a table, worked out beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.ir.dims import symbol
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.passes.fold_tables import FoldTables

F32, N, T = DType.F32, symbol("N"), symbol("T")
TABLE, PLACES, STEPS = TensorType(F32, (5, 4)), TensorType(DType.I64, (N,)), TensorType(DType.I64, (N, T))
ONES = np.ones((1, 1, 1), np.float32)
KERNEL, NOISE = TensorType(F32, (4, 3)), TensorType(F32, (N, 6))


def kinds(graph: Any) -> list[str]:
    """What is done for each row, in order."""
    return [node.operation.opcode for node in graph.nodes if node.outputs[0].type.symbols]


def test_a_dense_layer_behind_an_embedding(graphs: Any) -> None:
    before = """
        data %tokens: i64[N, T]
        weight %table: f32[5, 4]
        weight %kernel: f32[4, 3]
        weight %bias: f32[3]
        %t0: f32[N, T, 4] = gather(%table, %tokens) {axis=0}
        %t1: f32[N, T, 3] = matmul(%t0, %kernel)
        %y: f32[N, T, 3] = add(%t1, %bias)
        return y=%y
    """
    after = """
        data %tokens: i64[N, T]
        weight %table: f32[5, 4]
        weight %kernel: f32[4, 3]
        weight %bias: f32[3]
        %table.folded: f32[5, 3] = matmul(%table, %kernel)
        %table.folded.folded: f32[5, 3] = add(%table.folded, %bias)
        %y: f32[N, T, 3] = gather(%table.folded.folded, %tokens) {axis=0}
        return y=%y
    """
    assert graphs.same_text(graphs.applied(FoldTables(), graphs.read(before)), after)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_part_of_a_product_that_is_known(graphs: Any, place: int) -> None:
    def make(b: Emit, table: Any, noise: Any, places: Any, kernel: Any, bias: Any) -> Any:
        parts = [noise, b.tanh(noise)]
        parts.insert(place, b.gather(table, places))
        return b.relu(b.add(b.matmul(b.concat(parts, 1), kernel), bias))

    types = [TABLE, NOISE, PLACES, TensorType(F32, (16, 3)), TensorType(F32, (3,))]
    after = graphs.applied(FoldTables(), graphs.built(make, *types))
    assert kinds(after) == ["tanh", "concat", "gather", "linear", "relu"]
    assert after.nodes[-2].inputs[1].type.shape == (12, 3)


def test_a_product_of_known_parts_alone_is_a_sum(graphs: Any) -> None:
    def make(b: Emit, one: Any, other: Any, first: Any, second: Any, kernel: Any, bias: Any) -> Any:
        return b.add(b.matmul(b.concat([b.gather(one, first), b.gather(other, second)], 1), kernel), bias)

    types = [TABLE, TensorType(F32, (7, 4)), PLACES, PLACES, TensorType(F32, (8, 3)), TensorType(F32, (3,))]
    assert kinds(graphs.applied(FoldTables(), graphs.built(make, *types))) == ["gather", "gather", "add"]


@pytest.mark.parametrize("write", ["add", "sub", "mul", "div"])
def test_numbers(graphs: Any, write: str) -> None:
    after = graphs.applied(
        FoldTables(), graphs.built(lambda b, t, i: getattr(b, write)(b.gather(t, i), 3), TABLE, STEPS)
    )
    assert kinds(after) == ["gather"]


def test_biases_of_two_tables_and_a_number(graphs: Any) -> None:
    def make(b: Emit, one: Any, other: Any, first: Any, second: Any, x: Any) -> Any:
        biases = b.add(b.gather(one, first), b.gather(other, second))
        return b.add(b.add(x, 3.5), b.reshape(biases, (N,)))

    types = [TensorType(F32, (5, 1)), TensorType(F32, (7, 1)), PLACES, PLACES, TensorType(F32, (N,))]
    assert kinds(graphs.applied(FoldTables(), graphs.built(make, *types))) == ["gather", "gather", "add", "add"]


def _twice(b: Emit, table: Any, places: Any, kernel: Any) -> Any:
    rows = b.gather(table, places)
    return b.add(b.matmul(rows, kernel), b.sum(rows, (1,), keepdims=True))


def _tied(b: Emit, table: Any, places: Any, kernel: Any) -> Any:
    return b.matmul(b.matmul(b.gather(table, places), kernel), b.slice(table, (0, 0), (3, 4)))


REFUSED = [
    ("other uses", _twice, [TABLE, PLACES, KERNEL]),
    ("nothing else reads", _tied, [TABLE, PLACES, KERNEL]),
    ("more than what", lambda b, t, i, w: b.matmul(b.gather(t, i), w), [(50, 4), PLACES, TensorType(F32, (4, 9))]),
    ("not rows", lambda b, t, i, w: b.matmul(b.gather(t, i, 1), w), [(3, 5, 4), TensorType(DType.I64, (2,)), KERNEL]),
    ("nothing else reads", lambda b, t, i, _: b.add(b.gather(t, i), 3), [(N, 4), PLACES, KERNEL]),
    ("not one matrix", lambda b, t, i, w: b.matmul(b.gather(t, i), b.reshape(w, (N, 4, 3))), [TABLE, PLACES, (N, 12)]),
    ("has not the rows", lambda b, t, i, _: b.reshape(b.gather(t, i), (2 * N, 2)), [TABLE, PLACES, KERNEL]),
    ("makes f32", lambda b, t, i, _: b.add(b.gather(t, i), b.constant(ONES)), [TABLE, PLACES, KERNEL]),
    ("of its own", lambda b, t, i, v: b.add(b.gather(t, i), v), [TABLE, PLACES, TensorType(F32, (N, 1))]),
]  # fmt: skip
IDS = ["rows read twice", "tied", "grows", "other axis", "data", "no matrix", "split rows", "more axes", "no bias"]


@pytest.mark.parametrize(("reason", "make", "types"), REFUSED, ids=IDS)
def test_where_it_stays(graphs: Any, reason: str, make: Any, types: Any) -> None:
    typed = [type if isinstance(type, TensorType) else TensorType(F32, type) for type in types]
    graph = graphs.built(make, *typed)
    assert any(reason in str(refusal) for refusal in graphs.refusals(FoldTables.rules, graph))


def test_a_part_of_which_the_table_would_grow(graphs: Any) -> None:
    def make(b: Emit, table: Any, noise: Any, places: Any, kernel: Any) -> Any:
        return b.matmul(b.concat([noise, b.gather(table, places)], 1), kernel)

    types = [TensorType(F32, (90, 4)), NOISE, PLACES, TensorType(F32, (10, 64))]
    assert any("few enough" in str(each) for each in graphs.refusals(FoldTables.rules, graphs.built(make, *types)))
