"""What is in a model file, as text: the tables of its models, and what its train blocks do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from dlc.terminal import table
from runtime.programs.project import Project
from runtime.programs.summary import (
    ModelSummary,
    describe_stored,
    describe_train,
    summarise_foreign,
    summarise_model,
)

if TYPE_CHECKING:
    from runtime.training.planning import MemoryPlan

# Of what a file says of itself so many characters are shown.
_LONGEST = 100


def overview(project: Project, batch: int | None = None, width: int | None = None) -> str:
    """Types and costs are those of a batch where its size is given; tables keep to ``width`` columns."""
    return "\n\n".join("\n".join(part) for part in _parts(project, batch, width))


def _parts(project: Project, batch: int | None, width: int | None) -> Iterator[list[str]]:
    elaborated = project.checked.elaborated
    said = {foreign.name: foreign.network.metadata for foreign in elaborated.imported.foreign}
    for name in project.checked.models:
        yield [*_model(summarise_model(elaborated.models[name], batch), width), *_said(said.get(name, {}))]
    for foreign in elaborated.imported.foreign:
        for use in foreign.uses.values() if foreign.name not in elaborated.models else ():
            yield [*_model(summarise_foreign(use, batch), width), *_said(foreign.network.metadata)]
    for stored in elaborated.stored:
        yield describe_stored(stored)
    for name in project.checked.trains:
        yield describe_train(elaborated.trains[name])


def _said(metadata: Mapping[str, str]) -> Iterator[str]:
    """What a file says of itself, such as how its inputs have to be prepared, a line for each."""
    if not metadata:
        return
    from compiler.targets.onnx.metadata import said_elsewhere

    for key, text in said_elsewhere(metadata).items():
        line = " ".join(text.split())
        yield f"  {key}: {line if len(line) <= _LONGEST else line[: _LONGEST - 1] + '…'}"


def _model(model: ModelSummary, width: int | None) -> list[str]:
    rows = table(model.head, model.rows, total=model.total, numbers=(3, 4), yields=1, width=width)
    return [model.title, "", *rows, *([f"({model.note})"] if model.note else [])]


def memory_tables(project: Project, batch: int | None = None) -> Iterator[list[str]]:
    """What training each train block takes, and each model in inference: for batches of ``batch`` samples, by default
    as large as the train block says."""
    from runtime.training.planning import inference_sizes, plan_inference, plan_training, training_sizes

    sizes = batch or 1
    for name in project.checked.trains:
        program = project.train(name)
        plan = plan_training(program, training_sizes(program, batch))
        sizes = batch or program.settings.batch
        yield [*_memory(f"memory to train {name}", plan), "(beside the data, and 110 MB of Python and its libraries)"]
    for name in project.checked.models:
        model = project.model(name)
        yield _memory(f"memory of {name} in inference", plan_inference(model, inference_sizes(model, sizes)))


def _memory(title: str, plan: MemoryPlan) -> list[str]:
    from runtime.amounts import bytes_text

    where = ", ".join(f"{name} = {size}" for name, size in plan.sizes.items())
    rows = [(part, bytes_text(size)) for part, size in plan.parts.items()]
    total = ("total", bytes_text(plan.total))
    return [f"{title}, {where}", "", *table(("what", "memory"), rows, total=total, numbers=(1,))]
