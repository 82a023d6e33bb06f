"""``dlc plot``: the curves of runs as a picture file."""

from __future__ import annotations

from pathlib import Path

import click

from dlc.terminal import tell


@click.command("plot", short_help="Draw the curves of runs into a PNG, SVG or PDF file.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="The picture to write, .png, .svg or .pdf. Default: plots.png in the run folder; of several runs, here.",
)  # fmt: skip
def plot(runs: tuple[Path, ...], output: Path | None) -> None:
    """Draw the loss and every measure of the run folder RUN over its epochs; of several runs, all into the same plots.

    Needs matplotlib: pip install 'dlc[plots]'.

    \b
    Examples:
      dlc plot runs/digits
      dlc plot runs/digits runs/digits-2 -o compared.svg
    """
    from runtime.reports.listing import find_runs
    from runtime.reports.plots import save_plots

    path = output or (runs[0] / "plots.png" if len(runs) == 1 else Path("plots.png"))
    save_plots(find_runs(runs), path)
    tell(f"wrote {path}")
