"""Dead code: nodes whose results nobody reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.ir.graph import Graph, Node, Value
from compiler.passes.base import Pass


@dataclass(frozen=True)
class DeadCode(Pass):
    """Drops every node that no output needs. The graph's inputs stay, as they are its signature."""

    name = "dead-code"

    def apply(self, graph: Graph) -> Graph:
        nodes = live_nodes(graph)
        return graph if len(nodes) == len(graph.nodes) else replace(graph, nodes=nodes)


def live_nodes(graph: Graph) -> tuple[Node, ...]:
    """The nodes that some output needs, in order."""
    needed: set[Value] = set(graph.output_values)
    live = []
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
            live.append(node)
    return tuple(reversed(live))
