"""What a network from elsewhere consists of where a model calls it: the rows of its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compiler.diagnostics import Span
from compiler.front.trace import Trace, TracedWeight
from compiler.ir.dims import Dim
from compiler.ir.graph import Node
from compiler.ir.types import TensorType
from compiler.ops.base import Op
from compiler.program import Stage

# A table has so many rows where the parts within parts would make more, and names so many kinds of operations in one.
_ROWS, _KINDS = 24, 4


@dataclass(frozen=True)
class ForeignUse:
    """A call of a network: ``cut`` is what it says of ``until`` and ``from``, ``stages`` have a row for each part,
    ``dropped`` the weights that it leaves out, by their names in the file."""

    name: str
    cut: str
    file: str
    span: Span
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    stages: tuple[Stage, ...]
    weights: tuple[TracedWeight, ...]
    dropped: Mapping[str, TensorType]

    @property
    def call(self) -> str:
        return f"{self.name}({self.cut})" if self.cut else self.name


def rows_of(trace: Trace, name: str, first: int) -> tuple[Stage, ...]:
    """A row for each part of the network ``name``, of which the nodes from ``first`` on were written."""
    prefix = f"{name}."
    nodes = [node for node in trace.b.nodes[first:] if node.origin.scope.startswith(prefix)]
    paths = [node.origin.scope.removeprefix(prefix).split(".") for node in nodes]
    deepest = max((len(path) - 1 for path in paths), default=0)
    for depth in range(max(deepest, 1), 0, -1):
        # The last word of a path is the node's own.
        groups: dict[str, list[Node]] = {}
        for path, node in zip(paths, nodes, strict=True):
            groups.setdefault(".".join(path[:-1][:depth] or path), []).append(node)
        if len(groups) <= _ROWS:
            break
    seen: set[str] = set()
    return tuple(_row(trace, prefix + part, group, seen) for part, group in groups.items()) if nodes else ()


def _row(trace: Trace, path: str, nodes: Sequence[Node], seen: set[str]) -> Stage:
    by_value = {item.value: item.weight for item in trace.weights.values()}
    read = [by_value[value] for node in nodes for value in node.inputs if value in by_value]
    fresh = tuple(weight for weight in dict.fromkeys(read) if weight.name not in seen)
    seen.update(weight.name for weight in fresh)
    kinds = Counter(node.operation.opcode for node in nodes)
    texts = [f"{kind} x{count}" if count > 1 else kind for kind, count in kinds.items()]
    text = ", ".join(texts[:_KINDS]) + (" …" if len(texts) > _KINDS else "")
    macs: Dim = 0
    for node in nodes:
        operation = node.operation
        assert isinstance(operation, Op)
        types = tuple(v.type for v in node.inputs), tuple(v.type for v in node.outputs)
        macs = macs + operation.macs(*types)
    outputs = tuple(value.type for value in nodes[-1].outputs[:1])
    return Stage(path, text, nodes[0].origin.spans[0], outputs, fresh, macs)
