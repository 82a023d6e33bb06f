"""dlc import: a model file and its weights out of an ONNX file, proved to compute the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.ir.graph import Role
from compiler.ir.tolerance import by_largest, excess, tolerance
from compiler.ir.types import DType
from runtime.inference import decompile
from runtime.inference.cases import random_inputs, size_cases
from runtime.inference.decompile import decompile_file, model_name
from runtime.inference.session import InferenceSession
from runtime.programs.predict import Predictor
from runtime.programs.project import open_project
from runtime.training.weights import fresh_weights

EXAMPLES = Path(__file__).parents[2] / "examples"
EXPORTED = Path(__file__).parents[1] / "exported" / "data"


@pytest.fixture
def exported(dlc: Callable[..., Any], net: Path) -> Path:
    dlc("compile", net)
    return Path("net.onnx")


def test_it_comes_back(dlc: Callable[..., Any], exported: Path) -> None:
    outcome = dlc("import", exported, "-o", "again.dl")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("wrote again.dl, 8 lines, and again.safetensors; certified: equal to ONNX Runtime")
    assert Path("again.dl").read_text() == (
        "# net.onnx, written as a model file: dlc import net.onnx\n\n"
        "model Net(x: f32[N, 3]) -> f32[N, 2] {\n"
        "    dense(4) -> relu\n"
        "    head: dense(2)\n"
        "}\n\n"
        'weights Net from "again.safetensors"\n'
    )
    # It is a model file as any other: checked, compiled, and the same as before.
    assert "4 weights from 4 tensors" in dlc("check", "again.dl").out
    assert dlc("compile", "again.dl", "-o", "second.onnx").err == ""
    assert dlc("diff", exported, "second.onnx", "--only", "results").code == 0


def test_what_is_there_is_not_replaced(dlc: Callable[..., Any], exported: Path) -> None:
    outcome = dlc("import", exported)
    assert outcome.code == 2
    assert "net.dl is there already: name another file with -o, or give --overwrite" in outcome.err
    assert dlc("import", exported, "--overwrite").code == 0
    assert dlc("import", exported, "-o", "net.txt").code == 2


def test_what_does_not_agree_is_not_written(
    dlc: Callable[..., Any], exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = decompile.decompile

    def wrong(*arguments: Any, **options: Any) -> Any:
        made = written(*arguments, **options)
        name, array = made.weights[0]
        return type(made)(made.text, made.model, ((name, array + 1), *made.weights[1:]), made.inputs, made.outputs)

    monkeypatch.setattr(decompile, "decompile", wrong)
    outcome = dlc("import", exported, "-o", "again.dl")
    assert outcome.code == 1
    assert "error[E0924]: net.onnx could not be written as a model file that computes the same" in outcome.err
    assert not Path("again.dl").exists()
    assert not Path("again.safetensors").exists()


def test_names() -> None:
    assert [model_name(stem) for stem in ("resnet-50 v2", "42", "Net")] == ["Resnet50V2", "Net42", "Net"]


# Those that import an ONNX file have tests of their own.
WRITTEN = [path for path in sorted(EXAMPLES.glob("*.dl")) if '.onnx"' not in path.read_text()]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_the_examples_come_back(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model of every example, with its layers and without falling back to a text without structure."""
    project = open_project(path)
    proved = decompile._proved

    def structured(*arguments: Any) -> Any:
        assert arguments[-1] is False, "the text with blocks and repetitions failed"
        return proved(*arguments)

    monkeypatch.setattr(decompile, "_proved", structured)
    for name in project.checked.models:
        model = project.model(name)
        file = tmp_path / f"{name}.onnx"
        file.write_bytes(compiler.onnx_file(model, fresh_weights(project, model)))
        written = decompile_file(file, file.with_suffix(".dl"))
        # As long as what a person wrote, or a little longer.
        assert written.text.count("\n") <= 1.5 * path.read_text().count("\n")
        again = open_project(file.with_suffix(".dl"))
        kinds = {weight.name.rpartition(".")[0].rpartition(".")[2] for weight in again.model().weights}
        assert not any(kind.startswith("parameter") for kind in kinds) or path.stem == "diabetes"


WANTED = {
    "resnet": ["layer1: repeat 2 {", "residual {", "fc: dense(10)"],
    "vgg16": ["repeat 3 { conv(8, 3, pad=same) -> relu }", "classifier_6: dense(10)"],
    "mobilenet": ["hard_swish", "depthwise_conv", "hard_sigmoid"],
    "lstm": ["repeat 2 {", "lstm("],
    "bert": ["position(24)", "layers: repeat 2 {", "-> gelu", "head: dense(4)"],
}


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("kind", WANTED)
def test_networks_that_pytorch_exported(kind: str, exporter: str, tmp_path: Path) -> None:
    file = EXPORTED / f"{kind}_{exporter}.onnx"
    written = decompile_file(file, tmp_path / "net.dl")
    assert [words for words in WANTED[kind] if words not in written.text] == []
    assert written.text.count("\n") <= 45
    project = open_project(tmp_path / "net.dl")
    model = project.model()
    values = model.graph.inputs_of(Role.DATA)
    sizes = size_cases(model.graph)[-1]
    inputs = random_inputs(values, sizes, {}, np.random.default_rng(0), unit=False)
    found = Predictor(model, fresh_weights(project, model)).predict(inputs)
    for name, expected in InferenceSession(file).run(inputs).items():
        assert excess(found[name], expected, tolerance(DType.F32), by_largest) <= 1
