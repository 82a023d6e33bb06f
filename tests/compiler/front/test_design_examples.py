"""The examples by which the language was designed, as they are written there, each with what it needs around it."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler import Checked
from compiler.diagnostics import Source

TEXT = Path(__file__).with_name("design_examples.dl").read_text(encoding="utf-8")
# Declarations by name, each with its text up to the next one.
PARTS = {name: text for text, name in re.findall(r"^((?:block|model|train) (\w+)\(.*?^\}\n)", TEXT, re.M | re.S)}
AROUND = {
    "gan": """
model Generator(noise: f32[N, 64]) -> f32[N, 1, 28, 28] { dense(784) -> tanh -> reshape(1, 28, 28) }
model Critic(image: f32[N, 1, 28, 28]) -> f32[N, 1] { flatten -> dense(1) }
""",
    "Basic": """
model Stack(x: f32[N, 16, 8, 8]) -> f32[N, 32, 4, 4] { Basic(16) -> Basic(32, stride=2) }
""",
}


def check(*parts: str) -> Checked:
    needed = [AROUND.get(part, "") + PARTS[part] for part in parts]
    return compiler.check(Source("design.dl", "\n".join(["const classes = 10", *needed])))


def parameters(checked: Checked, model: str) -> int:
    weights = compiler.compile_model(checked, model).weights
    shapes = [
        [int(size) for size in weight.type.shape if isinstance(size, int)] for weight in weights if weight.trainable
    ]
    return sum(prod(shape) for shape in shapes)


def test_the_network_of_digits() -> None:
    assert check("ConvUnit", "Digits").warnings == ()


def test_the_training_of_digits() -> None:
    checked = check("ConvUnit", "Digits", "digits")
    assert checked.warnings == ()
    program = compiler.compile_train(checked, "digits")
    assert (program.settings.epochs, program.settings.batch) == (30, 64)
    assert [measure.name for measure in program.measures] == ["accuracy"]


def test_the_transformer() -> None:
    checked = check("Transformer", "GPT")
    block = 4 * (128 * 128 + 128) + 128 * 512 + 512 + 512 * 128 + 128 + 4 * 128
    assert parameters(checked, "GPT") == 65 * 128 + 64 * 128 + 4 * block + 2 * 128


def test_the_residual_block() -> None:
    checked = check("Basic")
    plain = 2 * (16 * 16 * 9 + 16 + 2 * 16)
    wider = 16 * 32 * 9 + 32 + 32 * 32 * 9 + 32 + 16 * 32 + 32 + 3 * 2 * 32
    assert parameters(checked, "Stack") == plain + wider


def test_the_gan() -> None:
    checked = check("gan")
    assert checked.warnings == ()
    owners = [{name.split(".")[0] for name in loss.over} for loss in checked.elaborated.trains["gan"].losses]
    assert owners == [{"Critic"}, {"Generator"}]
    assert len(compiler.compile_train(checked, "gan").steps) == 2


def test_the_flowers(tmp_path: Path, write_onnx: Callable[..., Path]) -> None:
    """On a VGG16 that is 32 times narrower."""
    nodes, stored, channels, x = [], {}, 3, "image"
    for block, (depth, width) in enumerate([(2, 2), (2, 4), (3, 8), (3, 16), (3, 16)], 1):
        for number in range(1, depth + 1):
            name = f"block{block}_conv{number}"
            stored[f"{name}.weight"] = np.zeros((width, channels, 3, 3), np.float32)
            nodes += [f"{name} = Conv({x}, {name}.weight) vgg16/{name}/Conv pads=1,1,1,1"]
            nodes += [f"{name}.relu = Relu({name}) vgg16/{name}/Relu"]
            channels, x = width, f"{name}.relu"
        nodes += [f"block{block}_pool = MaxPool({x}) vgg16/block{block}_pool/MaxPool kernel_shape=2,2 strides=2,2"]
        x = f"block{block}_pool"
    stored["fc1.weight"] = np.zeros((784, 1000), np.float32)
    nodes += [f"flat = Flatten({x}) vgg16/flatten/Flatten", "scores = MatMul(flat, fc1.weight) vgg16/fc1/MatMul"]
    path = tmp_path / "vgg16.onnx"
    write_onnx(path, "\n".join(nodes), {"image": ["N", 3, 224, 224]}, {"scores": ["N", 1000]}, stored)
    main = tmp_path / "flowers.dl"
    text = f'import "vgg16.onnx" as VGG16\n{PARTS["Flowers"]}{PARTS["flowers"]}'
    checked = compiler.check(Source(str(main), text))
    assert checked.warnings == ()
    convolutions = sum(array.size for name, array in stored.items() if name != "fc1.weight")
    assert parameters(checked, "Flowers") == convolutions + 784 * 256 + 256 + 256 * 5 + 5
    train = checked.elaborated.trains["flowers"]
    assert {name.split(".")[0] for name in train.losses[0].over} == {"Flowers"}
    assert train.frozen == {f"VGG16.{name}" for name in stored if name != "fc1.weight"}


@pytest.mark.parametrize(
    "part", ["ConvUnit", "Digits", "digits", "Transformer", "GPT", "Basic", "gan", "Flowers", "flowers"]
)
def test_the_file_has_every_part(part: str) -> None:
    assert part in PARTS
