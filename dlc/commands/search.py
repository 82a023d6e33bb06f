"""``dlc search``: trainings with other constants, and which are best."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import remark, table, tell, width_of

if TYPE_CHECKING:
    from runtime.training.search import Trial


@click.command(short_help="Search for the best values of constants that have a range.")
@options.FILE
@click.argument("name", required=False)
@options.SET
@options.DATA
@click.option("--trials", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Trainings to make.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Passes over the data in each of them.")
@click.option("--seed", type=click.IntRange(0, 2**62 - 1), metavar="N", help="Where all random numbers come from.")
@click.option("--by", metavar="FIGURE", help="What is to become better, such as val.loss. Default: the first measure.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Where the run folders go. Default: runs/NAME-search."
)
def search(
    file: Path,
    name: str | None,
    constants: dict[str, str],
    data: Path | None,
    trials: int,
    epochs: int | None,
    seed: int | None,
    by: str | None,
    out: Path | None,
) -> None:
    """Train the block NAME again and again with other values of the constants that have a range, such as
    const rate = 1e-3 in 1e-4 .. 1e-2 log, or choices, such as const units = 32 in [16, 32, 64].

    The values are chosen by Optuna (pip install 'dlc[search]'), the first ones being those of the file. All run folders
    stay, for `dlc runs DIR`; weights, checkpoint and report are kept of the best one.

    \b
    Examples:
      dlc search digits.dl
      dlc search digits.dl --trials 50 --epochs 10 --by val.loss
    """
    from runtime.programs.project import open_project
    from runtime.training.job import Changes
    from runtime.training.search import Search
    from runtime.training.search import search as make_trials

    block = open_project(file, constants).train(name).name
    folder = out or Path("runs") / f"{block}-search"
    wanted = Search(file, block, constants, Changes(data, epochs=epochs, seed=seed), trials, folder, by)
    made: list[Trial] = []
    best: Trial | None = None
    figure = ""
    for trial, figure, ahead in make_trials(wanted):
        made.append(trial)
        best = trial if ahead else best
        remark(f"trial {trial.number}/{trials}  {_reached(trial, figure)}  {_constants(trial)}{'  *' if ahead else ''}")
    rows = []
    for trial in made:
        rows.append((str(trial.number), *trial.constants.values(), f"{_figure(trial)}{'*' if trial is best else ' '}"))
    head = ("trial", *made[0].constants, f"{figure} ")
    tell("\n".join(table(head, rows, numbers=range(len(head)), width=width_of(sys.stdout))))
    if best is None:
        remark("no trial came to an end: the numbers got out of hand in all of them")
        sys.exit(1)
    again = shlex.join(word for item in best.constants.items() for word in ("--set", "=".join(item)))
    tell(f"\nthe best is trial {best.number}, in {best.folder}; to train with its constants: {again}")


def _constants(trial: Trial) -> str:
    return "  ".join(f"{name}={value}" for name, value in trial.constants.items())


def _figure(trial: Trial) -> str:
    from runtime.reports.report.charts import number_text

    return "out of hand" if trial.figure is None else number_text(trial.figure)


def _reached(trial: Trial, figure: str) -> str:
    return _figure(trial) if trial.figure is None else f"{figure} {_figure(trial)}"
