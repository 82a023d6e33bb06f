"""Well-known networks in idiomatic model files: they check, their training steps compile, and they have the sizes of
their papers or reference implementations. Where a number comes from stands beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler import Checked
from compiler.diagnostics import Source
from compiler.front.format import format_source

FOLDER = Path(__file__).parent
SIZES = {
    # torchvision.models: resnet18(), resnet50(), mobilenet_v2()
    "resnet18": {"ResNet18": 11_689_512},
    "resnet50": {"ResNet50": 25_557_032},
    "mobilenet_v2": {"MobileNetV2": 3_504_872},
    # milesial/Pytorch-UNet, UNet(n_channels=3, n_classes=2)
    "unet": {"UNet": 31_037_698},
    # The paper's table has 159K for the kernels of this module, in units of 1,024; the biases are one for each channel
    "inception": {"Module": 163_328 + 64 + 96 + 128 + 16 + 32 + 32},
    # torch.nn.Transformer(), 44,140,544, and the table of 37,000 embeddings
    "transformer": {"Translator": 44_140_544 + 37_000 * 512},
    # nanoGPT with n_layer=4, n_head=4, n_embd=128, block_size=64, vocab_size=65, its 8,192 positions counted in
    "gpt": {"GPT": 801_664 + 64 * 128},
    "gan": {
        "Generator": 65 * 7 * 7 * 64 + 64 * 32 * 16 + 2 * 32 + 32 * 16 + 1,
        "Critic": 32 * 16 + 32 + 32 * 64 * 16 + 2 * 64 + 7 * 7 * 64 + 1,
    },
    # 10,000 embeddings; norm; attention 4·(128² + 128); dense 128² + 128
    "two_tower": {"Match": 1_280_000 + 256 + 66_048 + 16_512, "Encoder": 1_280_000 + 256 + 66_048 + 16_512},
    # pytorch/examples, vae/main.py: 652,824 in both parts
    "vae": {"Encoder": 330_040, "Decoder": 652_824 - 330_040},
}


def load(name: str) -> Checked:
    path = FOLDER / f"{name}.dl"
    return compiler.check(Source(str(path), path.read_text(encoding="utf-8")))


def parameters(checked: Checked, model: str) -> int:
    weights = compiler.compile_model(checked, model).weights
    return sum(int(np.prod(weight.type.shape)) for weight in weights if weight.trainable)


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str) -> None:
    checked = load(name)
    assert checked.warnings == ()
    assert {model: parameters(checked, model) for model in SIZES[name]} == SIZES[name]


@pytest.mark.parametrize("name", SIZES)
def test_training_steps_compile(name: str) -> None:
    checked = load(name)
    assert checked.trains
    for train in checked.trains:
        program = compiler.compile_train(checked, train)
        assert all(step.output("loss").type.rank == 0 for step in program.steps)


@pytest.mark.parametrize("name", SIZES)
def test_layout(name: str) -> None:
    text = (FOLDER / f"{name}.dl").read_text(encoding="utf-8")
    assert format_source(Source(name, text)) == text


def test_every_file_is_looked_at() -> None:
    assert set(SIZES) == {path.stem for path in FOLDER.glob("*.dl")}
