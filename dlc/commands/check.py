"""``dlc check``: everything that can be known before anything runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dlc.commands import options
from dlc.terminal import report, tell, width_of


@click.command(short_help="Check a model file and show its shapes and costs.")
@options.FILE
@options.SET
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Show shapes and costs for batches of N samples.")
def check(file: Path, constants: dict[str, str], batch: int | None) -> None:
    """Check a model file: every name, argument and shape, without running anything.

    Shows for each model its stages with the types they give, their parameters and their multiply-adds (MACs) for one
    sample or, with --batch, for a batch; and for each train block what it does.

    \b
    Examples:
      dlc check examples/digits.dl
      dlc check examples/digits.dl --set classes=26
      dlc check examples/digits.dl --batch 64
    """
    from dlc.overview import overview
    from runtime.project import open_project

    project = open_project(file, constants)
    if project.checked.warnings:
        report(project.checked.warnings)
    tell(overview(project, batch, width_of(sys.stdout)))
