"""What is in a model file, as text: the tables of its models, and what its train blocks do."""

from __future__ import annotations

from collections.abc import Iterator

from dlc.terminal import table
from runtime.programs.project import Project
from runtime.programs.summary import describe_train, summarise_model


def overview(project: Project, batch: int | None = None, width: int | None = None) -> str:
    """Types and costs are those of a batch where its size is given; tables keep to ``width`` columns."""
    return "\n\n".join("\n".join(part) for part in _parts(project, batch, width))


def _parts(project: Project, batch: int | None, width: int | None) -> Iterator[list[str]]:
    for name in project.checked.models:
        model = summarise_model(project.checked.elaborated.models[name], batch)
        rows = table(model.head, model.rows, total=model.total, numbers=(3, 4), yields=1, width=width)
        yield [model.title, "", *rows, *([f"({model.note})"] if model.note else [])]
    for name in project.checked.trains:
        yield describe_train(project.checked.elaborated.trains[name])
