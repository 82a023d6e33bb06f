"""The graphs of a model file by name, and each of them after every pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import compiler
from compiler.diagnostics import DiagnosticError, did_you_mean, error
from compiler.ir.graph import Graph
from compiler.passes.dump import Stage
from runtime.programs.project import Project


def graph_names(project: Project) -> list[str]:
    """The models, and for each train block the graphs that make the first weights, each step, and the evaluation."""
    names = list(project.checked.models)
    for block in project.checked.trains:
        program = project.train(block)
        names += (f"{block}.{graph.name}" for graph in program.graphs)
    return names


def stages(project: Project, name: str | None = None, target: Literal["numpy", "onnx"] = "numpy") -> list[Stage]:
    """The graph ``name``, by default that of the only model, after each pass on its way to the target.

    Train blocks always go to NumPy. Raises DiagnosticError E0203 where there is no such graph.
    """
    name = name or project.model().name
    if name not in graph_names(project):
        raise _unknown("graph", name, graph_names(project))
    found: list[Stage] = []

    def observe(step: str, before: Graph, after: Graph, seconds: float) -> None:
        found.append(Stage(step, before, after, seconds))

    if name in project.checked.models:
        program = compiler.compile_model(project.checked, name, observe)
        if target == "onnx":
            compiler.onnx_graph(program, observe)
        else:
            compiler.numpy_graph(program.graph, observe)
        return found
    block, _, graph_name = name.partition(".")
    train = compiler.compile_train(project.checked, block, observe)
    for graph in train.graphs:
        compiler.numpy_graph(graph, observe)
    return [stage for stage in found if stage.after.name == graph_name]


def stage_after(found: Sequence[Stage], wanted: str | None = None) -> Stage:
    """The last stage, or the one with the number or the name ``wanted``; of several with one name the first.

    Raises DiagnosticError E0203 where there is none.
    """
    if wanted is None:
        return found[-1]
    if wanted.isdecimal() and 1 <= int(wanted) <= len(found):
        return found[int(wanted) - 1]
    for stage in found:
        if stage.name == wanted:
            return stage
    raise _unknown("pass", wanted, list(dict.fromkeys(stage.name for stage in found)))


def _unknown(kind: str, name: str, known: Sequence[str]) -> DiagnosticError:
    near = did_you_mean(name, known)
    advice = f"did you mean {near}?" if near else ()
    return DiagnosticError(
        [error("E0203", f"there is no {kind} {name} here", None, notes=f"there is {', '.join(known)}", help=advice)]
    )
