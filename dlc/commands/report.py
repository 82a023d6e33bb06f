"""``dlc report``: the page about a run, made anew from its folder."""

from __future__ import annotations

from pathlib import Path

import click

from dlc.terminal import tell


@click.command("report", short_help="Write the page about a run anew.")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--train", metavar="NAME", help="Which train block, where the run's own record does not tell.")
def report_command(run: Path, train: str | None) -> None:
    """Write report.html of the run folder RUN anew: curves, predictions, architecture, sizes, environment, source.

    It is one file that needs nothing else and no network. `dlc train` writes it at its end; this command also makes one
    of a run that goes on, or that was interrupted.

    \b
    Examples:
      dlc report runs/digits
    """
    from runtime.reports.report.write import rewrite_report

    tell(f"wrote {rewrite_report(run, train)}")
