"""Common subexpressions: what is computed twice is computed once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from compiler.ir.graph import Graph, Node, Value
from compiler.ops.base import Op
from compiler.passes.base import Pass


@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    """Joins nodes with the same operation and the same operands, in either order where that does not count.

    The first of them stays. Operations are compared with all their attributes; those that give something else each time
    are left alone.
    """

    name = "common-subexpressions"

    def apply(self, graph: Graph) -> Graph:
        joined: dict[Value, Value] = {}
        known: dict[Hashable, Node] = {}
        nodes = []
        for node in graph.nodes:
            inputs = tuple([joined.get(value, value) for value in node.inputs])
            key = _key(node, inputs)
            first = known.get(key) if key is not None else None
            if first is not None:
                joined.update(zip(node.outputs, first.outputs, strict=True))
                continue
            nodes.append(node if inputs == node.inputs else Node(node.operation, inputs, node.outputs, node.origin))
            if key is not None:
                known[key] = nodes[-1]
        if not joined:
            return graph
        outputs = tuple(
            replace(output, value=joined[output.value]) if output.value in joined else output
            for output in graph.outputs
        )
        return replace(graph, nodes=tuple(nodes), outputs=outputs)


def _key(node: Node, inputs: tuple[Value, ...]) -> Hashable:
    """What two nodes have in common if they give the same; None for a node that has no double."""
    operation = node.operation
    if not isinstance(operation, Op) or not operation.pure:
        return None
    # The class too: operations without attributes all have one hash.
    return type(operation), operation, frozenset(inputs) if operation.commutative else inputs
