"""Matrix products joined with the bias and the activation that follow them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.ir.graph import Origin, Value
from compiler.ops.activation import Activation, Elu, Gelu, LeakyRelu, Relu, Sigmoid, Silu, Softplus, Tanh
from compiler.ops.base import Op
from compiler.ops.elementwise import Add
from compiler.ops.emit import Emit
from compiler.ops.linear import Linear
from compiler.ops.matmul import MatMul
from compiler.passes.pattern import Match, made
from compiler.passes.rewrite import RewritePass, Rule

_ACTIVATIONS: tuple[type[Activation], ...] = (Relu, LeakyRelu, Elu, Gelu, Silu, Sigmoid, Tanh, Softplus)


def _bias_is_vector(m: Match) -> str | None:
    bias = m["bias"]
    if bias.type.shape != m.type.shape[-1:]:
        return f"{bias} is {bias.type}, not one number for each of the {m.type.shape[-1]} columns"
    return None


def _has_no_activation(m: Match) -> str | None:
    before = m.nodes[0].operation
    if isinstance(before, Linear) and before.activation is not None:
        return f"{before.activation.opcode} is there already"
    return None


def _activate(b: Emit, m: Match) -> Value:
    activation, before = m.operation, m.nodes[0]
    assert isinstance(activation, Op)
    linear = before.operation if isinstance(before.operation, Linear) else Linear()
    # Both are one layer now, and it is called after the one that has the weights.
    with b.at(replace(Origin.merge((b.origin, before.origin)), via=b.origin.via)):
        return b.add(replace(linear, activation=activation), *before.inputs)


def _rules(activations: tuple[type[Activation], ...]) -> tuple[Rule, ...]:
    products = (
        made(MatMul, "a", "w", once=True),
        made(Linear, "a", "w", once=True),
        made(Linear, "a", "w", "bias", once=True),
    )
    bias = Rule(
        "fuse-bias",
        made(Add, made(MatMul, "a", "w", once=True), "bias"),
        lambda b, m: b.add(Linear(), m["a"], m["w"], m["bias"]),
        _bias_is_vector,
    )
    return bias, *(Rule("fuse-activation", made(activations, each), _activate, _has_no_activation) for each in products)


@dataclass(frozen=True)
class FuseLinear(RewritePass):
    """``activation(a @ w + bias)`` as one operation, where nothing else reads what is in between."""

    name = "fuse-linear"
    rules = _rules(_ACTIVATIONS)


@dataclass(frozen=True)
class FuseLayers(RewritePass):
    """The same before gradients are made, which then are of a whole layer: only with activations whose gradients are
    told by the result. The others want to be left to themselves, so that the operand is kept for theirs."""

    name = "fuse-layers"
    rules = _rules(tuple(activation for activation in _ACTIVATIONS if activation.by_result))
