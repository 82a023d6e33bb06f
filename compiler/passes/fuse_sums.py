"""Sums of products as one operation."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.graph import Value
from compiler.ops.elementwise import Multiply
from compiler.ops.emit import Emit
from compiler.ops.reduce import Sum
from compiler.ops.sum_product import SumProduct
from compiler.ops.unary import Square
from compiler.passes.pattern import Match, made
from compiler.passes.rewrite import RewritePass, Rule


def _axes(m: Match) -> tuple[Sum, tuple[int, ...]]:
    assert isinstance(m.operation, Sum)
    rank = m["a"].type.rank
    return m.operation, tuple(sorted(axis % rank for axis in m.operation.axes))


def _is_quick(m: Match) -> str | None:
    a, b = m["a"], m.values.get("b", m["a"])
    if a.type != b.type:
        return f"{a.type} and {b.type} are broadcast"
    _, axes = _axes(m)
    return None if SumProduct.takes(a.type, axes) else f"there is no quick way to sum {a.type} over {axes}"


def _fused(b: Emit, m: Match) -> Value:
    sum, axes = _axes(m)
    return b.add(SumProduct(axes, sum.keepdims), m["a"], m.values.get("b", m["a"]))


@dataclass(frozen=True)
class FuseSums(RewritePass):
    """``sum(a * b)`` and ``sum(square(a))`` as one operation, where nothing else reads the product."""

    name = "fuse-sums"
    rules = (
        Rule("fuse-sum-of-product", made(Sum, made(Multiply, "a", "b", once=True)), _fused, _is_quick),
        Rule("fuse-sum-of-square", made(Sum, made(Square, "a", once=True)), _fused, _is_quick),
    )
