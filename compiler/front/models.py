"""A model on its own: elaborated for inference on the symbolic sizes of its signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.diagnostics import warning
from compiler.front import tree
from compiler.front.expressions import Evaluator
from compiler.front.modules import declare_inputs, run_module
from compiler.front.trace import Trace, TracedWeight
from compiler.front.values import Tensor, has_poison
from compiler.ir.graph import Graph
from compiler.program import Stage

if TYPE_CHECKING:
    from compiler.front.declarations import Declarations


@dataclass(frozen=True)
class ElaboratedModel:
    """A model on its own, for inference: its graph, its weights and the rows of its table."""

    name: str
    graph: Graph
    weights: tuple[TracedWeight, ...]
    stages: tuple[Stage, ...]


def elaborate_model(declarations: Declarations, model: tree.Model) -> ElaboratedModel | None:
    """The inference graph of a model; None where it has errors, which are reported."""
    name = model.name.name
    before = len(declarations.sink.errors)
    trace = Trace(name, training=False, has_state=False)
    evaluator = Evaluator(declarations, trace)
    scope = declarations.module_scope(name)
    declare_inputs(evaluator, model.parameters, scope, name)
    trace.recorded = scope
    result = run_module(evaluator, model, model.name.span, scope)
    if len(declarations.sink.errors) > before or has_poison(result):
        return None
    results = result if isinstance(result, tuple) else (result,)
    for position, tensor in enumerate(results):
        assert isinstance(tensor, Tensor)
        trace.b.output(_output_name(model, position, len(results)), tensor.value)
    for unused, binding in scope.unused():
        declarations.sink.report(
            warning("W0201", f"{unused} is never used", binding.span, "nothing reads it", help="remove it")
        )
    return ElaboratedModel(name, trace.b.finish(), tuple(trace.weights.values()), tuple(trace.stages))


def _output_name(model: tree.Model, position: int, count: int) -> str:
    if position < len(model.outputs):
        name = model.outputs[position].name
        if name is not None:
            return name.name
    return "output" if count == 1 else f"output{position}"
