"""The factor of attention in the weights of its queries."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.ir.dims import symbol
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.attention import Attention
from compiler.passes.scale_queries import ScaleQueries

F32, N, T = DType.F32, symbol("N"), symbol("T")
X, KERNEL, BIAS = TensorType(F32, (N, T, 6)), TensorType(F32, (6, 8)), TensorType(F32, (8,))
HEADS = (N, T, 2, 4)


def attend(b: Emit, queries: Any, x: Any) -> Any:
    others = b.reshape(b.concat([x, b.slice(x, (0, 0, 0), (N, T, 2))], 2), HEADS)
    return b.add(Attention(causal=True), b.reshape(queries, HEADS), others, others)


@pytest.mark.parametrize("biased", [False, True])
def test_weights_take_the_factor_in(graphs: Any, biased: bool) -> None:
    def make(b: Emit, x: Any, kernel: Any, *bias: Any) -> Any:
        return attend(b, b.add(b.matmul(x, kernel), *bias) if bias else b.matmul(x, kernel), x)

    after = graphs.applied(ScaleQueries(), graphs.built(make, X, KERNEL, *[BIAS] * biased))
    opcodes = [node.operation.opcode for node in after.nodes]
    assert opcodes.count("mul") == 1 + biased
    assert after.nodes[-1].operation.opcode == "scaled_attention"
    assert after.nodes[-1].operation.causal


def _shared(b: Emit, x: Any, kernel: Any) -> Any:
    return b.add(attend(b, b.matmul(x, kernel), x), b.reshape(b.matmul(x, kernel), HEADS))


def _read_twice(b: Emit, x: Any, kernel: Any) -> Any:
    queries = b.matmul(x, kernel)
    return b.add(attend(b, queries, x), b.reshape(queries, HEADS))


REFUSED = {
    "shared weights": (_shared, [X, KERNEL]),
    "read twice": (_read_twice, [X, KERNEL]),
    "something between": (lambda b, x, kernel: attend(b, b.relu(b.matmul(x, kernel)), x), [X, KERNEL]),
    "no weight": (lambda b, x, kernel: attend(b, b.matmul(x, kernel), x), [X, TensorType(F32, (N, 6, 8))]),
    "bias for each step": (
        lambda b, x, kernel, bias: attend(b, b.add(b.matmul(x, kernel), bias), x),
        [X, KERNEL, TensorType(F32, (T, 8))],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_stays(graphs: Any, case: str) -> None:
    make, types = REFUSED[case]
    refusals = graphs.refusals(ScaleQueries.rules, graphs.built(make, *types))
    assert any("weights of its own" in str(refusal) for refusal in refusals)
