"""``dlc inspect``: what the values and gradients of a network look like."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import table, tell, width_of

if TYPE_CHECKING:
    from runtime.inspect.statistics import Statistics


@click.command("inspect", short_help="Show statistics of values and gradients over a batch.")
@options.FILE
@click.argument("name", required=False)
@options.SET
@options.DATA
@options.WEIGHTS
@click.option(
    "--samples", type=click.IntRange(2), default=64, show_default=True, metavar="N", help="Samples in the batch."
)
def inspect_command(
    file: Path, name: str | None, constants: dict[str, str], data: Path | None, weights: Path | None, samples: int
) -> None:
    """Show what flows through the models of the train block NAME in one training step: mean and deviation of what every
    layer gives, the share of it that is dead (the same for all samples), and the root mean square of every weight and
    of its gradient. Names gradients that vanish or explode.

    \b
    Examples:
      dlc inspect examples/digits.dl
      dlc inspect examples/digits.dl --weights runs/digits
    """
    from runtime.inspect.batch import first_batch
    from runtime.inspect.statistics import statistics
    from runtime.programs.project import open_project
    from runtime.training.job import Changes, make_job
    from runtime.training.weights import load_trained

    job = make_job(open_project(file, constants), name, Changes(data))
    path, trained = load_trained(job.program, weights) if weights else (None, {})
    batch = first_batch(job, samples)
    tell(f"{job.program.name}: {batch.source}, with {path or 'fresh weights'}")
    for number, found in enumerate(statistics(job, batch, trained), 1):
        several = f" of minimize statement {number}" if len(job.program.steps) > 1 else ""
        tell(f"\nloss{several} {found.loss:.4g}\n")
        tell("\n".join(_tables(found)))
        for remark in found.remarks or ["nothing looks wrong"]:
            tell(remark)


def _tables(found: Statistics) -> list[str]:
    width = width_of(sys.stdout)
    rows = [
        (value.where, value.text, value.type, f"{value.mean:.3g}", f"{value.deviation:.3g}", f"{100 * value.dead:.0f}%")
        for value in found.values
    ]
    head = ("stage", "layer", "gives", "mean", "deviation", "dead")
    lines = table(head, rows, numbers=(3, 4, 5), yields=1, width=width)
    weights = [
        (item.name, f"{item.size:.3g}", f"{item.gradient:.3g}", f"{item.gradient / item.size:.2g}" if item.size else "")
        for item in found.weights
    ]
    titles = ("weight", "size", "gradient", "gradient/size")
    return [*lines, "", *table(titles, weights, numbers=(1, 2, 3), yields=0, width=width), ""]
