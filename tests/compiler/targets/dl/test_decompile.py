"""Graphs written as model files: the text that a person would write, and a network that computes the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from compiler.front.format import format_source
from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.elementwise import Add
from compiler.ops.interpret import interpret_outputs
from compiler.ops.lstm import Lstm
from compiler.ops.running_norm import RunningNorm
from compiler.targets.dl import decompile
from runtime.programs.predict import Predictor
from runtime.programs.project import project_of_text
from runtime.training.weights import fresh_weights

F32 = DType.F32
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
N, T = symbol("N"), symbol("T")


def written(graph: Graph, weights: Mapping[str, Any]) -> str:
    return format_source(Source("net.dl", decompile(graph, weights, "Net").text))


def again(text: str, tmp_path: Path) -> str:
    """What comes back of a model of the language: as written to an ONNX file and read again."""
    project = project_of_text(text, tmp_path)
    model = project.model("Net")
    path = tmp_path / "net.onnx"
    path.write_bytes(compiler.onnx_file(model, fresh_weights(project, model)))
    foreign = compiler.import_onnx(path)
    return written(foreign.program.graph, foreign.weights)


UNCHANGED = {
    "layers": """model Net(image: u8[N, 8, 8]) -> f32[N, 10] {
    cast(f32) / 16 -> softmax -> unsqueeze(1)
    stem: conv(8, 3, stride=2, pad=1) -> relu -> max_pool(2)
    conv(8, 3, pad=same, groups=2, bias=false) -> leaky_relu(0.2)
    depthwise_conv((3, 1), pad=((1, 0), (0, 0))) -> gelu(approximate=tanh)
    global_avg_pool
    head: dense(10)
}
""",
    "repetition": """model Net(x: f32[N, 8]) -> f32[N, 8] {
    body: repeat 3 { residual { dense(8) -> relu } }
    head: dense(8)
}
""",
    "a transformer": """model Net(tokens: i64[N, T <= 16]) -> f32[N, T, 20] {
    token: embed(20, 8)
    position(16)
    body: repeat 2 {
        attend: residual { layer_norm -> attention(2, causal=true) }
        feed: residual {
            layer_norm -> dense(32) -> gelu
            dense(8)
        }
    }
    head: dense(20)
}
""",
    "a dense layer for each step": """model Net(tokens: i64[N, T]) -> f32[N, T, 5] {
    embed(20, 8)
    lstm(6, sequence=true)
    gru(6, bidirectional=true, sequence=true)
    head: dense(7) -> tanh
    dense(5) -> softmax
}
""",
    "a recurrent network": """model Net(x: f32[N, T, 4]) -> f32[N, 3] {
    memory: repeat 2 { gru(4, bidirectional=true, sequence=true) } -> it[:, -1]
    head: dense(3)
}
""",
    "blocks": """block Unit(x: [N, D], units) {
    dense(units) -> relu
    dense(units) -> tanh
}

model Net(x: f32[N, 8]) -> f32[N, 4] {
    Unit(16) -> sigmoid
    Unit(4)
}
""",
    "branches": """model Net(x: f32[N, 8], y: f32[N, 8]) -> (near: f32[N, 8], far: bool[N, 8]) {
    difference = x - y
    near = difference -> abs -> clip(0, 1)
    far = difference > 0.5
    (near, far)
}
""",
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_what_the_language_says_comes_back(name: str, tmp_path: Path) -> None:
    assert again(UNCHANGED[name], tmp_path) == UNCHANGED[name]


def test_small_operations_become_layers() -> None:
    """A norm that a file spells with a scale behind it, GELU by the error function, ReLU6 by bounds."""
    b = Emit("net")
    x = b.input("x", TensorType(F32, (N, 2, 4)))
    names = ("mean", "var", "scale", "shift")
    weights = {
        name: np.linspace(0.5, 1, 2, dtype=np.float32).reshape((2, 1) if name[0] == "s" else (2,)) for name in names
    }
    values = {name: b.input(name, TensorType(F32, array.shape), Role.WEIGHT) for name, array in weights.items()}
    normed = b.add(RunningNorm(1e-5), x, values["mean"], values["var"])
    y = b.add(Add(), b.mul(normed, values["scale"]), values["shift"])
    y = b.mul(b.mul(y, 0.5), b.add(Add(), b.erf(b.mul(y, float(np.sqrt(0.5)))), b.scalar(1, F32)))
    b.output("output", b.minimum(b.maximum(y, 0.0), 6.0))
    assert written(b.finish(), weights) == (
        "model Net(x: f32[N, 2, 4]) -> f32[N, 2, 4] {\n    batch_norm -> gelu -> relu6\n}\n"
    )


def test_stored_tensors_become_parameters() -> None:
    b = Emit("net")
    x = b.input("x", TensorType(F32, (symbol("batch"), 3)))
    scale = b.input("layer.scale", TensorType(F32, (3,)), Role.WEIGHT)
    picked = b.constant(np.array([2, 0, 5]))
    b.output("y", b.mul(x, scale))
    b.output("z", b.gather(b.constant(np.arange(6, dtype=np.float32)), picked, 0))
    weights = {"layer.scale": np.array([1, 2, 3], np.float32)}
    with pytest.raises(DiagnosticError, match="constant: z"):
        written(b.finish(), weights)
    b = Emit("net")
    x = b.input("x", TensorType(F32, (symbol("batch"), 3)))
    scale = b.input("layer.scale", TensorType(F32, (3,)), Role.WEIGHT)
    b.output("y", b.mul(x, scale))
    graph = b.finish()
    made = decompile(graph, weights, "Net")
    project = project_of_text(made.text, Path())
    given = {weight.name: array for weight, (_, array) in zip(project.model().weights, made.weights, strict=True)}
    batch = np.ones((2, 3), np.float32)
    found = Predictor(project.model(), given).predict({"x": batch})["y"]
    assert np.array_equal(found, interpret_outputs(graph, {"x": batch, **weights})["y"])


def test_what_has_no_words_is_told_all_at_once(tmp_path: Path) -> None:
    b = Emit("net")
    x = b.input("x", TensorType(F32, (T, N, 3)))
    shapes = ((8, 3), (8, 2), (8,), (8,))
    operands = [b.input(f"w{i}", TensorType(F32, shape), Role.WEIGHT) for i, shape in enumerate(shapes)]
    for turn in range(2):
        y, *_ = b.add_node(Lstm(direction="reverse"), (x, *operands))
        b.output(f"y{turn}", y)
    weights = {f"w{i}": np.ones(shape, np.float32) for i, shape in enumerate(shapes)}
    with pytest.raises(DiagnosticError, match=r"E0923.*\n.*lstm \(2 times\)"):
        written(b.finish(), weights)


def test_rows_become_sequences_again() -> None:
    b = Emit("net")
    x = b.input("x", TensorType(F32, (N, T, 3)))
    w, v = (b.input(name, TensorType(F32, shape), Role.WEIGHT) for name, shape in (("w", (3, 4)), ("v", (4,))))
    rows = b.relu(b.add(Add(), b.matmul(b.reshape(x, (N * T, 3)), w), v))
    b.output("output", b.reshape(b.add(Add(), rows, rows), (N, T, 4)))
    weights = {"w": np.ones((3, 4), np.float32), "v": np.ones(4, np.float32)}
    assert written(b.finish(), weights) == (
        "model Net(x: f32[N, T, 3]) -> f32[N, T, 4] {\n"
        "    dense(4) -> relu\n    features = it\n    features + features\n}\n"
    )


def test_sequences_with_the_steps_first() -> None:
    b = Emit("net")
    x = b.input("x", TensorType(F32, (T, N, 3)))
    shapes = {"w": (8, 3), "v": (8, 2), "b": (8,), "c": (8,)}
    y, *_ = b.add_node(
        Lstm(), (x, *(b.input(name, TensorType(F32, shape), Role.WEIGHT) for name, shape in shapes.items()))
    )
    b.output("output", y)
    assert written(b.finish(), {name: np.ones(shape, np.float32) for name, shape in shapes.items()}) == (
        "model Net(x: f32[T, N, 3]) -> f32[T, N, 2] {\n"
        "    transpose(1, 0, 2) -> lstm(2, sequence=true) -> transpose(1, 0, 2)\n}\n"
    )


@pytest.mark.parametrize(
    ("name", "lines", "words"),
    [
        ("squeezenet", 35, ["repeat 2 {", "concat(", "conv(1000, 1)"]),
        ("shufflenet", 60, ["depthwise_conv(", "repeat 7 {", "residual {"]),
        ("densenet121", 45, ["repeat 6 {", "repeat 16 {", "batch_norm -> relu -> conv(128, 1, bias=false)"]),
    ],
)
def test_networks_of_the_onnx_package(name: str, lines: int, words: list[str]) -> None:
    """Their repetitions are found again, and what is written asks for the weights that are there, in their order."""
    foreign = compiler.import_onnx(LIGHT / f"light_{name}.onnx")
    made = decompile(foreign.program.graph, foreign.weights, "Net")
    assert made.text.count("\n") <= lines
    assert [word for word in words if word not in made.text] == []
    model = compiler.compile_model(compiler.check(Source("net.dl", made.text)), "Net")
    asked = [(weight.name.rpartition(".")[2], weight.type.shape) for weight in model.weights]
    assert asked == [(ending, array.shape) for ending, array in made.weights]
