"""A layer behind a value, with weights that nothing else reads: what is done to its results can be done to these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.ir.graph import Node, Value
from compiler.ops.base import Op
from compiler.ops.elementwise import Add
from compiler.ops.matmul import MatMul
from compiler.ops.shape import Reshape


@dataclass(frozen=True)
class OwnLayer:
    """``reshape(x @ weight + bias)``, where the bias and the change of shape may be missing. ``result`` is what goes
    into the latter; nobody reads what the ``nodes`` make but they and whoever asks."""

    x: Value
    weight: Value
    bias: Value | None
    result: Value
    nodes: tuple[Node, ...]


def own_layer(
    value: Value, producer: Callable[[Value], Node | None], is_used_once: Callable[[Value], bool]
) -> OwnLayer | None:
    """The layer that makes ``value``. Weights that something else reads too would be twice in a file; they and those
    of symbolic sizes, which no weights have, make it none."""

    def made(value: Value, operation: type[Op]) -> Node | None:
        node = producer(value)
        return node if node and isinstance(node.operation, operation) and is_used_once(value) else None

    shaped, bias = made(value, Reshape), None
    result = shaped.inputs[0] if shaped else value
    added = made(result, Add)
    product = result
    if added:
        product, bias = added.inputs if added.inputs[1].type.rank == 1 else added.inputs[::-1]
    multiplied = made(product, MatMul)
    if multiplied is None:
        return None
    x, weight = multiplied.inputs
    weights = [weight] if bias is None else [weight, bias]
    if weight.type.rank != 2 or any(item.type.symbols or not is_used_once(item) for item in weights):
        return None
    return OwnLayer(x, weight, bias, result, tuple(node for node in (shaped, added, multiplied) if node))
