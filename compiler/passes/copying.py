"""Rebuilding a graph: what a pass does not touch stays as it is, names and origins included."""

from __future__ import annotations

from compiler.ir.graph import Graph, Node, Value
from compiler.ops.base import has_facet
from compiler.ops.emit import Emit
from compiler.ops.fused import FusedOp


class Copy:
    """A graph under reconstruction: ``values`` maps each value of the old graph to its counterpart in ``b``.

    Inputs are taken over at once, and so are nodes as long as they read the same values; others keep their names.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.b = Emit(graph.name)
        self.b.reserve(graph)
        self.b.keep_inputs(graph)
        self.values: dict[Value, Value] = {item.value: item.value for item in graph.inputs}

    def operands(self, node: Node) -> tuple[Value, ...]:
        """The counterparts of a node's operands."""
        return tuple(self.values[value] for value in node.inputs)

    def node(self, node: Node) -> None:
        """Copy one node as it is."""
        self.replace(node, self.b.copy(node, self.operands(node)))

    def replace(self, node: Node, results: tuple[Value, ...]) -> None:
        """Let ``results`` stand for what ``node`` made."""
        self.values.update(zip(node.outputs, results, strict=True))

    def outputs(self) -> None:
        """Take over the outputs."""
        for output in self.graph.outputs:
            self.b.output(output.name, self.values[output.value], output.updates)

    def finish(self) -> Graph:
        """The new graph, with the outputs of the old one."""
        self.outputs()
        return self.b.finish()


def unfused(graph: Graph) -> Graph:
    """The graph with every fused operation that has no gradient written out as the operations that it stands for."""
    if not any(_stands_in_the_way(node) for node in graph.nodes):
        return graph
    copy = Copy(graph)
    for node in graph.nodes:
        if _stands_in_the_way(node):
            assert isinstance(node.operation, FusedOp)
            with copy.b.at(node.origin.through("expand")):
                copy.replace(node, node.operation.expand(copy.b, *copy.operands(node)))
        else:
            copy.node(node)
    return copy.finish()


def _stands_in_the_way(node: Node) -> bool:
    return isinstance(node.operation, FusedOp) and not has_facet(node.operation, "gradient")
