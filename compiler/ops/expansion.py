"""What an operation stands for, written out: as a graph of other operations, and as their ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from compiler.ir.graph import Graph, Node, Value
from compiler.ir.live import live_nodes
from compiler.ir.types import TensorType
from compiler.ops.base import OnnxLowering, Op
from compiler.ops.constant import Size
from compiler.ops.emit import Emit
from compiler.ops.parts import SUM, Cut, Joined, Place, Standing
from compiler.ops.relayed import RelayedLowering
from compiler.ops.shape import Reshape


def expansion_of(name: str, types: Sequence[TensorType], expand: Callable[..., tuple[Value, ...]]) -> Graph:
    """The graph of what ``expand(b, *operands)`` makes for operands of these types.

    Raises TypeMismatch where they do not fit.
    """
    b = Emit(name)
    inputs = [b.input(f"operand{index}", type) for index, type in enumerate(types)]
    for index, value in enumerate(expand(b, *inputs)):
        b.output(f"result{index}", value)
    return b.finish()


def lower_expansion(c: OnnxLowering, graph: Graph) -> None:
    """Write the ONNX nodes of every operation in ``graph`` that a result needs; its inputs are the operands and its
    outputs the results of the operation that ``c`` lowers."""
    names = dict(zip((item.value for item in graph.inputs), c.inputs, strict=True))
    results = {output.value: name for output, name in zip(graph.outputs, c.outputs, strict=True)}
    live = live_nodes(graph)
    needed = {*results, *(value for node in live for value in node.inputs)}
    for node in live:
        assert isinstance(node.operation, Op)
        read = [value in needed for value in node.outputs]
        node.operation.onnx(_Expanded(c, node, names, results, read))
    for value, name in results.items():
        if names[value] != name:
            c.node("Identity", (names[value],), (name,))


def parts_of(node: Node, standings: Sequence[Standing], symbol: str) -> tuple[Standing, ...] | None:
    """How the results of a node stand whose operands stand so, where it runs in parts; None where it can't."""
    operands, results = (tuple([value.type for value in values]) for values in (node.inputs, node.outputs))
    assert isinstance(node.operation, Op)
    return _parts_of(node.operation, node.operation.opcode, operands, results, tuple(standings), symbol)


@lru_cache(maxsize=4096)
def _parts_of(
    operation: Op,
    _opcode: str,  # operations without attributes are told apart by it sooner than by comparing them
    operands: tuple[TensorType, ...],
    results: tuple[TensorType, ...],
    standings: tuple[Standing, ...],
    symbol: str,
) -> tuple[Standing, ...] | None:
    places = [standing for standing in standings if isinstance(standing, Place)]
    if SUM in standings or len({place.outer for place in places}) > 1:
        return None
    axes = tuple(standing.axis if isinstance(standing, Place) else None for standing in standings)
    cut = Cut(symbol, operands, results, axes)
    if not places and not any(cut.carries(dim) for type in results for dim in type.shape):
        return None if isinstance(operation, Size) and cut.carries(operation.dim) else (None,) * len(results)
    outer = places[0].outer if places else 1
    if isinstance(operation, Reshape):
        place = operation.place_in_parts(cut, outer)
        return None if place is None else (place,)
    joined = operation.in_parts(cut)
    return None if joined is None else tuple(SUM if how == SUM else Place(how, outer) for how in joined)


def expansion_parts(graph: Graph, cut: Cut) -> tuple[Joined, ...] | None:
    """How the results of an operation are put together that stands for those of ``graph``: where all of these can run
    in parts one after the other, with nothing put together on the way, so can it."""
    standings: dict[Value, Standing] = {
        item.value: None if axis is None else Place(axis) for item, axis in zip(graph.inputs, cut.axes, strict=True)
    }
    for node in graph.nodes:
        found = parts_of(node, [standings[value] for value in node.inputs], cut.symbol)
        if found is None:
            return None
        standings.update(zip(node.outputs, found, strict=True))
    results: list[Joined] = []
    for output in graph.outputs:
        standing = standings[output.value]
        if standing is None or (isinstance(standing, Place) and standing.outer != 1):
            return None
        results.append(standing.axis if isinstance(standing, Place) else standing)
    return tuple(results)


class _Expanded(RelayedLowering):
    """One node of an expansion as it is lowered.

    A value on the way has no name before it is made, so that a node which others have made already is shared with them.
    """

    def __init__(
        self,
        c: OnnxLowering,
        node: Node,
        names: dict[Value, str],
        results: Mapping[Value, str],
        read: Sequence[bool],
    ) -> None:
        self._node, self._names = node, names
        opcode, single = node.operation.opcode, len(node.outputs) == 1
        outputs = tuple(results.get(value) or (ON_THE_WAY if single else c.name(opcode)) for value in node.outputs)
        types = tuple([value.type for value in values] for values in (node.inputs, node.outputs))
        super().__init__(c, tuple(names[value] for value in node.inputs), outputs, (types[0], types[1]), read)
        names.update(zip(node.outputs, outputs, strict=True))

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str] | None = None, **attributes: Any) -> str:
        if outputs is None or tuple(outputs) != (ON_THE_WAY,):
            return super().node(kind, inputs, outputs, **attributes)
        self.alias(super().node(kind, inputs, **attributes))
        return self._names[self._node.output]

    def alias(self, name: str) -> None:
        self._names[self._node.output] = name


# Stands for the name of a value that is not made yet, and is no result.
ON_THE_WAY = "(on the way)"
