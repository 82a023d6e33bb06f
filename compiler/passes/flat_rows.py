"""Rows of sequences laid out one behind the other: products with a bias are then of two axes, as Gemm has them."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.dims import Dim, product
from compiler.ir.graph import Graph, Value
from compiler.ir.types import TensorType
from compiler.ops.base import Op
from compiler.ops.elementwise import Add
from compiler.ops.emit import Emit
from compiler.ops.layer_norm import LayerNorm
from compiler.ops.linear import Linear
from compiler.ops.matmul import MatMul
from compiler.ops.shape import Reshape
from compiler.passes.base import Pass
from compiler.passes.pattern import Match, made
from compiler.passes.rewrite import Rule, rewrite

# The nodes of an ONNX file that find the two sizes of a symbolic shape; each shape takes one more.
_SIZES = 2


def _flat(type: TensorType) -> tuple[Dim, Dim]:
    """The shape with all axes but the last one made one."""
    return product(type.shape[:-1]), type.shape[-1]


def _is_sequence(m: Match) -> str | None:
    a, weight, bias = (value.type for value in m.inputs)
    if a.rank < 3 or weight.rank != 2 or bias.rank != 1:
        return f"{a} is no sequence of rows that meet one matrix and one bias"
    return None


def _is_flat(m: Match) -> str | None:
    """Whether ``x`` is laid out anew only to have the axes of a sequence."""
    laid_out = m.nodes[0].outputs[0].type
    if laid_out.rank < 3 or m["x"].type.shape != _flat(laid_out):
        return f"{m['x']} is not the rows of {laid_out}"
    return None


def _is_flat_row(m: Match) -> str | None:
    operation = m.operation
    if isinstance(operation, LayerNorm) and operation.axis not in (-1, m.type.rank - 1):
        return "more than rows are normalised"
    if isinstance(operation, Add) and m["y"].type != m.type:
        return f"{m['y']} is {m['y'].type}, not {m.type}"
    if isinstance(operation, MatMul | Linear) and m.inputs[1].type.rank != 2:
        return f"{m.inputs[1]} is {m.inputs[1].type}, not one matrix"
    return _is_flat(m)


def _flattened(b: Emit, m: Match) -> Value:
    a, *rest = m.inputs
    assert isinstance(m.operation, Op)
    return b.reshape(b.add(m.operation, b.reshape(a, _flat(a.type)), *rest), m.type.shape)


def _rows(b: Emit, m: Match) -> Value:
    """The same of the flat rows."""
    x, rest = m["x"], m.inputs[1:]
    assert isinstance(m.operation, Op)
    if isinstance(m.operation, Add):
        return b.reshape(b.add(x, b.reshape(m["y"], x.type.shape)), m.type.shape)
    operation = LayerNorm(-1, m.operation.epsilon) if isinstance(m.operation, LayerNorm) else m.operation
    return b.reshape(b.add(operation, x, *rest), m.type.shape)


_SEQUENCE = made(Reshape, "x")
_RULES = (
    Rule("flat-reshape", made(Reshape, _SEQUENCE), lambda b, m: b.reshape(m["x"], m.type.shape)),
    Rule("flat-linear", made(Linear, "a", "weight", "bias"), _flattened, _is_sequence),
    Rule("flat-rows", made(Linear, _SEQUENCE, "weight"), _rows, _is_flat_row),
    Rule("flat-rows", made(MatMul, _SEQUENCE, "weight"), _rows, _is_flat_row),
    Rule("flat-rows", made(LayerNorm, _SEQUENCE, "scale"), _rows, _is_flat_row),
    Rule("flat-rows", made(LayerNorm, _SEQUENCE, "scale", "offset"), _rows, _is_flat_row),
    Rule("flat-rows", made(Add, _SEQUENCE, "y"), _rows, _is_flat_row),
)


@dataclass(frozen=True)
class FlatRows(Pass):
    """Has products of sequences [N, T, D] with matrices, the biases that are added and the norms of what comes out work
    on [N·T, D], where the graph becomes smaller by it."""

    name = "flat-rows"
    after = ("fuse-linear",)

    def apply(self, graph: Graph) -> Graph:
        flat = rewrite(graph, _RULES)
        return flat if _nodes(flat) < _nodes(graph) else graph


def _nodes(graph: Graph) -> int:
    """About how many nodes an ONNX file of the graph has."""
    count, shapes = 0, set()
    for node in graph.nodes:
        match node.operation:
            case Linear():
                count += 1 + (len(node.inputs) == 3 and node.inputs[0].type.rank > 2)
            case Reshape(shape):
                count += 1
                if sum(not isinstance(dim, int) for dim in shape) > 1 and shape[:1] != node.inputs[0].type.shape[:1]:
                    shapes.add(shape)
            case _:
                count += 1
    return count + _SIZES * bool(shapes) + len(shapes)
