"""Groups of operations on single numbers, of which each would take a call of NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.ir.graph import Graph, Node, Origin, Value
from compiler.ops.base import Op
from compiler.ops.chain import Step
from compiler.ops.scalar_steps import ScalarSteps, can_be_literal, can_be_scalar_step
from compiler.passes.base import Pass
from compiler.passes.copying import Copy


@dataclass(frozen=True)
class FuseScalars(Pass):
    """Makes one operation of operations on 0-d tensors. A group stands where another operation first reads what it
    gives; what depends on inputs alone, as the step's number, is in the first one."""

    name = "fuse-scalars"

    def apply(self, graph: Graph) -> Graph:
        scalars = _scalars(graph)
        if len(scalars) < 2:
            return graph
        numbers = [node for node in graph.nodes if can_be_literal(node.operation)]
        early = _early(graph, scalars)
        groups = _Groups(graph, self.name)
        for node in (*numbers, *early, *graph.nodes):
            groups.take(node, node in scalars)
        groups.flush()
        return groups.copy.finish() if groups.made else graph


class _Groups:
    """A graph under reconstruction, and the operations on single numbers that wait for others to join them."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.copy = Copy(graph)
        self.made = 0
        self._graph, self._name = graph, name
        self._taken: set[Node] = set()
        self._waiting: dict[Value, Node] = {}

    def take(self, node: Node, scalar: bool) -> None:
        """Go on with a node, unless it has been taken before."""
        if node in self._taken:
            return
        self._taken.add(node)
        if scalar:
            self._waiting[node.output] = node
            return
        if not self._waiting.keys().isdisjoint(node.inputs):
            self.flush()
        self.copy.node(node)

    def flush(self) -> None:
        """Write what waits, as one operation."""
        nodes = list(self._waiting.values())
        self._waiting.clear()
        if len(nodes) < 2:
            for node in nodes:
                self.copy.node(node)
            return
        self.made += 1
        inside = set(nodes)
        results = [node for node in nodes if self._is_read(node, inside)]
        operation, operands = _operation(self._graph, nodes, results)
        with self.copy.b.at(Origin.merge(tuple(node.origin for node in nodes)).through(self._name)):
            inputs = tuple(self.copy.values[value] for value in operands)
            values = self.copy.b.add_node(operation, inputs, tuple(node.output.name for node in results))
        for node, value in zip(results, values, strict=True):
            self.copy.replace(node, (value,))

    def _is_read(self, node: Node, inside: set[Node]) -> bool:
        """Whether something outside of the group reads what the node gives."""
        value = node.output
        return value in self._graph.output_values or not inside.issuperset(self._graph.users[value])


def _operation(graph: Graph, nodes: Sequence[Node], results: Sequence[Node]) -> tuple[ScalarSteps, list[Value]]:
    """The operation that stands for ``nodes``, and its operands."""
    made = {node.output for node in nodes}
    read = [value for value in dict.fromkeys(value for node in nodes for value in node.inputs) if value not in made]
    literals = {
        value: node for value in read if (node := graph.producers.get(value)) and can_be_literal(node.operation)
    }
    operands = [value for value in read if value not in literals]
    places: dict[Value, int] = {value: place for place, value in enumerate(operands)}
    steps = []
    for node in (*literals.values(), *nodes):
        assert isinstance(node.operation, Op)
        steps.append(Step(node.operation, tuple(places[value] for value in node.inputs)))
        places[node.output] = len(places)
    numbers = tuple(places[node.output] - len(operands) for node in results)
    return ScalarSteps(len(operands), tuple(steps), numbers), operands


def _scalars(graph: Graph) -> set[Node]:
    found = set()
    for node in graph.nodes:
        assert isinstance(node.operation, Op)
        if can_be_scalar_step(node.operation, [value.type for value in node.inputs]):
            found.add(node)
    return found


def _early(graph: Graph, scalars: set[Node]) -> list[Node]:
    """Those that can be computed before everything else but numbers."""
    found: list[Node] = []
    known = {item.value for item in graph.inputs}
    for node in graph.nodes:
        if can_be_literal(node.operation):
            known.add(node.output)
        elif node in scalars and known.issuperset(node.inputs):
            found.append(node)
            known.add(node.output)
    return found
