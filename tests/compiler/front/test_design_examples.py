"""The examples by which the language was designed, as they are written there, each with what it needs around it."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

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


@pytest.mark.parametrize("part", ["ConvUnit", "Digits", "digits", "Transformer", "GPT", "Basic", "gan", "Flowers"])
def test_the_file_has_every_part(part: str) -> None:
    assert part in PARTS
