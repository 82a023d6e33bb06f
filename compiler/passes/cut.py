"""A graph cut where something outside of it makes values: a part for what that needs, and one for what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from compiler.ir.graph import Graph, Input, Output, Value
from compiler.ir.live import live_nodes
from compiler.passes.order import COMMON, Pipeline
from compiler.program import CallPart, EvaluationParts, ModelCall


def without_model(graph: Graph, uses: Sequence[ModelCall], results: Sequence[str]) -> EvaluationParts | None:
    """``graph``, an evaluation, with the ``uses`` of a model taken out that its outputs depend on; None where there are
    none. ``results`` are the names of the model's outputs."""
    made = {value for node in live_nodes(graph) for value in node.outputs}
    calls: list[CallPart] = []
    given: dict[Value, str] = {}
    for use in uses:
        if made.isdisjoint(use.outputs):
            continue
        name = f"call{len(calls)}"
        inputs = [Output(key, value) for key, value in use.inputs.items()]
        before = Pipeline(COMMON).run(cut(graph, name, inputs, given))
        # No name of a source has a dot, so that these are taken by none.
        names = {result: f"{name}.{result}" for result in results}
        given |= dict(zip(use.outputs, names.values(), strict=True))
        calls.append(CallPart(before, names))
    return (
        EvaluationParts(tuple(calls), Pipeline(COMMON).run(cut(graph, "rest", graph.outputs, given))) if calls else None
    )


def cut(graph: Graph, name: str, outputs: Sequence[Output], given: Mapping[Value, str]) -> Graph:
    """The part of ``graph`` that makes ``outputs``, called ``name``. The values ``given`` are not computed, but inputs
    of these names, as far as they are read; the other inputs stay, as they are the signature."""
    stand_ins = {value: Value(name, value.type) for value, name in given.items()}
    nodes = tuple(
        replace(node, inputs=tuple(stand_ins.get(value, value) for value in node.inputs)) for node in graph.nodes
    )
    results = tuple(replace(output, value=stand_ins.get(output.value, output.value)) for output in outputs)
    part = Graph(name, graph.inputs, nodes, results, graph.input_origins)
    live = live_nodes(part)
    read = part.output_values.union(*(node.inputs for node in live))
    added = tuple(Input(value) for value in stand_ins.values() if value in read)
    return replace(part, inputs=(*graph.inputs, *added), nodes=live)
