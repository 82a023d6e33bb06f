"""Finding in a graph what the layers of its models give."""

from __future__ import annotations

from collections.abc import Collection

from compiler.ir.graph import Graph, Value


def layers(graph: Graph, models: Collection[str]) -> dict[str, tuple[Value, tuple[str, str]]]:
    """The last value of each layer, by a name for it: floats that are made inside of ``models``, on the way to the loss
    and not back, with the path of the layer and its text."""
    last: dict[tuple[str, str], Value] = {}
    needed = _behind(graph, graph.output("loss"))
    for node in graph.nodes:
        origin = node.origin
        if not origin.spans or origin.scope.partition(".")[0] not in models or "gradient" in origin.via:
            continue
        for value in node.outputs:
            if value in needed and value.type.dtype.is_float and value.type.rank:
                key = origin.scope, " ".join(origin.spans[0].text.split())
                last.pop(key, None)
                last[key] = value
    return {f"value{number}": (value, key) for number, (key, value) in enumerate(last.items())}


def _behind(graph: Graph, target: Value) -> set[Value]:
    """Every value that ``target`` is computed from, and itself."""
    found = {target}
    for node in reversed(graph.nodes):
        if found.intersection(node.outputs):
            found.update(node.inputs)
    return found
