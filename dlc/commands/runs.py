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

_WIDTH = 90  # of a chart where the output is not a terminal


@click.command("runs", short_help="List and compare training runs.")
@click.argument("places", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER...]")
@click.option("--by", metavar="FIGURE", help="The figure to compare by, such as val.accuracy. Default: the first one.")
@click.option("--chart/--no-chart", default=True, help="Draw the curves of that figure below the table.")
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with charts of all figures."
)
def runs_command(places: tuple[Path, ...], by: str | None, chart: bool, html: Path | None) -> None:
    """List the runs in FOLDER, by default runs; or compare the run folders that are named.

    The table has the best value of every figure over the epochs, where * is the best run, the results on test samples,
    the settings that differ between the runs, and the time that the epochs took. Unfinished and broken runs are
    listed with what can be read of them.

    \b
    Examples:
      dlc runs runs/digits runs/digits-3
      dlc runs --by val.loss
      dlc runs runs/digits runs/digits-3 --html compared.html
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
    if html:
        from runtime.reports.report.comparison import write_comparison

        write_comparison(found, chosen, html)
        tell(f"wrote {html}")


def _table(found: Sequence[RunSummary], names: Sequence[str], chosen: str | None, width: int | None) -> list[str]:
    from runtime.reports.comparing import comparison_table

    head, rows = comparison_table(found, names, chosen)
    last = len(head) - 1
    return table(head, rows, numbers=range(3, last), yields=last, width=width)


def _chart(found: Sequence[RunSummary], chosen: str, width: int) -> None:
    from dlc.plain_chart import plain_chart
    from runtime.reports.comparing import LETTERS
    from runtime.reports.listing import common_unit, curves

    letters = {run.path: letter for run, letter in zip(found, LETTERS, strict=False)}
    drawn = [
        (letters[run.path], epochs, values) for run, epochs, values in curves(found, chosen) if run.path in letters
    ]
    if drawn:
        tell(f"\n{chosen} over {common_unit(found)}s")
        tell("\n".join(plain_chart(drawn, width)))
