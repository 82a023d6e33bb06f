"""Axes put into another order where there is less to move: recurrent layers want time before samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compiler.ir.graph import Value
from compiler.ops.base import Op
from compiler.ops.emit import Emit
from compiler.ops.gather import Gather
from compiler.ops.linear import Linear
from compiler.ops.matmul import MatMul
from compiler.ops.shape import Transpose
from compiler.passes.pattern import Match, made
from compiler.passes.rewrite import RewritePass, Rule
from compiler.passes.simplify_views import TRANSPOSES


def _axes(m: Match) -> tuple[int, ...]:
    """For each axis of the transpose's result which one it is of its operand."""
    permutation = m.find(Transpose).permutation
    return tuple(axis % len(permutation) for axis in permutation)


def _moves_indices(m: Match) -> str | None:
    axes, rank, table = _axes(m), m["indices"].type.rank, m["table"].type
    if m.find(Gather).axis % table.rank or table.symbols:
        return f"{m['table']} is no table of rows"
    if axes[rank:] != tuple(range(rank, len(axes))):
        return "what is within a row is moved too"
    return None


def _moved_indices(b: Emit, m: Match) -> Value:
    indices = m["indices"]
    return b.gather(m["table"], b.transpose(indices, _axes(m)[: indices.type.rank]))


def _has_fewer_columns(m: Match) -> str | None:
    kernel, axes = m["kernel"].type, _axes(m)
    if kernel.rank != 2 or kernel.symbols or len(axes) < 3 or axes[-1] != len(axes) - 1:
        return f"{m['kernel']} is {kernel}, not one matrix for each row that is moved"
    if "bias" in m.values and m["bias"].type.rank != 1:
        return f"{m['bias']} is {m['bias'].type}, not one number for each column"
    rows, columns = (size for size in kernel.shape if isinstance(size, int))
    return None if columns <= rows else f"{columns} columns are more than {rows}"


def _moved_product(b: Emit, m: Match) -> Value:
    assert isinstance(m.operation, Op)
    return b.transpose(b.add(m.operation, m["x"], *m.inputs[1:]), m.find(Transpose).permutation)


def _rules() -> Iterator[Rule]:
    rows = made(Gather, "table", "indices", once=True)
    yield Rule("sink-to-indices", made(Transpose, rows), _moved_indices, _moves_indices)
    moved = made(Transpose, "x", once=True)
    for bias in ((), ("bias",)):
        product = made((MatMul, Linear), moved, "kernel", *bias)
        yield Rule("sink-below-product", product, _moved_product, _has_fewer_columns)
    yield from TRANSPOSES


@dataclass(frozen=True)
class SinkTranspose(RewritePass):
    """Moves indices in place of the rows of the table that they pick, and what a product with fewer columns gives in
    place of its operand. Transposes that meet then become one, or none."""

    name = "sink-transpose"
    after = ("fuse-linear",)
    rules = tuple(_rules())
