"""The factor of attention's queries as a part of the layer that makes them."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.graph import Value
from compiler.ops.attention import Attention, ScaledAttention
from compiler.ops.elementwise import Multiply
from compiler.ops.emit import Emit
from compiler.ops.shape import Reshape
from compiler.passes.own_layer import OwnLayer, own_layer
from compiler.passes.pattern import Match, any_of
from compiler.passes.rewrite import RewritePass, Rule


def _layer(m: Match) -> OwnLayer | None:
    return own_layer(m.inputs[0], m.builder.producer, m.is_used_once)


def _has_own_layer(m: Match) -> str | None:
    return None if _layer(m) else f"{m.inputs[0]} is not what a layer with weights of its own makes for it"


def _scaled(b: Emit, m: Match) -> Value:
    attention, layer, queries = m.operation, _layer(m), m.inputs[0].type
    assert isinstance(attention, Attention)
    assert layer is not None
    scale = b.scalar(attention.scale(queries.shape[3]), queries.dtype)

    def scaled(weight: Value) -> Value:
        return b.add_node(Multiply(), (weight, scale), (f"{weight.name}.scaled",))[0]

    result = b.matmul(layer.x, scaled(layer.weight))
    if layer.bias is not None:
        result = b.add(result, scaled(layer.bias))
    operation = ScaledAttention(attention.causal, attention.masked, attention.rate)
    return b.add(operation, b.reshape(result, queries.shape), *m.inputs[1:])


@dataclass(frozen=True)
class ScaleQueries(RewritePass):
    """Folds ``1 / sqrt(D)`` of attention into the weights and the bias that its queries are made with, where nothing
    else reads those: what is computed of weights alone an export works out."""

    name = "scale-queries"
    rules = (Rule("scale-queries", any_of((Attention,), Reshape), _scaled, _has_own_layer),)
