"""An embedding's index for padding folded into its table: the row that gives zeros is zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.ir.graph import Value
from compiler.ops.choose import Mask
from compiler.ops.compare import NotEqual
from compiler.ops.elementwise import Multiply
from compiler.ops.emit import Emit
from compiler.ops.gather import Gather
from compiler.ops.shape import Reshape
from compiler.passes.pattern import Match, Numeral, made
from compiler.passes.rewrite import RewritePass, Rule


def _masks_rows(m: Match) -> str | None:
    table, places = m["table"], m["places"]
    if m.find(Gather).axis != 0 or table.type.rank != 2 or table.type.symbols:
        return f"{table} is {table.type}, whose rows are not known"
    if not m.is_used_once(table):
        return f"{table} has other uses"
    if m.find(Reshape).shape != (*places.type.shape, 1):
        return "what hides does not hide whole rows"
    rows = table.type.shape[0]
    assert isinstance(rows, int), "the type has no symbols"
    return None if 0 <= m.number("padding") < rows else f"there is no row {m.number('padding')} of {rows}"


def _without_row(b: Emit, m: Match) -> Value:
    table = m["table"]
    rows = table.type.shape[0]
    assert isinstance(rows, int), "the condition has looked"
    kept = np.ones((rows, 1), table.type.dtype.numpy)
    kept[int(m.number("padding"))] = 0
    (folded,) = b.add_node(Multiply(), (table, b.constant(kept)), (f"{table.name}.folded",))
    return b.add(m.find(Gather), folded, m["places"])


@dataclass(frozen=True)
class FoldPadding(RewritePass):
    """Makes rows of a table that are hidden by their index rows of a table that has zeros there."""

    name = "fold-padding"
    rules = (
        Rule(
            "fold-padding",
            made(
                Mask,
                made(Gather, "table", "places", once=True),
                made(Reshape, made(NotEqual, "places", Numeral("padding"))),
            ),
            _without_row,
            _masks_rows,
        ),
    )
