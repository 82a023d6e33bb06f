"""Activations of the few elements that are left of many: behind pooling, and once for what is put together."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.dims import product
from compiler.ir.graph import Operation, Value
from compiler.ops.activation import Elu, LeakyRelu, Relu, Sigmoid, Softplus, Tanh
from compiler.ops.base import Op
from compiler.ops.conv import Conv, ConvTranspose
from compiler.ops.emit import Emit
from compiler.ops.linear import Linear
from compiler.ops.matmul import MatMul
from compiler.ops.pool import MaxPool
from compiler.ops.reduce import Max
from compiler.ops.slice import Concat
from compiler.passes.pattern import Match, any_of, made
from compiler.passes.rewrite import RewritePass, Rule

# A cheap activation takes next to no time while an array is in a core's first cache, and none where ONNX Runtime makes
# it one kernel with what comes before it: another node costs more there.
_CHEAP, _COSTLY = (Relu, LeakyRelu), (Elu, Sigmoid, Softplus, Tanh)
_FIRST_CACHE = 2**14  # elements of four bytes
_JOINED = (Conv, ConvTranspose, Linear, MatMul)


def _falls(operation: Operation) -> bool:
    """Whether an activation gives less for more somewhere."""
    match operation:
        case LeakyRelu(slope=below) | Elu(alpha=below):
            return below < 0
    return False


def _is_much(m: Match) -> str | None:
    if _falls(m.nodes[0].operation):
        return f"{m.nodes[0].operation.opcode} is not largest where its operand is"
    elements = product(m["x"].type.shape[1:])
    if isinstance(m.nodes[0].operation, _CHEAP) and isinstance(elements, int) and elements <= _FIRST_CACHE:
        return f"{elements} elements of a sample are few"
    return None


def _activated(b: Emit, m: Match) -> Value:
    pooling, activation = m.operation, m.nodes[0].operation
    assert isinstance(pooling, Op)
    assert isinstance(activation, Op)
    return b.add(activation, b.add(pooling, m["x"]))


def _is_alike(m: Match) -> str | None:
    made_by = [m.builder.producer(value) for value in m.inputs]
    first, *others = (None if node is None else node.operation for node in made_by)
    if not others or not isinstance(first, _CHEAP + _COSTLY) or any(other != first for other in others):
        return "the parts are not of one activation"
    for node in made_by:
        assert node is not None
        before = m.builder.producer(node.inputs[0])
        if before is not None and isinstance(before.operation, _JOINED):
            return f"{before.operation.opcode} and {first.opcode} are one kernel"
        if not m.is_used_once(node.outputs[0]):
            return f"{node.outputs[0]} has other uses"
    return None


def _activated_once(b: Emit, m: Match) -> Value:
    nodes = [node for node in map(b.producer, m.inputs) if node is not None]
    activation = nodes[0].operation
    assert isinstance(activation, Op)
    assert isinstance(m.operation, Op)
    return b.add(activation, b.add(m.operation, *(node.inputs[0] for node in nodes)))


@dataclass(frozen=True)
class ActivateLast(RewritePass):
    """``max_pool(relu(x))`` becomes ``relu(max_pool(x))`` where that is worth a node, and so with maxima over axes and
    any activation that never falls; ``concat(relu(x), relu(y))`` becomes ``relu(concat(x, y))``."""

    name = "activate-last"
    after = ("fuse-linear",)
    rules = (
        Rule("pool-first", made((MaxPool, Max), made(_CHEAP + _COSTLY, "x", once=True)), _activated, _is_much),
        Rule("activate-once", any_of((Concat,), *_CHEAP, *_COSTLY), _activated_once, _is_alike),
    )
