"""Products that are cut into parts, made one part at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import dlc
from compiler.passes.split_products import SplitProducts

BEFORE = """
    data %x: f32[N, T, 4]
    weight %w: f32[4, 48]
    weight %b: f32[48]
    %t0: f32[N, T, 48] = matmul(%x, %w)
    %t1: f32[N, T, 48] = add(%t0, %b)
    %t2: f32[N, T, 6, 8] = reshape(%t1) {shape=[N, T, 6, 8]}
    %p: f32[N, T, 4, 8], %q: f32[N, T, 2, 8] = split(%t2) {axis=2, sizes=[4, 2]}
    return p=%p, q=%q
"""
AFTER = """
    data %x: f32[N, T, 4]
    weight %w: f32[4, 48]
    weight %b: f32[48]
    %w.part_1: f32[4, 32] = slice(%w) {starts=[0, 0], stops=[4, 32], steps=[1, 1]}
    %t3: f32[N, T, 32] = matmul(%x, %w.part_1)
    %b.part_1: f32[32] = slice(%b) {starts=[0], stops=[32], steps=[1]}
    %t4: f32[N, T, 32] = add(%t3, %b.part_1)
    %t5: f32[N, T, 4, 8] = reshape(%t4) {shape=[N, T, 4, 8]}
    %w.part_2: f32[4, 16] = slice(%w) {starts=[0, 32], stops=[4, 48], steps=[1, 1]}
    %t6: f32[N, T, 16] = matmul(%x, %w.part_2)
    %b.part_2: f32[16] = slice(%b) {starts=[32], stops=[48], steps=[1]}
    %t7: f32[N, T, 16] = add(%t6, %b.part_2)
    %t8: f32[N, T, 2, 8] = reshape(%t7) {shape=[N, T, 2, 8]}
    return p=%t5, q=%t8
"""


def test_text_before_and_after(graphs: Any) -> None:
    after = graphs.applied(SplitProducts(), graphs.read(BEFORE))
    assert graphs.unnamed(after) == graphs.unnamed(graphs.read(AFTER))
    assert {"w.part_1", "b.part_2"} <= {value.name for value in after.values()}


def test_a_product_alone(graphs: Any) -> None:
    before = """
        data %x: f32[N, 4]
        weight %w: f32[4, 32]
        %t0: f32[N, 32] = matmul(%x, %w)
        %p: f32[N, 16], %q: f32[N, 16] = split(%t0) {axis=1, sizes=[16, 16]}
        return p=%p, q=%q
    """
    after = graphs.applied(SplitProducts(), graphs.read(before))
    assert [node.operation.opcode for node in after.nodes] == ["slice", "matmul"] * 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return p", "%again: f32[4, 48] = relu(%w)\n    return again=%again, p"),
        ("return p", "return t1=%t1, p"),
        ("{axis=2, sizes=[4, 2]}", "{axis=1, sizes=[T - 1, 1]}"),
        ("%p: f32[N, T, 4, 8], %q: f32[N, T, 2, 8]", "%p: f32[N, T, 5, 8], %q: f32[N, T, 1, 8]"),
    ],
    ids=["weight", "whole", "rows", "narrow"],
)
def test_where_it_stays(graphs: Any, old: str, new: str) -> None:
    text = BEFORE.replace(old, new)
    if "T - 1" in new:
        text = text.replace("%p: f32[N, T, 4, 8], %q: f32[N, T, 2, 8]", "%p: f32[N, T - 1, 6, 8], %q: f32[N, 1, 6, 8]")
    text = text.replace("sizes=[4, 2]", "sizes=[5, 1]") if "T, 5, 8" in new else text
    graph = graphs.read(text)
    assert SplitProducts().apply(graph) is graph


def test_weights_are_in_parts_and_come_back(tmp_path: Path) -> None:
    source = "model Net(x: f32[N, T, 32]) -> f32[N, T, 32] { attend: attention(2, causal=true) }"
    model, path = dlc.loads(source), tmp_path / "net.onnx"
    model.export(path)
    file = onnx.load(path)
    assert not {"Slice", "Split"} & {node.op_type for node in file.graph.node}
    stored = {item.name: tuple(item.dims) for item in file.graph.initializer}
    assert stored["Net.attend.attention.in_proj_weight.part_3"] == (32, 32)
    assert "Net.attend.attention.in_proj_weight" not in stored

    back = dlc.loads(
        f'import "{path.name}" as Again\nmodel Net(x: f32[N, T, 32]) -> f32[N, T, 32] {{ Again }}', folder=tmp_path
    )
    x = np.random.default_rng(0).normal(size=(2, 5, 32)).astype(np.float32)
    assert np.allclose(back.predict({"x": x}), model.predict({"x": x}), atol=1e-5)
