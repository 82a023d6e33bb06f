"""Running a graph one node at a time by the reference meaning of its operations: slow, plain, the oracle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from compiler.ir.dims import as_symbol
from compiler.ir.graph import Graph, Value
from compiler.ir.types import TensorType
from compiler.ops.base import Array, Op, Sizes


def bind_sizes(types: Iterable[tuple[TensorType, tuple[int, ...]]]) -> dict[str, int]:
    """The size of each symbol that stands alone as a dimension, read off the actual shapes.

    The first appearance decides; whether the others agree is for the caller to check.
    """
    sizes: dict[str, int] = {}
    for type, shape in types:
        for dim, size in zip(type.shape, shape, strict=True):
            symbol = as_symbol(dim)
            if symbol is not None:
                sizes.setdefault(symbol.name, size)
    return sizes


def interpret(graph: Graph, inputs: Mapping[str, Array], sizes: Sizes | None = None) -> dict[Value, Array]:
    """Every value of ``graph`` for the given inputs. Floating-point warnings are silenced, as results show them.

    ``sizes`` of the symbols are read off the inputs where they are not given.
    """
    values: dict[Value, Array] = {item.value: np.asarray(inputs[item.name]) for item in graph.inputs}
    if sizes is None:
        sizes = bind_sizes((value.type, array.shape) for value, array in values.items())
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            operation = node.operation
            assert isinstance(operation, Op)
            results = operation.reference(sizes, *(values[value] for value in node.inputs))
            values.update(zip(node.outputs, results, strict=True))
    return values


def interpret_outputs(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The named results of ``graph`` for the given inputs."""
    values = interpret(graph, inputs)
    return {output.name: values[output.value] for output in graph.outputs}
