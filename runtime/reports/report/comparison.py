"""Runs side by side as one self-contained page: a table, and a chart for each figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.disk.output import save_output
from runtime.reports.comparing import comparison_table
from runtime.reports.listing import RunSummary, common_unit, curves, figure_names
from runtime.reports.report.charts import Series
from runtime.reports.report.html import document, paragraph, section, table
from runtime.reports.report.page import figure

_STYLES = ("first", "second", "third", "fourth", "fifth", "sixth")


def write_comparison(found: Sequence[RunSummary], chosen: str | None, path: Path) -> None:
    """Writes the page on the runs ``found``, of which the best by the figure ``chosen`` is marked. Raises
    DiagnosticError E0801."""
    names = figure_names(found)
    head, rows = comparison_table(found, names, chosen)
    last = len(head) - 1
    best = f"The best value of every figure; * is the best run by {chosen}." if chosen else "No run has figures yet."
    shown = table(head[1:], [row[1:] for row in rows], caption="The runs", numbers=range(2, last - 1))
    charts = "".join(_charts(found))
    parts = [section("runs", "Runs", paragraph(best), shown)]
    parts += [section("curves", "Curves", f'<div class="charts">{charts}</div>')] if charts else []
    title = f"{len(found)} training runs side by side" if len(found) > 1 else "A training run"
    save_output(path, document(title, [f"<h1>{title}</h1>"], parts).encode())


def _charts(found: Sequence[RunSummary]) -> Iterator[str]:
    """A chart for each figure, with a line for each run: over the samples of validation, where there are any."""
    measured = list(dict.fromkeys(name for run in found for name in run.history.names))
    names = [name for name in measured if name.startswith("val.") or f"val.{name}" not in measured]
    styles = {run.path: _STYLES[index % len(_STYLES)] for index, run in enumerate(found)}
    for number, name in enumerate(names):
        lines = [Series(run.path.name, places, values, styles[run.path]) for run, places, values in curves(found, name)]
        yield figure(f"curve{number}", name, lines, common_unit(found), None)
