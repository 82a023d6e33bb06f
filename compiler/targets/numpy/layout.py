"""Which tensors lie in memory with their channels last: those that go from one convolution to another, by way of
pooling and elementwise operations. What the cells of a window meet then lies in longer runs, products need nothing
turned, and pooling picks runs rather than single elements."""

from __future__ import annotations

from compiler.ir.graph import Graph, Node, Value
from compiler.ops.base import Op, Storage
from compiler.ops.conv import Conv, Convolution, ConvTranspose
from compiler.ops.short_conv import ShortConv, ShortConvTranspose

_CONVOLUTIONS = (Conv, ConvTranspose, ShortConv, ShortConvTranspose)


def channels_last(graph: Graph) -> set[Value]:
    """The values [N, C, *spatial] of ``graph`` that lie in memory as [N, *spatial, C]; takes time in proportion to its
    nodes. None of them is seen from outside: what goes in and comes out is in row-major order."""
    if not any(isinstance(node.operation, _CONVOLUTIONS) for node in graph.nodes):
        return set()
    families = _Families()
    for node in graph.nodes:
        if _passes_on(node):
            for value in (*node.inputs, *node.outputs[1:]):
                if value.type.rank == node.outputs[0].type.rank:
                    families.join(value, node.outputs[0])
    wanted, refused = _asked(graph, families)
    found: set[Value] = set()
    for node in graph.nodes:
        family = families.of(node.outputs[0])
        if family not in wanted or family in refused or not _can_lie_so(node):
            continue
        last = tuple(value in found or _has_one_channel(value) for value in node.inputs)
        if _operation(node).gives_channels_last(tuple(value.type for value in node.inputs), last):
            found.update(node.outputs)
    return found


class _Families:
    """Values that lie alike, as one is made of another element by element, or by pooling: disjoint sets."""

    def __init__(self) -> None:
        self._parents: dict[Value, Value] = {}

    def of(self, value: Value) -> Value:
        """The value that stands for the family of ``value``."""
        while value in self._parents:
            parent = self._parents[value]
            if parent in self._parents:
                self._parents[value] = self._parents[parent]
            value = parent
        return value

    def join(self, a: Value, b: Value) -> None:
        """Make one family of two."""
        a, b = self.of(a), self.of(b)
        if a is not b:
            self._parents[b] = a


def _asked(graph: Graph, families: _Families) -> tuple[set[Value], set[Value]]:
    """The families that a convolution reads; and those of which something is seen outside, or is read by what loses if
    it does not lie in row-major order."""
    wanted, refused = set(), {families.of(item.value) for item in graph.inputs if item.value.type.rank > 2}
    for node in graph.nodes:
        operation = _operation(node)
        if isinstance(operation, _CONVOLUTIONS):
            wanted.add(families.of(node.inputs[0]))
        if not operation.takes_channels_last and operation.storage is not Storage.VIEW:
            refused.update(map(families.of, node.inputs))
    outside = {output.value for output in graph.outputs}
    for node in reversed(graph.nodes):
        if not outside.isdisjoint(node.outputs):
            refused.update(map(families.of, node.outputs))
            if _operation(node).storage is Storage.VIEW:
                outside.add(node.inputs[0])
    return wanted, refused


def _operation(node: Node) -> Op:
    assert isinstance(node.operation, Op)
    return node.operation


def _passes_on(node: Node) -> bool:
    """Whether the result lies as the operands do."""
    operation = _operation(node)
    if not operation.takes_channels_last or isinstance(operation, Convolution) or not _can_lie_so(node):
        return False
    types = tuple(value.type for value in node.inputs)
    return operation.gives_channels_last(types, (True,) * len(types))


def _can_lie_so(node: Node) -> bool:
    type = node.outputs[0].type
    alike = all(value.type.shape == type.shape for value in node.outputs)
    return _operation(node).storage is Storage.BUFFER and alike and type.rank > 2 and type.shape[1] != 1


def _has_one_channel(value: Value) -> bool:
    return value.type.rank > 2 and value.type.shape[1] == 1
