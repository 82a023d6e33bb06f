"""Transposes where there is less to move."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.ir.dims import symbol
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, Linear
from compiler.ops.activation import Relu
from compiler.passes.sink_transpose import SinkTranspose

F32, N, T = DType.F32, symbol("N"), symbol("T")
TABLE, STEPS, ROWS = TensorType(F32, (5, 4)), TensorType(DType.I64, (N, T)), TensorType(F32, (N, T, 4))
KERNEL, BIAS = TensorType(F32, (4, 3)), TensorType(F32, (3,))
TIME_FIRST = (1, 0, 2)


def test_characters_on_their_way_into_a_recurrent_layer(graphs: Any) -> None:
    before = """
        data %tokens: i64[N, T]
        weight %table: f32[5, 4]
        %t0: f32[N, T, 4] = gather(%table, %tokens) {axis=0}
        %y: f32[T, N, 4] = transpose(%t0) {permutation=[1, 0, 2]}
        return y=%y
    """
    after = """
        data %tokens: i64[N, T]
        weight %table: f32[5, 4]
        %t1: i64[T, N] = transpose(%tokens) {permutation=[1, 0]}
        %y: f32[T, N, 4] = gather(%table, %t1) {axis=0}
        return y=%y
    """
    assert graphs.same_text(graphs.applied(SinkTranspose(), graphs.read(before)), after)


@pytest.mark.parametrize("operation", [Linear(), Linear(Relu())])
def test_a_dense_layer_for_each_step(graphs: Any, operation: Linear) -> None:
    def make(b: Emit, x: Any, w: Any, *bias: Any) -> Any:
        return b.add(operation, b.transpose(x, TIME_FIRST), w, *bias)

    for types in ([ROWS, KERNEL], [ROWS, KERNEL, BIAS]):
        after = graphs.applied(SinkTranspose(), graphs.built(make, *types))
        assert [node.operation.opcode for node in after.nodes] == ["linear", "transpose"]


def test_transposes_that_meet_are_gone(graphs: Any) -> None:
    def make(b: Emit, x: Any, w: Any) -> Any:
        return b.transpose(b.matmul(b.transpose(x, TIME_FIRST), w), TIME_FIRST)

    after = graphs.applied(SinkTranspose(), graphs.built(make, ROWS, KERNEL))
    assert [node.operation.opcode for node in after.nodes] == ["matmul"]


def _read_twice(b: Emit, x: Any, w: Any) -> Any:
    moved = b.transpose(x, TIME_FIRST)
    return b.add(b.matmul(moved, w), b.sum(moved, (2,), keepdims=True))


REFUSED = [
    ("within a row", lambda b, t, i: b.transpose(b.gather(t, i), (0, 2, 1)), [TABLE, STEPS]),
    ("no table", lambda b, t, i: b.transpose(b.gather(t, i, 1), (1, 0, 2)), [TABLE, STEPS]),
    ("other uses", _read_twice, [ROWS, KERNEL]),
    ("9 columns", lambda b, x, w: b.matmul(b.transpose(x, TIME_FIRST), w), [ROWS, TensorType(F32, (4, 9))]),
    ("not one matrix", lambda b, x, w: b.matmul(b.transpose(x, (0, 2, 1)), w), [TensorType(F32, (N, 4, 2)), KERNEL]),
]


@pytest.mark.parametrize(("reason", "make", "types"), REFUSED, ids=["row", "axis", "read twice", "more", "columns"])
def test_where_it_stays(graphs: Any, reason: str, make: Any, types: Any) -> None:
    refusals = graphs.refusals(SinkTranspose.rules, graphs.built(make, *types))
    assert any(reason in str(refusal) for refusal in refusals)
