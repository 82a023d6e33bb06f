"""Max pooling before relu: where it fires, where it must not, and that gradients stay what they are."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, MaxPool
from compiler.ops.interpret import interpret_outputs
from compiler.passes.autodiff import gradient
from compiler.passes.pipeline import Pipeline
from compiler.passes.pool_first import PoolFirst

POOL = MaxPool((2, 2), (2, 2), (1, 1), (0, 0), (0, 0))


def pooled(twice: bool = False) -> Graph:
    b = Emit("g")
    x = b.input("x", TensorType(DType.F32, (symbol("N"), 2, 4, 4)), Role.WEIGHT)
    y = b.relu(x)
    b.output("loss", b.sum(b.square(b.add(POOL, y))))
    if twice:
        b.output("rectified", y)
    return b.finish()


def opcodes(graph: Graph) -> list[str]:
    return [node.operation.opcode for node in graph.nodes]


def test_relu_comes_last() -> None:
    after = Pipeline([PoolFirst()]).run(pooled())
    assert opcodes(after) == ["max_pool", "relu", "square", "sum"]
    assert after.nodes[1].origin.via == ("pool-first",)


def test_what_is_read_elsewhere_stays() -> None:
    before = pooled(twice=True)
    assert Pipeline([PoolFirst()]).run(before) is before


@pytest.mark.parametrize("low", [-2, -9, 1])
def test_gradients_are_the_same(low: int) -> None:
    # Whole numbers, so that many tie, and windows with nothing above 0.
    x = np.random.default_rng(0).integers(low, 3, (3, 2, 4, 4)).astype(np.float32)
    results = [
        interpret_outputs(gradient(graph, "loss", ("x",)), {"x": x})
        for graph in (pooled(), Pipeline([PoolFirst()]).run(pooled()))
    ]
    for name, array in results[0].items():
        np.testing.assert_array_equal(results[1][name], array)
