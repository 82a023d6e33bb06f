"""Convolutions by short algorithms: where they are put, and that they give what the plain ones do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compiler.ir.dims import Dim, symbol
from compiler.ir.graph import Graph, Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, short_conv_numpy
from compiler.ops.interpret import interpret_outputs
from compiler.ops.window import Window
from compiler.passes.autodiff import Gradient
from compiler.passes.order import COMMON, TRAIN, Pipeline
from compiler.passes.short_convolutions import ShortConvolutions
from compiler.targets.numpy import generate

N = symbol("N")
PLAIN = [step for step in TRAIN if not isinstance(step, ShortConvolutions)]
Array = Any


def window(reach: int, stride: int, before: int, after: int) -> Window:
    return Window((reach, reach), (stride, stride), (1, 1), (before, before), (after, after))


def loss(
    channels: int, outputs: int, moves: Window, *, transposed: bool = False, size: tuple[Dim, ...] = (9, 8)
) -> Graph:
    """The sum of squares of a convolution with a bias, of inputs that have gradients too."""
    b = Emit("g")
    x = b.input("x", TensorType(DType.F32, (N, channels, *size)), Role.WEIGHT)
    shape = (channels, outputs, *moves.kernel) if transposed else (outputs, channels, *moves.kernel)
    weight = b.input("weight", TensorType(DType.F32, shape), Role.WEIGHT)
    bias = b.input("bias", TensorType(DType.F32, (outputs,)), Role.WEIGHT)
    result = b.conv_transpose(x, weight, bias, moves, 1, (18, 16)) if transposed else b.conv(x, weight, bias, moves)
    b.output("loss", b.sum(b.square(result)))
    return b.finish()


def trained(graph: Graph, passes: list[Any]) -> Graph:
    return Pipeline((*COMMON, Gradient("loss", ("x", "weight", "bias")), *passes)).run(graph)


def arrays(graph: Graph, samples: int = 5) -> dict[str, Array]:
    random = np.random.default_rng(0)
    shapes = {
        item.name: [dim if isinstance(dim, int) else samples for dim in item.value.type.shape] for item in graph.inputs
    }
    return {name: random.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def program(graph: Graph, given: dict[str, Array]) -> dict[str, Array]:
    module: dict[str, Any] = {"__name__": "generated"}
    exec(compile(generate([graph]), "generated.py", "exec"), module)
    return dict(module["bind_g"](given, len(given["x"]))())


def short(graph: Graph) -> list[str]:
    return [node.operation.opcode for node in graph.nodes if node.operation.opcode.startswith("short_")]


CASES = {
    "three cells": loss(64, 66, window(3, 1, 1, 1)),
    "three cells, no padding": loss(64, 66, window(3, 1, 0, 0), size=(14, 15)),
    "by two": loss(64, 66, window(4, 2, 1, 1)),
    "by two, uneven": loss(64, 66, window(4, 2, 2, 1)),
    "by two, a rest": loss(64, 66, window(6, 2, 0, 0), size=(28, 31)),
    "transposed": loss(66, 64, window(4, 2, 1, 1), transposed=True),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("work", [None, 1])
def test_gradients_are_those_of_plain_convolutions(name: str, work: int | None, monkeypatch) -> None:
    """Whether all samples are worked on at once or one after the other."""
    if work:
        monkeypatch.setattr(short_conv_numpy, "_WORK", work)
    graph, plain = trained(CASES[name], TRAIN), trained(CASES[name], PLAIN)
    assert sorted(short(graph)) == ["short_conv", "short_conv_transpose", "short_conv_weight"]
    given = arrays(graph)
    expected, actual = interpret_outputs(plain, given), program(graph, given)
    for key, array in interpret_outputs(graph, given).items():
        scale = np.abs(expected[key]).max()
        np.testing.assert_allclose(array, expected[key], rtol=1e-5, atol=1e-6 * scale)
        np.testing.assert_allclose(actual[key], expected[key], rtol=1e-5, atol=2e-6 * scale)


def test_a_gradient_of_which_more_products_are_left_stays_plain() -> None:
    """The result of the transposed convolution has more places than its operand, most of them at an edge."""
    graph = trained(loss(48, 64, window(3, 1, 0, 0)), TRAIN)
    assert sorted(short(graph)) == ["short_conv", "short_conv_weight"]


def test_kernels_are_taken_apart_once_for_all_that_read_them() -> None:
    b = Emit("g")
    weight = b.input("weight", TensorType(DType.F32, (64, 64, 3, 3)), Role.WEIGHT)
    results = [
        b.conv(b.input(name, TensorType(DType.F32, (N, 64, 8, 8))), weight, None, window(3, 1, 1, 1)) for name in "xy"
    ]
    b.output("loss", b.sum(b.square(b.add(*results))))
    graph = Pipeline((*COMMON, Gradient("loss", ("weight",)), *TRAIN)).run(b.finish())
    assert short(graph) == ["short_conv", "short_conv", "short_conv_weight", "short_conv_weight"]
    components = [node.inputs[1] for node in graph.nodes if node.operation.opcode == "short_conv"]
    assert components[0] is components[1]


REFUSED: dict[str, Callable[[], Graph]] = {
    "few channels": lambda: loss(8, 64, window(3, 1, 1, 1)),
    "few results": lambda: loss(64, 8, window(3, 1, 1, 1)),
    "few places": lambda: loss(64, 64, window(3, 1, 0, 0), size=(5, 5)),
    "one cell": lambda: loss(64, 64, window(1, 1, 0, 0)),
    "many cells": lambda: loss(64, 64, window(5, 1, 2, 2)),
    "cells that overlap by part": lambda: loss(64, 64, window(3, 2, 1, 1)),
    "an unknown size": lambda: loss(64, 64, window(3, 1, 1, 1), size=(symbol("H"), 8)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_others_stay(name: str) -> None:
    plain = trained(REFUSED[name](), PLAIN)
    assert ShortConvolutions().apply(plain) is plain
