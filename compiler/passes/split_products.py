"""Products that are cut into parts, such as queries, keys and values, made one part at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from compiler.ir.dims import equal, product
from compiler.ir.graph import Graph, Node, Value
from compiler.ops.elementwise import Add
from compiler.ops.emit import Emit
from compiler.ops.matmul import MatMul
from compiler.ops.shape import Reshape
from compiler.ops.slice import Slice
from compiler.ops.split import Split
from compiler.passes.base import Pass
from compiler.passes.copying import Copy

# Kernels make so many columns at a time, and each part reads the rows of x anew.
_FEWEST_COLUMNS = 16
_MOST_PARTS = 4


@dataclass(frozen=True)
class _Product:
    """``split(reshape(x @ weight + bias))``: what is in it, and how many columns each part has."""

    x: Value
    weight: Value
    bias: Value | None
    columns: tuple[int, ...]
    inner: tuple[Node, ...]


def _product(graph: Graph, node: Node) -> _Product | None:
    """What a split cuts apart, where that is a product with weights of its own."""
    if not isinstance(node.operation, Split):
        return None
    value, inner = node.inputs[0], []
    if shaped := _made(graph, value, Reshape):
        value = shaped.inputs[0]
        inner.append(shaped)
    bias = None
    if added := _made(graph, value, Add):
        value, bias = added.inputs if added.inputs[1].type.rank == 1 else added.inputs[::-1]
        inner.append(added)
    multiplied, columns = _made(graph, value, MatMul), _columns(node, value)
    if multiplied is None or columns is None:
        return None
    x, weight = multiplied.inputs
    if weight.type.rank != 2 or not _is_own(graph, weight):
        return None
    if bias is not None and (bias.type.shape != weight.type.shape[1:] or not _is_own(graph, bias)):
        return None
    return _Product(x, weight, bias, columns, (*inner, multiplied))


def _made(graph: Graph, value: Value, operation: type) -> Node | None:
    """The node that makes ``value``, where it does so by this ``operation`` and one node alone reads it."""
    made = graph.producers.get(value)
    return made if made and isinstance(made.operation, operation) and _is_used_once(graph, value) else None


def _is_own(graph: Graph, weight: Value) -> bool:
    """Whether nothing else reads a weight: the file would hold it twice."""
    return not weight.type.symbols and _is_used_once(graph, weight)


def _is_used_once(graph: Graph, value: Value) -> bool:
    return len(graph.users[value]) == 1 and value not in graph.output_values


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
    b, results = copy.b, []
    stops = list(accumulate(found.columns))
    for number, (start, stop, output) in enumerate(zip((0, *stops), stops, node.outputs, strict=False), 1):
        made = b.matmul(copy.values[found.x], _cut(b, copy.values[found.weight], start, stop, number))
        if found.bias is not None:
            made = b.add(made, _cut(b, copy.values[found.bias], start, stop, number))
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
        inner = {node for part in found.values() for node in part.inner}
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
