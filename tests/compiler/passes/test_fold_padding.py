"""The index of an embedding that stands for padding, folded into the table."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.passes.fold_padding import FoldPadding

BEFORE = """
    data %text: i64[N, T]
    weight %table: f32[3, 2]
    %t0: f32[N, T, 2] = gather(%table, %text) {axis=0}
    %t1: i64[] = constant() {array=i64[](PADDING)}
    %t2: bool[N, T] = not_equal(%text, %t1)
    %t3: bool[N, T, 1] = reshape(%t2) {shape=[N, T, 1]}
    %y: f32[N, T, 2] = mask(%t0, %t3)
    return y=%y
"""


def test_text_before_and_after(graphs: Any) -> None:
    after = """
        data %text: i64[N, T]
        weight %table: f32[3, 2]
        %t4: f32[3, 1] = constant() {array=f32[3, 1](1.0, 0.0, 1.0)}
        %table.folded: f32[3, 2] = mul(%table, %t4)
        %y: f32[N, T, 2] = gather(%table.folded, %text) {axis=0}
        return y=%y
    """
    assert graphs.same_text(graphs.applied(FoldPadding(), graphs.read(BEFORE.replace("PADDING", "1"))), after)


@pytest.mark.parametrize(
    ("reason", "old", "new"),
    [
        ("there is no row 3 of 3", "", ""),
        ("%table has other uses", "return y=%y", "return y=%y, table=%table"),
        ("%t0 has other uses", "return y=%y", "return y=%y, t=%t0"),
        ("%other is not %text", "not_equal(%text", "not_equal(%other"),
    ],
    ids=["no such row", "table", "rows", "another index"],
)
def test_where_it_stays(graphs: Any, reason: str, old: str, new: str) -> None:
    text = BEFORE.replace("PADDING", "1" if old else "3").replace(old, new)
    text = text.replace("weight", "data %other: i64[N, T]\n    weight", 1)
    assert any(reason in str(refusal) for refusal in graphs.refusals(FoldPadding.rules, graphs.read(text)))
