"""The verifier: whether a graph is what every pass and target may rely on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from weakref import WeakSet

from compiler.ir.dims import Symbol, as_symbol, symbols
from compiler.ir.graph import Graph, Node, Role, Value
from compiler.ir.types import TensorType, TypeMismatch


class VerificationError(Exception):
    """A graph that is not sound: always a mistake in dlc, never in a user's file."""


# The graphs that were found sound, for as long as they are there.
_sound: WeakSet[Graph] = WeakSet()


def verify(graph: Graph, before: Graph | None = None) -> None:
    """Check the graph; raises VerificationError that shows the nodes around the fault.

    Holds afterwards: every operand is made before it is read; names are unique; every result has the type that its
    operation infers; every symbol is the size of some input and has one bound; an update fits what it
    replaces, and nothing is updated twice.

    What types a node's operation infers is not asked again of the very nodes of ``before``, the graph that this one was
    made from, where that was found sound: nodes do not change.
    """
    if graph in _sound:
        return
    _verify_names(graph)
    bound: dict[str, Symbol] = {}
    for dim_symbol in (as_symbol(dim) for item in graph.inputs for dim in item.value.type.shape):
        if dim_symbol is not None:
            bound.setdefault(dim_symbol.name, dim_symbol)
    for item in graph.inputs:
        _verify_symbols(graph, item.value.type, bound, None)
    known = {item.value for item in graph.inputs}
    typed = _typed(before, bound)
    for node in graph.nodes:
        if not known.issuperset(node.inputs):
            early = next(value for value in node.inputs if value not in known)
            raise _fault(graph, node, f"{early} is read before it is made")
        if node not in typed:
            _verify_types(graph, node, bound)
        known.update(node.outputs)
    _verify_outputs(graph, known)
    _sound.add(graph)


def _typed(before: Graph | None, bound: Mapping[str, Symbol]) -> Collection[Node]:
    """The nodes whose types are known to be right in a graph with these symbols."""
    if before is None or before not in _sound or any(bound.get(s.name) != s for s in before.symbols):
        return ()
    return set(before.nodes)


def _verify_names(graph: Graph) -> None:
    names = [value.name for value in graph.values()]
    if len(set(names)) == len(names):
        return
    double = next(name for name, count in Counter(names).items() if count > 1)
    makers = [node for node in graph.nodes for value in node.outputs if value.name == double]
    raise _fault(graph, makers[-1] if makers else None, f"%{double} is defined twice")


def _verify_types(graph: Graph, node: Node, bound: dict[str, Symbol]) -> None:
    try:
        types = node.operation.infer(tuple([value.type for value in node.inputs]))
    except (TypeMismatch, ValueError) as mismatch:
        raise _fault(graph, node, f"operands do not fit: {mismatch}") from mismatch
    if types != tuple([value.type for value in node.outputs]):
        inferred = ", ".join(map(str, types))
        raise _fault(graph, node, f"the results have other types than {inferred}")
    for type in types:
        _verify_symbols(graph, type, bound, node)


def _verify_symbols(graph: Graph, type: TensorType, bound: dict[str, Symbol], node: Node | None) -> None:
    for dim in type.shape:
        if isinstance(dim, int):
            continue
        for symbol in symbols(dim):
            if symbol.name not in bound:
                raise _fault(graph, node, f"symbol {symbol} is not the size of any input")
            if symbol != bound[symbol.name]:
                both = f"{_bounds(bound[symbol.name])} and {_bounds(symbol)}"
                raise _fault(graph, node, f"symbol {symbol} has two bounds, {both}")


def _bounds(symbol: Symbol) -> str:
    return symbol.bounds_text or "none"


def _verify_outputs(graph: Graph, known: set[Value]) -> None:
    kept = {item.name: item.value.type for item in graph.inputs if item.role is not Role.DATA}
    names: set[str] = set()
    updated: set[str] = set()
    for output in graph.outputs:
        if output.value not in known:
            raise _fault(graph, None, f"output {output.name} is not a value of the graph")
        if output.name in names:
            raise _fault(graph, None, f"output {output.name} is named twice")
        names.add(output.name)
        if output.updates is None:
            continue
        if output.updates in updated:
            raise _fault(graph, None, f"{output.updates} is updated twice")
        updated.add(output.updates)
        if kept.get(output.updates) != output.value.type:
            raise _fault(graph, None, f"output {output.name} does not fit {output.updates}, which it updates")


def _fault(graph: Graph, node: Node | None, message: str) -> VerificationError:
    lines = [f"graph {graph.name}: {message}"]
    if node is not None:
        position = graph.nodes.index(node)
        for index in range(max(0, position - 3), min(len(graph.nodes), position + 3)):
            near = graph.nodes[index]
            made = ", ".join(f"{value}: {value.type}" for value in near.outputs)
            read = ", ".join(map(str, near.inputs))
            mark = "-->" if index == position else "   "
            lines.append(f"{mark} {made} = {near.operation.opcode}({read})")
    return VerificationError("\n".join(lines))
