"""Dead code: nodes whose results nobody reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.ir.graph import Graph
from compiler.ir.live import live_nodes
from compiler.passes.base import Pass


@dataclass(frozen=True)
class DeadCode(Pass):
    """Drops every node that no output needs. The graph's inputs stay, as they are its signature."""

    name = "dead-code"

    def apply(self, graph: Graph) -> Graph:
        nodes = live_nodes(graph)
        return graph if len(nodes) == len(graph.nodes) else replace(graph, nodes=nodes)
