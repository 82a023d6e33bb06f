"""Whether a pass changed what a graph computes: the graph before and after it, run on the same random inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from compiler.ir.dims import evaluate
from compiler.ir.graph import Graph, Role, Value
from compiler.ir.tolerance import excess, tolerance
from compiler.ir.types import DType, TensorType
from compiler.ops.along import OneHot, ScatterAlong, TakeAlong
from compiler.ops.base import Array, Sizes
from compiler.ops.emit import Emit
from compiler.ops.gather import Gather, ScatterAdd
from compiler.ops.interpret import interpret

# The seeds of the runs, and how far from 0 their numbers lie; every second run has positive numbers only, which
# logarithms and roots want.
_SCALES = (1.0, 1.0, 3.0, 2.0)
# The largest size of a symbol, and the largest integer that indexes nothing.
_LARGEST_SIZE = 5
_LARGEST_INTEGER = 9


class ChangedResults(Exception):
    """A pass that changed what a graph computes: ``step`` is its name, ``output`` the first output that differs and
    ``difference`` the largest difference in it."""

    def __init__(self, step: str, graph: str, output: str, difference: float, where: str) -> None:
        differs = f"output {output} differs by up to {difference:g} ({where})"
        super().__init__(f"pass {step} changed what graph {graph} computes: {differs}")
        self.step, self.output, self.difference = step, output, difference


def check_same_results(step: str, before: Graph, after: Graph) -> None:
    """Raise ChangedResults where an output that both graphs have differs.

    What is f32 in the graphs is computed in f64 here: then differences are not those of rounding, but for constants,
    and what is allowed for the output's own element type is enough for any right pass.
    """
    wide_before, wide_after = in_f64(before), in_f64(after)
    types = {output.name: output.value.type for output in before.outputs}
    for seed, scale in enumerate(_SCALES):
        rng = np.random.default_rng(seed)
        sizes = random_sizes(before, rng)
        inputs = random_inputs(wide_before, sizes, rng, scale, positive=seed % 2 == 1)
        # A pass that differentiates or updates adds inputs, which the outputs that it found do not depend on.
        inputs = random_inputs(wide_after, sizes, rng, scale, positive=True) | inputs
        expected, actual = _outputs(wide_before, inputs, sizes), _outputs(wide_after, inputs, sizes)
        for name, wanted in expected.items():
            if name in actual and excess(actual[name], wanted, tolerance(types[name].dtype)) > 1:
                where = ", ".join([*(f"{symbol}={size}" for symbol, size in sizes.items()), f"seed {seed}"])
                raise ChangedResults(step, before.name, name, _difference(actual[name], wanted), where)


def random_sizes(graph: Graph, rng: np.random.Generator) -> dict[str, int]:
    """A size for every symbol of the graph's inputs, within its bound."""
    return {s.name: int(rng.integers(s.lower, s.nearest(_LARGEST_SIZE) + 1)) for s in graph.symbols}


def random_inputs(
    graph: Graph, sizes: Sizes, rng: np.random.Generator, scale: float = 1.0, *, positive: bool = False
) -> dict[str, Array]:
    """An array for every input of the graph, whose symbols have ``sizes``.

    Floats are normally distributed, or evenly over 0.1 to 2 where ``positive`` (the state always: it holds squares and
    counts), times ``scale``. Integers that index an axis stay within it.
    """
    limits = _index_limits(graph, sizes)
    arrays = {}
    for item in graph.inputs:
        type = item.value.type
        shape = tuple(evaluate(dim, sizes) for dim in type.shape)
        if type.dtype.is_float:
            sampled = positive or item.role is Role.STATE
            numbers = rng.uniform(0.1, 2.0, shape) if sampled else rng.standard_normal(shape)
            arrays[item.name] = np.asarray(scale * numbers).astype(type.dtype.numpy)
        else:
            stop = 2 if type.dtype is DType.BOOL else limits.get(item.value, _LARGEST_INTEGER + 1)
            arrays[item.name] = np.asarray(rng.integers(0, max(stop, 1), shape)).astype(type.dtype.numpy)
    return arrays


def in_f64(graph: Graph) -> Graph:
    """The graph with f64 wherever it has f32: in inputs, constants and attributes."""
    b = Emit(graph.name)
    b.reserve(graph)
    values: dict[Value, Value] = {}
    for item in graph.inputs:
        values[item.value] = b.input(item.name, _wide(item.value.type), item.role)
    for node in graph.nodes:
        names = tuple(value.name for value in node.outputs)
        made = b.add_node(_wide(node.operation), tuple(values[value] for value in node.inputs), names)
        values.update(zip(node.outputs, made, strict=True))
    for output in graph.outputs:
        b.output(output.name, values[output.value], output.updates)
    return b.finish()


def _wide(attribute: Any) -> Any:
    """An attribute, or an operation with all of its attributes, for f64 in the place of f32."""
    if attribute is DType.F32:
        return DType.F64
    if isinstance(attribute, np.ndarray):
        return attribute.astype(np.float64) if attribute.dtype == np.float32 else attribute
    if isinstance(attribute, tuple):
        return tuple(map(_wide, attribute))
    if is_dataclass(attribute) and not isinstance(attribute, type):
        changed = {field.name: _wide(getattr(attribute, field.name)) for field in fields(attribute) if field.init}
        return replace(attribute, **changed)
    return attribute


def _index_limits(graph: Graph, sizes: Sizes) -> dict[Value, int]:
    """For each integer value that is used as an index, the size that it has to stay below.

    What an index is computed from is held below the same size, which is right for views, casts and minima, the ways
    in which indices are made.
    """
    limits: dict[Value, int] = {}

    def limit(value: Value, stop: int) -> None:
        limits[value] = min(stop, limits.get(value, stop))

    def size(type: TensorType, axis: int) -> int:
        return evaluate(type.shape[axis], sizes)

    for node in reversed(graph.nodes):
        match node.operation:
            case Gather(axis) | TakeAlong(axis):
                limit(node.inputs[1], size(node.inputs[0].type, axis))
            case ScatterAdd(_, axis) | ScatterAlong(_, axis):
                limit(node.inputs[0], size(node.output.type, axis))
            case OneHot(classes, _):
                limit(node.inputs[0], classes)
        for value in node.inputs:
            if value.type.dtype.is_integer:
                for stop in (limits[output] for output in node.outputs if output in limits):
                    limit(value, stop)
    return limits


def _outputs(graph: Graph, inputs: Mapping[str, Array], sizes: Sizes) -> dict[str, Array]:
    values = interpret(graph, inputs, sizes)
    return {output.name: values[output.value] for output in graph.outputs}


def _difference(actual: Array, expected: Array) -> float:
    if actual.shape != expected.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        apart = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    same = (actual == expected) | ((actual != actual) & (expected != expected))
    return float(np.max(np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart)), initial=0.0))
