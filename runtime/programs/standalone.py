"""A model file as one Python file that needs only NumPy: what the trainer runs, for people to read and to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import compiler
from compiler.ir.graph import Graph
from runtime.programs.project import Project


def standalone(project: Project, model: str | None = None, train: str | None = None) -> str:
    """The text of the Python file: ``initial``, the steps and ``evaluate`` of a train block, and ``infer`` of its
    models (``infer_NAME`` of several); of a file without train blocks, ``initial`` and ``infer``.

    It computes the numbers that training computes, bit for bit; a step that takes several batches is one of all their
    samples here, and so rounded in another way. ``model`` and ``train`` choose where there are several.
    Raises DiagnosticError E0203 where the train block is not clear.
    """
    if train is None and not project.checked.trains:
        name, program = project.model(model).name, None
        graphs = [compiler.initial_graph(project.checked, name), *_inference(project, [name])]
    else:
        program = project.train(train, accumulates=False)
        models = program.models if model is None else [project.model(model).name]
        graphs = [*program.graphs, *_inference(project, models)]
        name = program.name
    return compiler.numpy_module(graphs, name, project.source, program)


def _inference(project: Project, names: Sequence[str]) -> Iterator[Graph]:
    for name in names:
        yield compiler.inference_graph(project.model(name), "infer" if len(names) == 1 else f"infer_{name}")
