"""Which inputs of a graph hold indices, and of what range."""

from __future__ import annotations

from compiler.ir.dims import Dim
from compiler.ir.graph import Graph, Node, Role, Value
from compiler.ops.along import OneHot, TakeAlong
from compiler.ops.convert import Cast, StopGradient
from compiler.ops.gather import Gather
from compiler.ops.shape import Expand, Reshape, Transpose
from compiler.ops.slice import Concat, Slice

# What moves elements about and changes none.
_KEEPING = (Cast, Concat, Expand, Reshape, Slice, StopGradient, Transpose)


def index_ranges(graph: Graph) -> dict[str, int]:
    """For each data input whose elements index something of a fixed size, such as the words of a vocabulary, that size:
    the least one where there are several."""
    # The inputs whose elements a value holds, unchanged.
    held: dict[Value, frozenset[str]] = {value: frozenset([value.name]) for value in graph.inputs_of(Role.DATA)}
    found: dict[str, int] = {}
    for node in graph.nodes:
        indices, size = _indexing(node)
        if indices is not None and isinstance(size, int):
            found |= {name: min(size, found.get(name, size)) for name in held.get(indices, ())}
        if isinstance(node.operation, _KEEPING):
            held[node.output] = frozenset().union(*(held.get(value, frozenset()) for value in node.inputs))
    return found


def _indexing(node: Node) -> tuple[Value | None, Dim | None]:
    """The operand that holds indices, and the number of things that they choose from."""
    match node.operation:
        case Gather(axis=axis) | TakeAlong(axis=axis):
            return node.inputs[1], node.inputs[0].type.shape[axis]
        case OneHot(size=size):
            return node.inputs[0], size
        case _:
            return None, None
