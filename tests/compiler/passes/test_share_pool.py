"""Max pooling that keeps which elements were the largest, where its gradient asks for them."""

from __future__ import annotations

import numpy as np

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, MaxPool
from compiler.ops.interpret import interpret_outputs
from compiler.passes.autodiff import Gradient
from compiler.passes.order import COMMON, TRAIN, Pipeline
from compiler.passes.share_pool import SharePool

WINDOW = ((1, 1), (0, 0), (0, 0))


def loss() -> Graph:
    """Two pools of one tensor, of which the gradient of one is stopped."""
    b = Emit("g")
    x = b.input("x", TensorType(DType.F32, (symbol("N"), 2, 6, 6)), Role.WEIGHT)
    first, other = b.add(MaxPool((2, 2), (2, 2), *WINDOW), x), b.add(MaxPool((3, 3), (3, 3), *WINDOW), x)
    b.output("loss", b.add(b.sum(b.square(first)), b.sum(b.stop_gradient(other))))
    return b.finish()


def opcodes(graph: Graph) -> list[str]:
    return [node.operation.opcode for node in graph.nodes]


def test_only_what_has_a_gradient_keeps_more_and_once() -> None:
    graph = Pipeline((*COMMON, Gradient("loss", ("x",)), *TRAIN), check=True).run(loss())
    pools = [opcode for opcode in opcodes(graph) if "pool" in opcode]
    assert pools == ["max_pool_training", "max_pool", "max_pool_gradient"]
    without = [step for step in TRAIN if not isinstance(step, SharePool)]
    plain = Pipeline((*COMMON, Gradient("loss", ("x",)), *without)).run(loss())
    assert opcodes(plain).count("max_pool") == 2
    # Whole numbers, so that many tie.
    x = {"x": np.random.default_rng(0).integers(-2, 3, (3, 2, 6, 6)).astype(np.float32)}
    for name, array in interpret_outputs(plain, x).items():
        np.testing.assert_array_equal(interpret_outputs(graph, x)[name], array)


def test_without_a_gradient_max_pool_stays() -> None:
    before = loss()
    assert SharePool().apply(before) is before
