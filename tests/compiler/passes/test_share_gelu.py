"""Gelu written out where its gradient computes the same."""

from __future__ import annotations

import numpy as np

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.interpret import interpret_outputs
from compiler.passes.autodiff import Gradient
from compiler.passes.order import COMMON, TRAIN, Pipeline
from compiler.passes.share_gelu import ShareGelu


def loss(approximate: str = "none") -> Graph:
    b = Emit("g")
    x = b.input("x", TensorType(DType.F32, (symbol("N"), 3)), Role.WEIGHT)
    b.output("loss", b.sum(b.gelu(x, approximate)))
    return b.finish()


def opcodes(graph: Graph) -> list[str]:
    return [node.operation.opcode for node in graph.nodes]


def test_the_error_function_is_computed_once() -> None:
    graph = Pipeline((*COMMON, Gradient("loss", ("x",)), *TRAIN), check=True).run(loss())
    assert opcodes(graph).count("erf") == 1
    assert "gelu" not in opcodes(graph)
    without = [step for step in TRAIN if not isinstance(step, ShareGelu)]
    plain = Pipeline((*COMMON, Gradient("loss", ("x",)), *without)).run(loss())
    assert {"gelu", "erf"} <= set(opcodes(plain))
    x = {"x": np.linspace(-6, 6, 30).reshape(10, 3).astype(np.float32)}
    for name, array in interpret_outputs(plain, x).items():
        np.testing.assert_array_equal(interpret_outputs(graph, x)[name], array)


def test_without_a_gradient_gelu_stays() -> None:
    before = loss()
    assert ShareGelu().apply(before) is before


def test_the_approximation_stays() -> None:
    graph = Pipeline((*COMMON, Gradient("loss", ("x",)), *TRAIN)).run(loss("tanh"))
    assert "gelu" in opcodes(graph)
