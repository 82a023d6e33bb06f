"""Small weights that an optimizer treats alike are updated together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from compiler.ir.graph import Graph, Node, Origin, Role, Value
from compiler.ir.types import DType
from compiler.ops.joint_step import JointStep
from compiler.ops.weight_step import BLOCK, WeightStep
from compiler.passes.base import Pass
from compiler.passes.copying import Copy


@dataclass(frozen=True)
class JoinSteps(Pass):
    """Makes one operation of the steps of weights that have at most ``most`` elements together, where they differ by
    weight, gradient and slots only. It stands where the last of them stood."""

    most: int = BLOCK

    name = "join-steps"

    def apply(self, graph: Graph) -> Graph:
        groups = {members[-1]: members for members in _groups(graph, self.most)}
        if not groups:
            return graph
        kept = {item.value for item in graph.inputs if item.role is not Role.DATA}
        inside = {node for members in groups.values() for node in members}
        copy = Copy(graph)
        for node in graph.nodes:
            if node in groups:
                self._join(copy, groups[node], kept)
            elif node not in inside:
                copy.node(node)
        return copy.finish()

    def _join(self, copy: Copy, members: Sequence[Node], kept: set[Value]) -> None:
        step = members[0].operation
        assert isinstance(step, WeightStep)
        arrays = tuple(index for index, value in enumerate(members[0].inputs) if value.type.shape)
        made = tuple(index for index in arrays if not all(node.inputs[index] in kept for node in members))
        operands = [node.inputs[index] for node in members for index in arrays] + list(_scalars(members[0]))
        origin = Origin.merge(tuple(node.origin for node in reversed(members))).through(self.name)
        with copy.b.at(origin):
            results = copy.b.add_node(
                JointStep(step, len(members), arrays, made), tuple(copy.values[value] for value in operands)
            )
        own = len(step.results)
        for number, node in enumerate(members):
            copy.replace(node, results[number * own : (number + 1) * own])


@dataclass
class _Group:
    members: list[Node] = field(default_factory=list)
    size: int = 0


def _groups(graph: Graph, most: int) -> Iterator[list[Node]]:
    """The groups of nodes that can be one, in order."""
    positions = {node: position for position, node in enumerate(graph.nodes)}
    groups: list[_Group] = []
    open: dict[tuple[WeightStep, DType, tuple[Value, ...]], _Group] = {}
    for node in graph.nodes:
        if not isinstance(node.operation, WeightStep):
            continue
        type = node.outputs[0].type
        assert isinstance(type.size, int), "weights have fixed sizes"
        if type.size > most:
            continue
        key = (node.operation, type.dtype, _scalars(node))
        group = open.get(key)
        if group is None or group.size + type.size > most:
            group = open[key] = _Group()
            groups.append(group)
        group.members.append(node)
        group.size += type.size
    for group in groups:
        end = positions[group.members[-1]]
        members = [node for node in group.members if _first_read(graph, node, positions) > end]
        if len(members) > 1:
            yield members


def _first_read(graph: Graph, node: Node, positions: dict[Node, int]) -> int:
    """The position of the first node that reads a result."""
    reads = (positions[user] for value in node.outputs for user in graph.users[value])
    return min(reads, default=len(positions))


def _scalars(node: Node) -> tuple[Value, ...]:
    return tuple(value for value in node.inputs if not value.type.shape)
