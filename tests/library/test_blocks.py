"""Every block of the library compiles, trains a step and exports."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import dlc
from compiler.diagnostics import Sink, Source
from compiler.front import tree
from compiler.front.format import format_source
from compiler.front.imports import library
from compiler.front.parse import parse

# For each block the inputs of a model, with sizes for N left out, and a use.
USES = {
    "std.conv.ConvUnit": ("x: f32[N, 3, 8, 8]", "ConvUnit(4, 5, 2, activation=none)"),
    "std.conv.SeparableUnit": ("x: f32[N, 3, 8, 8]", "SeparableUnit(4, stride=2)"),
    "std.mobile.InvertedResidual": ("x: f32[N, 4, 8, 8]", "InvertedResidual(4, expand=2, squeeze=true)"),
    "std.mobile.SqueezeExcite": ("x: f32[N, 4, 8, 8]", "SqueezeExcite"),
    "std.mlp.MLP": ("x: f32[N, 6]", "MLP([8, 4], 3, drop=0.1)"),
    "std.residual.BasicBlock": ("x: f32[N, 4, 8, 8]", "BasicBlock(6, stride=2)"),
    "std.residual.Bottleneck": ("x: f32[N, 4, 8, 8]", "Bottleneck(2, stride=2)"),
    "std.transformer.FeedForward": ("x: f32[N, 5, 8]", "FeedForward(drop=0.1)"),
    "std.transformer.EncoderBlock": ("x: f32[N, 5, 8], there: bool[N, 5]", "EncoderBlock(2, drop=0.1, mask=there)"),
    "std.transformer.DecoderBlock": (
        "x: f32[N, 5, 8], y: f32[N, 3, 8], there: bool[N, 3]",
        "DecoderBlock(y, 2, drop=0.1, context_mask=there)",
    ),
}
ROWS = 6


def blocks() -> set[str]:
    files = {name: parse(Source(name, path.read_text(encoding="utf-8")), Sink()) for name, path in library().items()}
    return {
        f"{name}.{block.name.name}"
        for name, file in files.items()
        for block in file.declarations
        if isinstance(block, tree.Block)
    }


def arrays(inputs: str) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    generator = np.random.default_rng(0)
    found = {}
    for name, dtype, sizes in re.findall(r"(\w+): (\w+)\[N, ([\d, ]+)\]", inputs):
        values = generator.standard_normal((ROWS, *map(int, sizes.split(", "))))
        found[name] = np.ones(values.shape, bool) if dtype == "bool" else values.astype(dtype.replace("f", "float"))
    return found


def test_every_block_is_used_here() -> None:
    assert set(USES) == blocks()


@pytest.mark.parametrize("block", USES)
def test_block(block: str, tmp_path: Path) -> None:
    inputs, use = USES[block]
    names = re.findall(r"(\w+):", inputs)
    text = f"""
        import {block.rpartition(".")[0]}
        model Net({inputs}) {{ {use} }}
        train net({inputs}) {{
            minimize mean(square(Net({", ".join(names)}) - 1)) with sgd(0.01)
            batch 3
            epochs 1
        }}
    """
    model = dlc.loads(text, folder=tmp_path)
    before = model.weights
    history = model.fit(arrays(inputs))
    assert np.isfinite(history.rows[-1].figures["loss"])
    assert any(not np.array_equal(array, before[name]) for name, array in model.weights.items())
    assert "equal to ONNX Runtime" in model.export(tmp_path / "net.onnx").summary()


@pytest.mark.parametrize("name", library())
def test_every_block_has_a_comment_above(name: str) -> None:
    text = library()[name].read_text(encoding="utf-8")
    assert text.startswith("# ")
    for block in re.finditer(r"^block (\w+)", text, re.MULTILINE):
        assert text[: block.start()].rstrip("\n").splitlines()[-1].startswith("#"), block[1]


@pytest.mark.parametrize("name", library())
def test_layout(name: str) -> None:
    text = library()[name].read_text(encoding="utf-8")
    assert format_source(Source(name, text)) == text
