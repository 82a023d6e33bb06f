"""Which nodes of a list anything needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compiler.ir.graph import Graph, Node, Value


def live_nodes(graph: Graph) -> tuple[Node, ...]:
    """The nodes that some output needs, in order."""
    return needed_nodes(graph.nodes, graph.output_values)


def needed_nodes(nodes: Sequence[Node], values: Iterable[Value]) -> tuple[Node, ...]:
    """Those of ``nodes`` that ``values`` need, in order."""
    needed = set(values)
    live = []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
            live.append(node)
    return tuple(reversed(live))
