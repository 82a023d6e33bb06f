"""A small program to train: linear regression with momentum, written down operation by operation.

It runs in an engine made of the reference interpreter, so that these tests need no generated code. Subprocesses of the
tests run this file by its path.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from compiler.diagnostics import Source, Span
from compiler.ir.builder import Builder
from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Origin, Role, Value
from compiler.ir.types import DType, TensorType
from compiler.ops.constant import Constant, Size
from compiler.ops.convert import Cast
from compiler.ops.elementwise import Add, Divide, Multiply, Subtract
from compiler.ops.interpret import interpret_outputs
from compiler.ops.matmul import MatMul
from compiler.ops.reduce import Mean, Sum
from compiler.ops.shape import Transpose
from compiler.ops.unary import Absolute, Log, Sin, Square
from compiler.program import IndexRange, Measure, Settings, TrainProgram, Weight

TEXT = """\
train line(x: f32[N, 3], y: f32[N, 1], group: u8[N]) {
    minimize mean(square(x -> Line - log(y))) with sgd(RATE, momentum=0.9)
    measure  mae(Line(x), log(y))
    data     "line.npz"
    validate 20%
    test     "more.npz"
}
"""
N = symbol("N")
F32, F64, I64 = DType.F32, DType.F64, DType.I64


class Emitter(Builder):
    """A builder with the source at hand."""

    def __init__(self, name: str, source: Source) -> None:
        super().__init__(name)
        self.source = source

    def span(self, text: str) -> Span:
        start = self.source.text.index(text)
        return self.source.span(start, start + len(text))

    def number(self, value: float, dtype: DType = F32) -> Value:
        return self.add(Constant(np.array(value, dtype.numpy)))

    def step(self, at: str, operation: Any, *inputs: Value, scope: str = "") -> Value:
        with self.at(Origin((self.span(at),), scope)):
            return self.add(operation, *inputs)


def forward(b: Emitter) -> tuple[Value, Value, Value, Value]:
    """x, difference, weight and bias; the loss and the totals of the measure become outputs."""
    with b.at(Origin((b.span("x: f32[N, 3]"),))):
        x = b.input("x", TensorType(F32, (N, 3)))
    with b.at(Origin((b.span("y: f32[N, 1]"),))):
        y = b.input("y", TensorType(F32, (N, 1)))
    with b.at(Origin((b.span("group: u8[N]"),))):
        b.input("group", TensorType(DType.U8, (N,)))
    weight = b.input("Line.dense.weight", TensorType(F32, (3, 1)), Role.WEIGHT)
    bias = b.input("Line.dense.bias", TensorType(F32, (1,)), Role.WEIGHT)
    product = b.step("Line", MatMul(), x, weight, scope="Line.dense")
    predicted = b.step("Line", Add(), product, bias, scope="Line.dense")
    wanted = b.step("log(y)", Log(), y)
    difference = b.step("x -> Line - log(y)", Subtract(), predicted, wanted)
    squared = b.step("square(x -> Line - log(y))", Square(), difference)
    b.output("loss", b.step("mean(square(x -> Line - log(y)))", Mean((0, 1)), squared))
    b.output("mae.total", b.add(Sum((0, 1)), b.add(Absolute(), difference)))
    b.output("mae.count", b.add(Size(N)))
    return x, difference, weight, bias


def step_graph(source: Source, rate: float) -> Graph:
    b = Emitter("step0", source)
    x, difference, weight, bias = forward(b)
    seed, step = b.input("seed", TensorType(I64), Role.STATE), b.input("step", TensorType(I64), Role.STATE)
    count = b.add(Cast(F32), b.add(Size(N)))
    slope = b.add(Divide(), b.add(Multiply(), difference, b.number(2.0)), count)
    # Something random that hangs on seed and step, as dropout does.
    phase = b.add(Cast(F32), b.add(Add(), seed, step))
    noise = b.add(Multiply(), b.add(Sin(), phase), b.number(0.01))
    gradients = {weight: b.add(MatMul(), b.add(Transpose((1, 0)), x), slope), bias: b.add(Sum((0,)), slope)}
    for kept, gradient in gradients.items():
        moment = b.input(f"{kept.name}.sgd.momentum", kept.type, Role.STATE)
        with b.at(Origin((b.span("sgd(RATE, momentum=0.9)"),))):
            noisy = b.add(Add(), gradient, noise)
            grown = b.add(Add(), b.add(Multiply(), moment, b.number(0.9)), noisy)
            moved = b.add(Subtract(), kept, b.add(Multiply(), grown, b.number(rate)))
        b.output(moment.name, grown, updates=moment.name)
        b.output(kept.name, moved, updates=kept.name)
    b.output("step", b.add(Add(), step, b.number(1, I64)), updates="step")
    return b.finish()


def evaluate_graph(source: Source) -> Graph:
    b = Emitter("evaluate", source)
    forward(b)
    return b.finish()


def initial_graph(source: Source) -> Graph:
    b = Emitter("initial", source)
    phase = b.add(Cast(F32), b.input("seed", TensorType(I64), Role.STATE))
    ramp = b.add(Constant(np.array([[0.1], [0.2], [0.3]], np.float32)))
    zeros = {"Line.dense.bias": (1,), "Line.dense.bias.sgd.momentum": (1,), "Line.dense.weight.sgd.momentum": (3, 1)}
    b.output("Line.dense.weight", b.add(Sin(), b.add(Add(), ramp, phase)))
    for name, shape in zeros.items():
        b.output(name, b.add(Constant(np.zeros(shape, np.float32))))
    b.output("step", b.number(0, I64))
    return b.finish()


def mean_measure(source: Source) -> Measure:
    b = Emitter("mae", source)
    total, count = b.input("mae.total", TensorType(F64)), b.input("mae.count", TensorType(I64))
    b.output("value", b.add(Divide(), total, b.add(Cast(F64), count)))
    return Measure("mae", ("mae.total", "mae.count"), b.finish(), "lower")


def line_program(rate: float = 0.05, **settings: Any) -> TrainProgram:
    """The program of TEXT; its settings are ``settings`` alone, with the places of those in the text."""
    source = Source("line.dl", TEXT)
    evaluate, step = evaluate_graph(source), step_graph(source, rate)
    places = {"data": '"line.npz"', "validate": "20%", "test": '"more.npz"'}
    spans = {name: source.span(TEXT.index(text), TEXT.index(text) + len(text)) for name, text in places.items()}
    weights = tuple(
        Weight(value.name, value.type, spans["data"], value.name.endswith("weight"))
        for value in evaluate.inputs_of(Role.WEIGHT)
    )
    dense = source.span(TEXT.index("Line("), TEXT.index("Line(") + 4)
    return TrainProgram(
        name="line",
        inputs=evaluate.inputs_of(Role.DATA),
        batch_symbol="N",
        initial=initial_graph(source),
        steps=(step,),
        evaluate=evaluate,
        weights=weights,
        models=("Line",),
        measures=(mean_measure(source),),
        ranges=(IndexRange("group", 4, dense),),
        settings=Settings(**{"batch": 8, "epochs": 6, "spans": spans, **settings}),
    )


def line_data(count: int = 50) -> dict[str, np.ndarray[Any, Any]]:
    """Samples on a line, with more arrays than the program takes."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(count, 3)).astype(np.float32)
    y = np.exp(x @ np.float32([[1.0], [-0.5], [0.25]]) + np.float32(0.5)).astype(np.float32)
    return {"x": x, "y": y, "group": rng.integers(0, 4, count).astype(np.uint8), "unused": np.arange(3)}


@dataclass
class ReferenceEngine:
    """Runs a program by the reference interpreter, updating ``kept`` in place as a generated module does."""

    program: TrainProgram
    kept: dict[str, np.ndarray[Any, Any]]
    calls: int = 0
    neighbours: tuple[tuple[str, ...], ...] = ()

    def bind(self, name: str, inputs: Mapping[str, Any]) -> None:
        """Nothing is made ahead."""

    def call(self, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        program = self.program
        graphs = {"initial": program.initial, "evaluate": program.evaluate}
        graphs |= {f"step{index}": graph for index, graph in enumerate(program.steps)}
        self.calls += 1
        outputs = interpret_outputs(graphs[name], {**self.kept, **inputs})
        updates = {output.name: output.updates for output in graphs[name].outputs if output.updates}
        for output, kept in updates.items():
            self.kept[kept][...] = outputs.pop(output)
        return outputs


def renamed(program: TrainProgram, **settings: Any) -> TrainProgram:
    """``program`` with other settings."""
    return replace(program, settings=replace(program.settings, **settings))


@pytest.fixture
def line() -> Any:
    """This file: with pytest's importlib mode a test can't import what lies beside it."""
    return sys.modules[__name__]


@pytest.fixture
def program() -> TrainProgram:
    return line_program()


@pytest.fixture
def arrays() -> dict[str, np.ndarray[Any, Any]]:
    return line_data()
