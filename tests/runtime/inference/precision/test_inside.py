"""Smaller files of networks that have graphs inside nodes: a plain recurrent layer is an If of two, or a Scan."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import compiler
from compiler.diagnostics import Source
from compiler.targets.onnx.inner import all_nodes, used_names
from runtime.inference.precision.forms import Dynamic, Form, Half, Static
from runtime.inference.precision.ranges import find_ranges
from runtime.inference.session import InferenceSession

SOURCE = """\
model Net(x: f32[N, T, 20]) -> f32[N, 4] {
    dense(24) -> relu
    small: rnn(40, sequence=true)
    wide: rnn(150)
    dense(4)
}
"""


@pytest.fixture(scope="module")
def content() -> bytes:
    program = compiler.compile_model(compiler.check(Source("net.dl", SOURCE)), "Net")
    generator = np.random.default_rng(0)
    shapes = {weight.name: [int(str(dim)) for dim in weight.type.shape] for weight in program.weights}
    weights = {n: (s[-1] ** -0.5 * generator.normal(size=s)).astype(np.float32) for n, s in shapes.items()}
    return compiler.onnx_file(program, weights)


def inputs(rows: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(rows).normal(size=(rows, 5, 20)).astype(np.float32)}


def form(kind: str, content: bytes) -> Form:
    ranges = find_ranges(content, [inputs(2), inputs(30)], 65504.0)
    return {"fp16": Half(content, ranges), "static": Static(content, ranges), "dynamic": Dynamic(content)}[kind]


@pytest.mark.parametrize("level", [0, -2])
@pytest.mark.parametrize(("kind", "near"), [("fp16", 0.002), ("static", 0.05), ("dynamic", 0.05)])
def test_few_and_many_sequences_give_nearly_the_same(content: bytes, kind: str, near: float, level: int) -> None:
    made = form(kind, content)
    assert any("small" in name for name in made.layers)
    assert any("wide" in name for name in made.layers)
    plan = {name: levels[max(level, -len(levels))] for name, levels in made.layers.items()}
    smaller = made.make(plan)
    assert smaller is not None
    assert len(smaller) < 0.75 * len(content)
    model = onnx.load_from_string(smaller)
    assert {"If", "Scan", "RNN"} <= {node.op_type for node in all_nodes(model.graph.node)}
    # Nothing is held that nothing reads.
    assert {item.name for item in model.graph.initializer} <= used_names(model.graph.node)
    for rows in (1, 30):
        expected = InferenceSession(content).run(inputs(rows))["output"]
        for optimise in (False, True):
            found = InferenceSession(smaller, optimise=optimise).run(inputs(rows))["output"]
            assert np.abs(found - expected).mean() < near * expected.std()


def test_a_layer_that_is_kept_has_its_weights_as_they_are(content: bytes) -> None:
    made = form("fp16", content)
    kept = next(name for name in made.layers if "small" in name)
    smaller = made.make({name: "f32" if name == kept else levels[0] for name, levels in made.layers.items()})
    assert smaller is not None
    types = {item.name: item.data_type for item in onnx.load_from_string(smaller).graph.initializer}
    weights = {name: type for name, type in types.items() if "weight_hh" in name}
    assert {type for name, type in weights.items() if "small" in name} == {onnx.TensorProto.FLOAT}
    assert {type for name, type in weights.items() if "wide" in name} == {onnx.TensorProto.FLOAT16}
