"""What max_pool and its gradient both compute, computed once."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.graph import Graph
from compiler.ops.pool import MaxPool, MaxPoolTraining
from compiler.passes.base import Pass
from compiler.passes.copying import Copy


@dataclass(frozen=True)
class SharePool(Pass):
    """Has max_pool keep which elements were the largest where the gradient asks for that: common subexpressions are
    joined then. Nothing is compared a second time, and what was pooled need not be kept."""

    name = "share-pool"

    def apply(self, graph: Graph) -> Graph:
        asked = {
            (node.operation.fields, node.inputs[0])
            for node in graph.nodes
            if isinstance(node.operation, MaxPoolTraining)
        }
        if not asked:
            return graph
        copy = Copy(graph)
        for node in graph.nodes:
            pool = node.operation
            if isinstance(pool, MaxPool) and (pool.fields, node.inputs[0]) in asked:
                with copy.b.at(node.origin.through(self.name)):
                    copy.replace(node, copy.b.add_node(MaxPoolTraining(*pool.fields), copy.operands(node))[:1])
            else:
                copy.node(node)
        return copy.finish()
