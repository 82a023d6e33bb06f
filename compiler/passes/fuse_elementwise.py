"""Groups of elementwise operations on large tensors: what one writes is still in the cache when the next reads it."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.dims import bounds
from compiler.ir.graph import Graph, Node, Origin, Value
from compiler.ops.base import Op, Storage
from compiler.ops.chain import LARGE, ElementwiseChain, Step
from compiler.passes.base import Pass
from compiler.passes.copying import Copy

# A group's lowering looks at all of its arrays for each step; beyond this many more steps save little.
_MOST_STEPS = 48


@dataclass(frozen=True)
class FuseElementwise(Pass):
    """Makes one operation of elementwise operations of which only the last one's result is read by others.

    Only where that pays: the result has more than ``LARGE`` elements at every size of the symbols, and each operand is
    a scalar, or contiguous and of the result's shape. Everything else would be computed one operation after the other,
    as it is without a group, but with its operands kept for longer.
    """

    name = "fuse-elementwise"
    # Which leaves to the groups what no matrix product takes.
    after = ("fuse-linear",)

    def apply(self, graph: Graph) -> Graph:
        groups = _groups(graph)
        if all(len(members) == 1 for members in groups.values()):
            return graph
        inside = {node for members in groups.values() for node in members[:-1]}
        copy = Copy(graph)
        for node in graph.nodes:
            members = groups.get(node, [node])
            if node in inside:
                continue
            if len(members) == 1:
                copy.node(node)
            else:
                self._fuse(copy, members)
        return copy.finish()

    def _fuse(self, copy: Copy, members: list[Node]) -> None:
        chain, operands = _chain(members)
        last = members[-1]
        origin = Origin.merge(tuple(node.origin for node in members)).through(self.name)
        with copy.b.at(origin):
            inputs = tuple(copy.values[value] for value in operands)
            results = copy.b.add_node(chain, inputs, (last.output.name,))
        copy.replace(last, results)


def _groups(graph: Graph) -> dict[Node, list[Node]]:
    """The members of each group in order, by its last node. All readers of the others are in the group, so that nothing
    outside lies between them: a group can be computed where its last node stands."""
    contiguous = _contiguous(graph)
    ends: dict[Node, Node] = {}
    groups: dict[Node, list[Node]] = {}
    for node in reversed(graph.nodes):
        if not _can_be_step(node, contiguous):
            continue
        readers = {ends.get(user) for user in graph.users[node.output]}
        end = readers.pop() if len(readers) == 1 and node.output not in graph.output_values else None
        fits = end is not None and node.output.type.shape in ((), end.output.type.shape)
        if end is not None and fits and len(groups[end]) < _MOST_STEPS:
            ends[node] = end
        elif _is_large(node.output):
            ends[node] = node
        else:
            continue
        groups.setdefault(ends[node], []).append(node)
    return {end: members[::-1] for end, members in groups.items()}


def _can_be_step(node: Node, contiguous: set[Value]) -> bool:
    operation = node.operation
    assert isinstance(operation, Op)
    if not operation.elementwise or operation.storage is not Storage.BUFFER or isinstance(operation, ElementwiseChain):
        return False
    shape = node.output.type.shape
    return all(not value.type.shape or (value.type.shape == shape and value in contiguous) for value in node.inputs)


def _is_large(value: Value) -> bool:
    return bounds(value.type.size)[0] > LARGE


def _contiguous(graph: Graph) -> set[Value]:
    """The values known to lie in memory in the order of their elements."""
    found = {item.value for item in graph.inputs}
    for node in graph.nodes:
        operation = node.operation
        assert isinstance(operation, Op)
        same_order = operation.keeps_contiguous and node.inputs[0] in found
        if operation.storage is not Storage.VIEW or operation.needs_contiguous or same_order:
            found.update(node.outputs)
    return found


def _chain(members: list[Node]) -> tuple[ElementwiseChain, list[Value]]:
    """The operation for a group, and its operands."""
    made = {node.output for node in members}
    operands = list(dict.fromkeys(value for node in members for value in node.inputs if value not in made))
    places = {value: place for place, value in enumerate(operands)}
    steps = []
    for node in members:
        assert isinstance(node.operation, Op)
        steps.append(Step(node.operation, tuple(places[value] for value in node.inputs)))
        places[node.output] = len(places)
    return ElementwiseChain(tuple(steps)), operands
