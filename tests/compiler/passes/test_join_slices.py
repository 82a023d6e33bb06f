"""Columns that are scaled one by one, scaled all at once."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.passes.join_slices import JoinSlices

BEFORE = """
    data %x: f32[N, 3]
    %t0: f32[N, 1] = slice(%x) {starts=[0, 0], stops=[N, 1], steps=[1, 1]}
    %t1: f32[] = constant() {array=f32[](48.5)}
    %t2: f32[N, 1] = sub(%t0, %t1)
    %t3: f32[] = constant() {array=f32[](4.0)}
    %t4: f32[N, 1] = div(%t2, %t3)
    %t5: f32[N, 2] = slice(%x) {starts=[0, 1], stops=[N, 3], steps=[1, 1]}
    %t6: f32[N, 2] = mul(%t3, %t5)
    %t7: f32[N, 2] = add(%t6, %t1)
    %y: f32[N, 3] = concat(%t4, %t7) {axis=1}
    return y=%y
"""


def test_text_before_and_after(graphs: Any) -> None:
    after = """
        data %x: f32[N, 3]
        %t8: f32[3] = constant() {array=f32[3](48.5, -12.125, -12.125)}
        %t9: f32[N, 3] = sub(%x, %t8)
        %t10: f32[3] = constant() {array=f32[3](0.25, 4.0, 4.0)}
        %y: f32[N, 3] = mul(%t9, %t10)
        return y=%y
    """
    assert graphs.same_text(graphs.applied(JoinSlices(), graphs.read(BEFORE)), after)


def test_slices_alone_are_the_whole(graphs: Any) -> None:
    before = """
        data %x: f32[N, 3, T]
        %t0: f32[N, 1, T] = slice(%x) {starts=[0, 0, 0], stops=[N, 1, T], steps=[1, 1, 1]}
        %t1: f32[N, 2, T] = slice(%x) {starts=[0, 1, 0], stops=[N, 3, T], steps=[1, 1, 1]}
        %y: f32[N, 3, T] = concat(%t0, %t1) {axis=1}
        return y=%y
    """
    after = graphs.applied(JoinSlices(), graphs.read(before))
    assert not after.nodes
    assert after.outputs[0].value.name == "x"


@pytest.mark.parametrize(
    ("reason", "old", "new"),
    [
        ("is a slice of %z, not of %x", "slice(%x) {starts=[0, 1]", "slice(%z) {starts=[0, 1]"),
        ("begins with 2, not where the one before ends", "starts=[0, 1], stops=[N, 3]", "starts=[0, 2], stops=[N, 4]"),
        ("3 of 4 are there", "%x: f32[N, 3]", "%x: f32[N, 4]"),
        ("is not a slice times a number", "%t6: f32[N, 2] = mul(%t3, %t5)", "%t6: f32[N, 2] = mul(%z2, %t5)"),
        ("is not a slice times a number", "array=f32[](4.0)", "array=f32[](0.0)"),
    ],
    ids=["another", "gap", "part", "no number", "nothing left"],
)
def test_where_it_stays(graphs: Any, reason: str, old: str, new: str) -> None:
    text = BEFORE.replace(old, new)
    if "stops=[N, 4]" in new:
        text = text.replace("%x: f32[N, 3]", "%x: f32[N, 4]")
    text = text.replace("%t0:", "data %z: f32[N, 3]\n    data %z2: f32[N, 2]\n    %t0:", 1)
    assert any(reason in str(refusal) for refusal in graphs.refusals(JoinSlices.rules, graphs.read(text)))
