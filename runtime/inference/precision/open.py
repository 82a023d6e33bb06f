"""What a smaller file begins with: a model file, trained weights and the train block that judges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runtime.inference.precision.gate import Limits
from runtime.inference.precision.shrink import Shrinker, shrinker
from runtime.inference.ship import Shipping
from runtime.programs.project import Project
from runtime.training.job import Changes, make_job
from runtime.training.weights import load_names, load_trained


def open_shrinker(
    project: Project,
    model: str | None,
    train: str | None,
    weights: Path,
    changes: Changes,
    how: Shipping,
    limits: Limits,
) -> Shrinker:
    """The shrinker of ``model`` with trained ``weights``, a run folder or a file, judged by the train block ``train``,
    or by the only one that runs the model.

    Raises DiagnosticError: E0203 where model or block are not clear, E0804 to E0806 for the weights, and what
    :func:`runtime.inference.precision.shrink.shrinker` raises.
    """
    program = project.model(model)
    job = make_job(project, train or judging_block(project, program.name), changes)
    path, trained = load_trained(job.program, weights)
    names = load_names(path)
    return shrinker(replace(job, names=names), program, trained, replace(how, names=names), limits)


def judging_block(project: Project, model: str) -> str | None:
    """The train block that runs ``model``, where that is one and not all that there are."""
    blocks = project.checked.elaborated.trains
    running = [name for name, block in blocks.items() if any(call.model == model for call in block.calls)]
    return running[0] if len(running) == 1 else None
