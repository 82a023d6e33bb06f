"""Which layer of an ONNX file does not compute what its operation means: asked when a certification failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from compiler.ir.graph import Graph, Node, Value
from compiler.ir.tolerance import by_largest, excess, tolerance
from compiler.ir.types import DType
from compiler.ops.base import Array, Op, Sizes
from compiler.ops.interpret import interpret
from compiler.targets.onnx.content import Content, changed, head
from compiler.targets.onnx.names import value_names
from runtime.inference.session import Device, InferenceSession

_TOGETHER = 64  # nodes whose values are looked at in one run
# Rounding alone can pass the tolerance of a long sum by a little, never by this much.
_CLEARLY = 16.0


@dataclass(frozen=True)
class Trial:
    """One run of the file ``content`` of ``graph``: the inputs, the sizes of the symbols, and how it was run."""

    content: Content
    graph: Graph
    weights: Mapping[str, Array]
    inputs: Mapping[str, Array]
    sizes: Sizes
    device: Device
    optimise: bool

    @cached_property
    def visible(self) -> dict[Value, str]:
        """The values that can be looked at in the file, with their names there. A value that became one with
        another is not in the file, and one of bf16 can't be had as an array."""
        from compiler.targets.onnx.file import values_told

        told = values_told(head(self.content))
        names = value_names(self.graph)
        return {v: name for v, name in names.items() if name in told and v.type.dtype is not DType.BF16}

    def look(self, values: Iterator[Value]) -> dict[Value, Array]:
        """What the file computes for those of ``values`` that can be looked at."""
        from compiler.targets.onnx.file import expose

        names = {value: self.visible[value] for value in values if value in self.visible}
        exposed = changed(self.content, lambda content: expose(content, names.values()))
        session = InferenceSession(exposed, self.device, self.optimise, threads=1)
        results = session.run(self.inputs)
        return {value: results[name] for value, name in names.items()}


@dataclass(frozen=True)
class Fault:
    """A node whose results differ, by how many times the tolerance, and whether only when nodes are fused."""

    node: Node
    share: float
    fused: bool = False


def first_fault(trial: Trial) -> Fault | None:
    """The first node that differs from the meaning of its operation, or None where every node agrees with it.

    Each node is judged by the operands that the file itself gave it, so that no difference is blamed on a later
    one. Where all agree one by one but the file was run optimised, ONNX Runtime's fusions are looked into.
    """
    worst: Fault | None = None
    for fault in _differing(trial):
        if fault.share > _CLEARLY:
            return fault
        if worst is None or fault.share > worst.share:
            worst = fault
    return worst or (_first_when_fused(trial) if trial.optimise else None)


def _differing(trial: Trial) -> Iterator[Fault]:
    given = {**trial.inputs, **trial.weights}
    known = {item.value: given[item.name] for item in trial.graph.inputs}
    nodes = trial.graph.nodes
    for start in range(0, len(nodes), _TOGETHER):
        group = nodes[start : start + _TOGETHER]
        seen = trial.look(value for node in group for value in (*node.inputs, *node.outputs))
        for node in group:
            assert isinstance(node.operation, Op)
            operands = (seen[value] if value in seen else known[value] for value in node.inputs)
            expected = node.operation.reference(trial.sizes, *operands)
            known |= {v: array for v, array in zip(node.outputs, expected, strict=True) if v not in trial.visible}
            share = _share(node, seen, dict(zip(node.outputs, expected, strict=True)))
            if share > 1:
                yield Fault(node, share)


def _first_when_fused(trial: Trial) -> Fault | None:
    """By halving: one node at a time is looked at, as more would keep ONNX Runtime from fusing what made it."""
    expected = interpret(trial.graph, {**trial.inputs, **trial.weights})
    nodes = [node for node in trial.graph.nodes if any(value in trial.visible for value in node.outputs)]
    low, high = 0, len(nodes)
    while low < high:
        middle = (low + high) // 2
        differs = _share(nodes[middle], trial.look(iter(nodes[middle].outputs)), expected) > 1
        low, high = (low, middle) if differs else (middle + 1, high)
    if low == len(nodes):
        return None
    return Fault(nodes[low], _share(nodes[low], trial.look(iter(nodes[low].outputs)), expected), fused=True)


def _share(node: Node, actual: Mapping[Value, Array], expected: Mapping[Value, Array]) -> float:
    return max(
        (excess(actual[v], expected[v], tolerance(v.type.dtype), by_largest) for v in node.outputs if v in actual),
        default=0.0,
    )
