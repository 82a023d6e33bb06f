"""The factor of attention's queries as a part of the layer that makes them."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.graph import Node, Value
from compiler.ops.attention import Attention, ScaledAttention
from compiler.ops.base import Op
from compiler.ops.elementwise import Add, Multiply
from compiler.ops.emit import Emit
from compiler.ops.matmul import MatMul
from compiler.ops.shape import Reshape
from compiler.passes.pattern import Match, any_of
from compiler.passes.rewrite import RewritePass, Rule


def _made(m: Match, value: Value, operation: type[Op]) -> Node | None:
    """The node that makes ``value`` by this operation, where one node alone reads it."""
    node = m.builder.producer(value)
    return node if node and isinstance(node.operation, operation) and m.is_used_once(value) else None


def _layer(m: Match) -> tuple[Value, Value, Value | None] | None:
    """What the queries are made of: x, weights that nothing else reads, and such a bias if there is one."""
    laid_out, bias = _made(m, m.inputs[0], Reshape), None
    value = laid_out.inputs[0] if laid_out else m.inputs[0]
    if added := _made(m, value, Add):
        value, bias = added.inputs if added.inputs[1].type.rank == 1 else added.inputs[::-1]
    product = _made(m, value, MatMul)
    if product is None:
        return None
    x, kernel = product.inputs
    weights = [kernel] if bias is None else [kernel, bias]
    if kernel.type.rank != 2 or any(weight.type.symbols or not m.is_used_once(weight) for weight in weights):
        return None
    return x, kernel, bias


def _has_own_layer(m: Match) -> str | None:
    return None if _layer(m) else f"{m.inputs[0]} is not what a layer with weights of its own makes for it"


def _scaled(b: Emit, m: Match) -> Value:
    attention, layer, queries = m.operation, _layer(m), m.inputs[0].type
    assert isinstance(attention, Attention)
    assert layer is not None
    x, kernel, bias = layer
    scale = b.scalar(attention.scale(queries.shape[3]), queries.dtype)
    result = b.matmul(x, b.add_node(Multiply(), (kernel, scale), (f"{kernel.name}.scaled",))[0])
    if bias is not None:
        result = b.add(result, b.add_node(Multiply(), (bias, scale), (f"{bias.name}.scaled",))[0])
    operation = ScaledAttention(attention.causal, attention.masked, attention.rate)
    return b.add(operation, b.reshape(result, queries.shape), *m.inputs[1:])


@dataclass(frozen=True)
class ScaleQueries(RewritePass):
    """Folds ``1 / sqrt(D)`` of attention into the weights and the bias that its queries are made with, where nothing
    else reads those: what is computed of weights alone an export works out."""

    name = "scale-queries"
    rules = (Rule("scale-queries", any_of((Attention,), Reshape), _scaled, _has_own_layer),)
