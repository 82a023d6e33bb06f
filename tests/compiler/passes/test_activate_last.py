"""Activations behind pooling and concatenation: where they fire, and where not."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.ir.dims import symbol
from compiler.ir.types import DType, TensorType
from compiler.ops import Conv, Emit, MaxPool
from compiler.passes.activate_last import ActivateLast

N, T = symbol("N"), symbol("T")
POOL = MaxPool((2, 2), (2, 2), (1, 1), (0, 0), (0, 0))
CONV = Conv((1, 1), (1, 1), (0, 0), (0, 0), 1)


def image(channels: int, side: int) -> TensorType:
    return TensorType(DType.F32, (N, channels, side, side))


ROWS = TensorType(DType.F32, (N, 3, T))


def opcodes(graph: Any) -> list[str]:
    return [node.operation.opcode for node in graph.nodes]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "elu", "softplus"])
def test_what_takes_time_comes_behind_any_pooling(graphs: Any, activation: str) -> None:
    graph = graphs.built(lambda b, x: b.add(POOL, getattr(b, activation)(x)), image(2, 4))
    assert opcodes(graphs.applied(ActivateLast(), graph)) == ["max_pool", activation]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_what_is_cheap_comes_behind_the_pooling_of_many(graphs: Any, activation: str) -> None:
    graph = graphs.built(lambda b, x: b.add(POOL, getattr(b, activation)(x)), image(3, 74))
    assert opcodes(graphs.applied(ActivateLast(), graph)) == ["max_pool", activation]


def test_maxima_over_time_and_one_activation_for_all(graphs: Any) -> None:
    def make(b: Emit, x: Any, y: Any) -> Any:
        return b.concat([b.max(b.relu(x), (2,)), b.max(b.relu(y), (2,))], 1)

    after = graphs.applied(ActivateLast(), graphs.built(make, ROWS, ROWS))
    assert opcodes(after) == ["max", "max", "concat", "relu"]


def _read_twice(b: Emit, x: Any) -> Any:
    y = b.relu(x)
    return b.concat([b.max(y, (2,)), b.min(y, (2,))], 1)


def _shared_part(b: Emit, x: Any) -> Any:
    y = b.tanh(x)
    return b.add(b.concat([y, b.tanh(b.exp(x))], 1), b.concat([y, y], 1))


REFUSED = [
    ("few", lambda b, x: b.add(POOL, b.relu(x)), [image(2, 4)]),
    ("not largest", lambda b, x: b.max(b.leaky_relu(x, -0.5), (2,)), [ROWS]),
    ("not largest", lambda b, x: b.max(b.elu(x, -0.5), (2,)), [ROWS]),
    ("other uses", _read_twice, [ROWS]),
    ("not of one", lambda b, x: b.concat([b.relu(x), b.tanh(x)], 1), [ROWS]),
    ("not of one", lambda b, x: b.concat([b.leaky_relu(x, 0.1), b.leaky_relu(x, 0.2)], 1), [ROWS]),
    ("other uses", _shared_part, [ROWS]),
    ("one kernel", lambda b, x, w: b.concat([b.relu(b.add(CONV, x, w)), b.relu(x)], 1),
     [image(2, 4), TensorType(DType.F32, (2, 2, 1, 1))]),
]  # fmt: skip
IDS = ["small", "falling", "falling exponential", "read twice", "two kinds", "two slopes", "part read twice", "conv"]


@pytest.mark.parametrize(("reason", "make", "types"), REFUSED, ids=IDS)
def test_where_it_stays(graphs: Any, reason: str, make: Any, types: Any) -> None:
    refusals = graphs.refusals(ActivateLast.rules, graphs.built(make, *types))
    assert any(reason in str(refusal) for refusal in refusals)
