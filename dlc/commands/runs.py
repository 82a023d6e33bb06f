"""``dlc runs``: the runs that there are, side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.terminal import remark, table, tell, width_of

if TYPE_CHECKING:
    from runtime.reports.listing import RunSummary

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WIDTH = 90  # of a chart where the output is not a terminal


@click.command("runs", short_help="List and compare training runs.")
@click.argument("places", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER...]")
@click.option("--by", metavar="FIGURE", help="The figure to compare by, such as val.accuracy. Default: the first one.")
@click.option("--chart/--no-chart", default=True, help="Draw the curves of that figure below the table.")
def runs_command(places: tuple[Path, ...], by: str | None, chart: bool) -> None:
    """List the runs in FOLDER, by default runs; or compare the run folders that are named.

    The table has the best value of every figure over the epochs, where * is the best run, the results on test samples,
    the settings that differ between the runs, and the time that the epochs took. Unfinished and broken runs are
    listed with what can be read of them.

    \b
    Examples:
      dlc runs runs/digits runs/digits-3
      dlc runs --by val.loss
    """
    from runtime.reports.listing import figure_names, find_runs, main_figure
    from runtime.training.folder import RUNS

    found = find_runs(places or (RUNS,))
    if not found:
        remark(f"there are no runs in {', '.join(map(str, places or (RUNS,)))}")
        return
    names = figure_names(found)
    if by is not None and by not in names:
        raise click.UsageError(f"no run has a figure {by}: there are {', '.join(names) or 'none yet'}")
    chosen = by or main_figure(found)
    width = width_of(sys.stdout)
    tell("\n".join(_table(found, names, chosen, width)))
    if chart and chosen:
        _chart(found, chosen, min(width or _WIDTH, 120))


def _table(found: Sequence[RunSummary], names: Sequence[str], chosen: str | None, width: int | None) -> list[str]:
    from runtime.reports.listing import differing

    settings = differing(found)
    best = _best_run(found, chosen)
    rows = []
    for number, run in enumerate(found):
        differences = "  ".join(f"{name}={texts[number]}" for name, texts in settings.items() if texts[number])
        time = _time(run.record.duration) if run.record and run.record.seconds else ""
        figures = (f"{_figure(run, name)}{'*' if run is best and name == chosen else ' '}" for name in names)
        letter = _LETTERS[number] if number < len(_LETTERS) else ""
        epochs = str(run.history.rows[-1].epoch if run.history.rows else 0)
        rows.append((letter, run.path.name, run.state, epochs, *figures, time, differences))
    # The star, or the space in its place, keeps the numbers of a column aligned.
    head = ("", "run", "state", "epochs", *(f"{name} " for name in names), "time", "what differs")
    last = len(head) - 1
    return table(head, rows, numbers=range(3, last), yields=last, width=width)


def _best_run(found: Sequence[RunSummary], chosen: str | None) -> RunSummary | None:
    """The run with the best value; none where there is nothing to choose from."""
    valued = [(value, run) for run in found if chosen and (value := _value(run, chosen)) is not None]
    if len(valued) < 2:
        return None
    choose = max if valued[0][1].better(chosen or "") == "higher" else min
    return choose(valued, key=lambda pair: pair[0])[1]


def _value(run: RunSummary, name: str) -> float | None:
    if run.record and name in run.record.results and name.startswith("test."):
        return run.record.results[name]
    row = run.best(name)
    return row.figures[name] if row else None


def _figure(run: RunSummary, name: str) -> str:
    from runtime.reports.report.charts import number_text

    value = _value(run, name)
    return "" if value is None else number_text(value)


def _time(seconds: float) -> str:
    from runtime.reports.report.page import duration_text

    return duration_text(seconds)


def _chart(found: Sequence[RunSummary], chosen: str, width: int) -> None:
    from dlc.plain_chart import plain_chart
    from runtime.reports.listing import common_unit, curves

    letters = {run.path: letter for run, letter in zip(found, _LETTERS, strict=False)}
    drawn = [
        (letters[run.path], epochs, values) for run, epochs, values in curves(found, chosen) if run.path in letters
    ]
    if drawn:
        tell(f"\n{chosen} over {common_unit(found)}s")
        tell("\n".join(plain_chart(drawn, width)))
