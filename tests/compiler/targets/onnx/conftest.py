"""A small network whose nodes carry scopes and places, as a front end makes it."""

from typing import NamedTuple

import numpy as np
import pytest

from compiler.diagnostics import Source
from compiler.ir.builder import Builder
from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Origin, Role
from compiler.ir.types import DType, TensorType
from compiler.ops.activation import Relu
from compiler.ops.base import Array
from compiler.ops.elementwise import Add
from compiler.ops.matmul import MatMul

TEXT = """model Digits(x: f32[N, 4]) -> f32[N, 3] {
    hidden: dense(8) -> relu
    head: dense(3)
}
"""
SOURCE = Source("models/digits.dl", TEXT)


class Network(NamedTuple):
    graph: Graph
    weights: dict[str, Array]


@pytest.fixture
def network() -> Network:
    """``Digits``: two dense layers with a ReLU between them, from x[N, 4] to logits[N, 3]."""
    b = Builder("Digits")
    generator = np.random.default_rng(3)
    weights: dict[str, Array] = {}
    value = b.input("x", TensorType(DType.F32, (symbol("N"), 4)))
    for label, inputs, outputs in (("hidden", 4, 8), ("head", 8, 3)):
        scope = f"Digits.{label}"
        kernel = TensorType(DType.F32, (inputs, outputs))
        weight = b.input(f"{scope}.weight", kernel, Role.WEIGHT)
        bias = b.input(f"{scope}.bias", kernel.with_shape((outputs,)), Role.WEIGHT)
        weights[weight.name] = generator.standard_normal((inputs, outputs), np.float32)
        weights[bias.name] = generator.standard_normal(outputs, np.float32)
        start = SOURCE.text.index(label)
        with b.at(Origin((SOURCE.span(start, start + len(label)),), scope)):
            value = b.add(Add(), b.add(MatMul(), value, weight), bias)
            value = b.add(Relu(), value) if label == "hidden" else value
    b.output("logits", value)
    return Network(b.finish(), weights)
