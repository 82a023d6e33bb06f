"""Products that are cut into parts, such as queries, keys and values, made one part at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from compiler.ir.dims import equal, product
from compiler.ir.graph import Graph, Node, Value
from compiler.ops.emit import Emit
from compiler.ops.slice import Slice
from compiler.ops.split import Split
from compiler.passes.base import Pass
from compiler.passes.copying import Copy
from compiler.passes.own_layer import OwnLayer, own_layer

# Kernels make so many columns at a time, and each part reads the rows of x anew.
_FEWEST_COLUMNS = 16
_MOST_PARTS = 4


@dataclass(frozen=True)
class _Product:
    """What a split cuts apart, and how many columns each part has."""

    layer: OwnLayer
    columns: tuple[int, ...]


def _product(graph: Graph, node: Node) -> _Product | None:
    """What a split cuts apart, where that is a product with weights of its own."""
    if not isinstance(node.operation, Split):
        return None

    def is_used_once(value: Value) -> bool:
        return len(graph.users[value]) == 1 and value not in graph.output_values

    layer = own_layer(node.inputs[0], graph.producers.get, is_used_once)
    if layer is None or (layer.bias is not None and layer.bias.type.shape != layer.weight.type.shape[1:]):
        return None
    columns = _columns(node, layer.result)
    return None if columns is None else _Product(layer, columns)


def _columns(node: Node, whole: Value) -> tuple[int, ...] | None:
    """How many columns of ``whole`` [..., C] each part has, where a part is columns of all rows."""
    assert isinstance(node.operation, Split)
    cut, axis = node.inputs[0].type, whole.type.rank - 1
    if node.operation.axis != axis or not all(map(equal, cut.shape[:axis], whole.type.shape[:axis])):
        return None
    counts = [size * product(cut.shape[axis + 1 :]) for size in node.operation.sizes]
    fixed = tuple(count for count in counts if isinstance(count, int) and count >= _FEWEST_COLUMNS)
    return fixed if len(fixed) == len(counts) <= _MOST_PARTS else None


def _parts(copy: Copy, found: _Product, node: Node) -> tuple[Value, ...]:
    """The parts, each by a product of its own."""
    b, layer, results = copy.b, found.layer, []
    stops = list(accumulate(found.columns))
    for number, (start, stop, output) in enumerate(zip((0, *stops), stops, node.outputs, strict=False), 1):
        made = b.matmul(copy.values[layer.x], _cut(b, copy.values[layer.weight], start, stop, number))
        if layer.bias is not None:
            made = b.add(made, _cut(b, copy.values[layer.bias], start, stop, number))
        results.append(b.reshape(made, output.type.shape))
    return tuple(results)


def _cut(b: Emit, weight: Value, start: int, stop: int, number: int) -> Value:
    """Columns of a weight, under a name that shows what they come from."""
    before = weight.type.shape[:-1]
    operation = Slice((*(0 for _ in before), start), (*before, stop), (1,) * weight.type.rank)
    return b.add_node(operation, (weight,), (f"{weight.name}.part_{number}",))[0]


@dataclass(frozen=True)
class SplitProducts(Pass):
    """Makes the parts of ``split(x @ w + b)`` by a product each, with the columns of ``w`` and ``b`` that they take:
    the same work, and the whole is neither written nor cut apart.

    Not where the parts are many or narrow, or where something else reads the weights.
    """

    name = "split-products"

    def apply(self, graph: Graph) -> Graph:
        found = {node: part for node in graph.nodes if (part := _product(graph, node)) is not None}
        if not found:
            return graph
        inner = {node for part in found.values() for node in part.layer.nodes}
        copy = Copy(graph)
        for node in graph.nodes:
            if node in inner:
                continue
            if node in found:
                with copy.b.at(node.origin.through(self.name)):
                    copy.replace(node, _parts(copy, found[node], node))
            else:
                copy.node(node)
        return copy.finish()
