"""What gelu and its gradient both compute, computed once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compiler.ir.graph import Graph, Node, Value
from compiler.ops.activation import Gelu
from compiler.ops.elementwise import Multiply
from compiler.ops.emit import Emit
from compiler.ops.erf import Erf
from compiler.passes.base import Pass
from compiler.passes.copying import Copy


@dataclass(frozen=True)
class ShareGelu(Pass):
    """Writes gelu out by the error function, half of its time, where the gradient asks for the same: common
    subexpressions are joined then."""

    name = "share-gelu"

    def apply(self, graph: Graph) -> Graph:
        asked = set(_asked_for(graph))
        if not any(_is_exact(node) and node.inputs[0] in asked for node in graph.nodes):
            return graph
        copy = Copy(graph)
        for node in graph.nodes:
            if _is_exact(node) and node.inputs[0] in asked:
                with copy.b.at(node.origin.through(self.name)):
                    copy.replace(node, (_written_out(copy.b, *copy.operands(node)),))
            else:
                copy.node(node)
        return copy.finish()


def _asked_for(graph: Graph) -> list[Value]:
    """The values of whose multiples the error function is computed."""
    makers = [graph.producers.get(node.inputs[0]) for node in graph.nodes if isinstance(node.operation, Erf)]
    return [value for node in makers if node and isinstance(node.operation, Multiply) for value in node.inputs]


def _is_exact(node: Node) -> bool:
    return isinstance(node.operation, Gelu) and node.operation.approximate == "none"


def _written_out(b: Emit, x: Value) -> Value:
    """Gelu in the words of its gradient."""
    return b.mul(x, b.mul(b.add(b.erf(b.mul(x, 1 / math.sqrt(2))), 1), 0.5))
