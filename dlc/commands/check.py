"""``dlc check``: everything that can be known before anything runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dlc.commands import options
from dlc.terminal import remark, report, tell, width_of


@click.command(short_help="Check a model file and show its shapes and costs.")
@options.FILE
@options.SET
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Show shapes and costs for batches of N samples.")
@click.option("--memory", is_flag=True, help="Show how much memory training and inference will take.")
@click.option("--watch", is_flag=True, help="Check again whenever the file, or one that it imports, is saved.")
def check(file: Path, constants: dict[str, str], batch: int | None, memory: bool, watch: bool) -> None:
    """Check a model file: every name, argument and shape, without running anything.

    Shows for each model its stages with the types they give, their parameters and their multiply-adds (MACs) for one
    sample or, with --batch, for a batch; and for each train block what it does.

    \b
    Examples:
      dlc check examples/digits.dl
      dlc check examples/digits.dl --set classes=26
      dlc check examples/digits.dl --batch 64 --memory
      dlc check digits.dl --watch
    """
    if watch:
        _watch(file, constants, batch, memory)
    else:
        _check(file, constants, batch, memory)


def _check(file: Path, constants: dict[str, str], batch: int | None, memory: bool) -> None:
    from dlc.overview import memory_tables, overview
    from runtime.programs.project import open_project

    project = open_project(file, constants)
    if project.checked.warnings:
        report(project.checked.warnings)
    tell(overview(project, batch, width_of(sys.stdout)))
    if memory:
        for lines in memory_tables(project, batch):
            tell("\n".join(["", *lines]))


def _watch(file: Path, constants: dict[str, str], batch: int | None, memory: bool) -> None:
    """Checks again and again until Ctrl-C. Raises DiagnosticError E0809 where there is no file to begin with."""
    from compiler.diagnostics import DiagnosticError
    from runtime.programs.project import read_model_file
    from runtime.watch import watch

    def again(files: int) -> None:
        if sys.stdout.isatty():
            click.clear()
        try:
            _check(file, constants, batch, memory)
        except DiagnosticError as wrong:
            report(wrong.diagnostics)
        imported = f" and {files - 1} more" if files > 1 else ""
        remark(f"watching {file}{imported}; Ctrl-C ends")

    read_model_file(file)
    watch(file, again)
