"""Constant folding."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.ir.dims import symbol
from compiler.ir.types import DType
from compiler.ops import Emit
from compiler.passes.fold import FoldConstants


def test_what_depends_on_constants_alone(graphs: Any) -> None:
    before = """
        data %x: f32[N]
        %a: f32[2] = constant() {array=f32[2](1.0, 2.0)}
        %b: f32[2] = square(%a)
        %c: f32[] = sum(%b) {axes=[0]}
        %y: f32[N] = mul(%x, %c)
        return y=%y
    """
    after = """
        data %x: f32[N]
        %a: f32[2] = constant() {array=f32[2](1.0, 2.0)}
        %b: f32[2] = constant() {array=f32[2](1.0, 4.0)}
        %c: f32[] = constant() {array=f32[](5.0)}
        %y: f32[N] = mul(%x, %c)
        return y=%y
    """
    assert graphs.same_text(graphs.applied(FoldConstants(), graphs.read(before)), after)


def test_a_folded_node_keeps_its_origin() -> None:
    b = Emit("g")
    b.output("y", b.exp(b.scalar(0.0, DType.F32)))
    node = FoldConstants().apply(b.finish()).nodes[-1]
    assert node.origin.via == ("fold-constants",)


def test_what_stays(graphs: Any) -> None:
    """Sizes of symbols, random numbers, repetitions, large results and results of unknown size."""
    text = """
        data %x: f32[N]
        %one: f32[] = constant() {array=f32[](1.0)}
        %seed: i64[] = constant() {array=i64[](7)}
        %row: f32[4, 1] = constant() {array=f32[4, 1](1.0, 2.0, 3.0, 4.0)}
        %column: f32[1, 4] = constant() {array=f32[1, 4](1.0, 2.0, 3.0, 4.0)}
        %size: i64[] = size() {dim=N}
        %drawn: f32[3] = random_uniform(%seed, %seed) {shape=[3], stream=0}
        %repeated: f32[5] = expand(%one) {shape=[5]}
        %open: f32[N] = expand(%one) {shape=[N]}
        %large: f32[4, 4] = mul(%row, %column)
        %y: f32[N] = add(%x, %open)
        return y=%y, size=%size, drawn=%drawn, repeated=%repeated, large=%large
    """
    graph = graphs.read(text)
    assert FoldConstants(limit=15).apply(graph) is graph
    folded = FoldConstants(limit=16).apply(graph)
    changed = [node.output.name for node in folded.nodes if node not in graph.nodes]
    assert changed == ["large"]


def test_several_times_as_deep(graphs: Any) -> None:
    b = Emit("g")
    value = b.constant(np.arange(4, dtype=np.int64))
    for _ in range(5):
        value = b.add(value, value)
    b.output("y", b.add(b.input("x", value.type.with_shape((symbol("N"), 4))), value))
    folded = FoldConstants().apply(b.finish())
    assert graphs.text(folded).splitlines()[-5].strip() == "%t5: i64[4] = constant() {array=i64[4](0, 32, 64, 96)}"


def test_infinities_are_folded_without_a_warning(graphs: Any) -> None:
    before = """
        %zero: f32[] = constant() {array=f32[](0.0)}
        %y: f32[] = log(%zero)
        return y=%y
    """
    folded = graphs.applied(FoldConstants(), graphs.read(before))
    assert "%y: f32[] = constant() {array=f32[](-inf)}" in graphs.text(folded)
