"""Constant folding: what depends on constants alone is computed while compiling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from compiler.ir.graph import Graph, Node, Value
from compiler.ops.base import Array, Op
from compiler.ops.constant import Constant
from compiler.ops.random import Random
from compiler.ops.shape import Expand
from compiler.passes.base import Pass


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replaces nodes on constants by their results, by the operations' reference meaning.

    Random numbers are drawn anew in each step and stay. So does what only repeats its operand, and a result of more
    than ``limit`` elements, which is better computed where it is needed than written into every file.
    """

    limit: int = 16384

    name = "fold-constants"

    def apply(self, graph: Graph) -> Graph:
        constants: dict[Value, Array] = {}
        nodes: list[Node] = []
        folded = False
        for node in graph.nodes:
            if isinstance(node.operation, Constant):
                constants[node.output] = node.operation.array
            results = self._results(node, constants)
            if results is None:
                nodes.append(node)
                continue
            folded = True
            origin = node.origin.through(self.name)
            for value, array in zip(node.outputs, results, strict=True):
                constants[value] = array
                nodes.append(Node(Constant(array), (), (value,), origin))
        return replace(graph, nodes=tuple(nodes)) if folded else graph

    def _results(self, node: Node, constants: dict[Value, Array]) -> tuple[Array, ...] | None:
        """The results of a node on constants; None where it is none, or is better left."""
        if not node.inputs or not all(value in constants for value in node.inputs):
            return None
        operation, arrays = node.operation, [constants[value] for value in node.inputs]
        if not isinstance(operation, Op) or not operation.pure or isinstance(operation, Random):
            return None
        sizes = [value.type.size for value in node.outputs]
        largest = max((size for size in sizes if isinstance(size, int)), default=0)
        repeats = isinstance(operation, Expand) and largest > arrays[0].size
        if repeats or largest > self.limit or not all(isinstance(size, int) for size in sizes):
            return None
        with np.errstate(all="ignore"):
            return operation.reference({}, *arrays)
