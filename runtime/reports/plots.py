"""Plots of runs as picture files, with matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from compiler.diagnostics import DiagnosticError, error
from compiler.program import Unit
from runtime.disk.output import save_output
from runtime.extras import needs
from runtime.reports.listing import RunSummary, common_unit
from runtime.reports.report.charts import value_axis

# What the name of a file may end in, and which format that is.
_FORMATS = {".png": "png", ".svg": "svg", ".pdf": "pdf"}


def save_plots(runs: Sequence[RunSummary], path: Path) -> None:
    """Writes one plot for each figure of the runs, over epochs or steps, into the picture ``path``; solid for the
    training samples, dashed for those of validation, a colour for each run.

    The format is that of the name: .png, .svg or .pdf. Raises DiagnosticError: E0404 for another one, E0804 where no
    run has finished an epoch, E0810 without matplotlib, E0801 where the file can't be written.
    """
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        advice = "name a file that ends in .png, .svg or .pdf"
        raise DiagnosticError([error("E0404", f"{path} is no name for a plot", None, help=advice)])
    drawn = [run for run in runs if run.history.rows]
    if not drawn:
        title = "there is nothing to plot: no run has finished an epoch"
        raise DiagnosticError([error("E0804", title, None, help="name a run folder, such as runs/digits")])
    with needs("matplotlib", "plots", "drawing plots"):
        from matplotlib.figure import Figure

    names = list(dict.fromkeys(name.removeprefix("val.") for run in drawn for name in run.history.names))
    columns, unit = min(len(names), 3), common_unit(drawn)
    rows = -(-len(names) // columns)
    sheet = Figure(figsize=(5 * columns, 3.6 * rows), layout="constrained")
    for number, name in enumerate(names, 1):
        axes = sheet.add_subplot(rows, columns, number, title=name, xlabel=unit)
        for index, run in enumerate(drawn):
            _draw(axes, run, name, unit, f"C{index % 10}", len(drawn) > 1)
        values = [
            value
            for run in drawn
            for key in (name, f"val.{name}")
            if key in run.history.names
            for value in run.history[key]
        ]
        if value_axis(filter(isfinite, values), 0.0, 1.0).logarithmic:
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    content = io.BytesIO()
    # No date in the file: the same runs give the same bytes.
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    sheet.savefig(content, format=kind, dpi=130, metadata=dates.get(kind))
    save_output(path, content.getvalue())


def _draw(axes: object, run: RunSummary, name: str, unit: Unit, colour: str, several: bool) -> None:
    places = run.history.places_by(unit)
    for key, label, style in ((name, "training", "-"), (f"val.{name}", "validation", "--")):
        if key in run.history.names:
            title = f"{run.path.name} {label}" if several else label
            mark = "o" if len(places) == 1 else None
            axes.plot(places, run.history[key], style, label=title, color=colour, linewidth=1.5, marker=mark)  # type: ignore[attr-defined]
