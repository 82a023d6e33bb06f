"""The sizes of well-known networks, weight by weight, against the same networks built of PyTorch's layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import pytest

import compiler
from compiler.diagnostics import Source

torch = pytest.importorskip("torch")
nn = torch.nn
FOLDER = Path(__file__).parent


def sizes(name: str, *models: str) -> Counter[int]:
    """How many elements the trainable weights of a model file have."""
    path = FOLDER / f"{name}.dl"
    checked = compiler.check(Source(str(path), path.read_text(encoding="utf-8")))
    weights = [weight for model in models for weight in compiler.compile_model(checked, model).weights]
    return Counter(prod(int(str(dim)) for dim in weight.type.shape) for weight in weights if weight.trainable)


def torch_sizes(*modules: Any) -> Counter[int]:
    return Counter(parameter.numel() for module in modules for parameter in module.parameters())


def unit(before: int, after: int, kernel: int, groups: int = 1) -> Iterator[Any]:
    yield nn.Conv2d(before, after, kernel, groups=groups, bias=False)
    yield nn.BatchNorm2d(after)


def resnet(copies: tuple[int, ...], expand: int) -> Any:
    """He et al., 2015, tables 1 (1,000 classes), with projections where the size or the number of channels changes."""
    layers = [*unit(3, 64, 7)]
    before = 64
    for stage, count in enumerate(copies):
        inner = 64 * 2**stage
        after = expand * inner
        for copy in range(count):
            if expand == 1:
                layers += [*unit(before, inner, 3), *unit(inner, after, 3)]
            else:
                layers += [*unit(before, inner, 1), *unit(inner, inner, 3), *unit(inner, after, 1)]
            if copy == 0 and before != after:
                layers += unit(before, after, 1)
            before = after
    return nn.Sequential(*layers, nn.Linear(before, 1000))


def mobilenet_v2() -> Any:
    """Sandler et al., 2018, table 2."""
    layers = [*unit(3, 32, 3)]
    before = 32
    rows = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
    for expand, after, count in rows:
        for _ in range(count):
            inner = expand * before
            if expand != 1:
                layers += unit(before, inner, 1)
            layers += [*unit(inner, inner, 3, groups=inner), *unit(inner, after, 1)]
            before = after
    return nn.Sequential(*layers, *unit(before, 1280, 1), nn.Linear(1280, 1000))


def test_resnets() -> None:
    assert sizes("resnet18", "ResNet18") == torch_sizes(resnet((2, 2, 2, 2), expand=1))
    assert sizes("resnet50", "ResNet50") == torch_sizes(resnet((3, 4, 6, 3), expand=4))


def test_mobilenet() -> None:
    assert sizes("mobilenet_v2", "MobileNetV2") == torch_sizes(mobilenet_v2())


def test_variational_autoencoder() -> None:
    encoder = [nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)]
    decoder = [nn.Linear(20, 400), nn.Linear(400, 784)]
    assert sizes("vae", "Encoder") == torch_sizes(*encoder)
    assert sizes("vae", "Decoder") == torch_sizes(*decoder)


def test_transformer() -> None:
    """PyTorch keeps the matrices of queries, keys and values in one weight, so that only sums can be compared."""
    with torch.device("meta"):
        reference = nn.ModuleList([nn.Transformer(batch_first=True), nn.Embedding(37_000, 512)])
    found, wanted = sizes("transformer", "Translator"), torch_sizes(reference)
    assert sum(size * count for size, count in found.items()) == sum(size * count for size, count in wanted.items())
