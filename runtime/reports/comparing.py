"""Runs side by side, as the rows of a table: how far they came, their best figures, and what they were given."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.reports.listing import RunSummary, differing
from runtime.reports.report.charts import number_text
from runtime.reports.report.page import duration_text

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def comparison_table(
    found: Sequence[RunSummary], names: Sequence[str], chosen: str | None
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The head and a row for each run, with the best value of each of the figures ``names``: that of the best run by
    ``chosen`` has a star. Each run has a letter, as long as there are some."""
    settings = differing(found)
    best = _best_run(found, chosen)
    rows = []
    for number, run in enumerate(found):
        differences = "  ".join(f"{name}={texts[number]}" for name, texts in settings.items() if texts[number])
        time = duration_text(run.record.duration) if run.record and run.record.seconds else ""
        figures = (f"{_figure(run, name)}{'*' if run is best and name == chosen else ' '}" for name in names)
        letter = LETTERS[number] if number < len(LETTERS) else ""
        epochs = str(run.history.rows[-1].epoch if run.history.rows else 0)
        rows.append((letter, run.path.name, run.state, epochs, *figures, time, differences))
    # The star, or the space in its place, keeps the numbers of a column aligned.
    return ("", "run", "state", "epochs", *(f"{name} " for name in names), "time", "what differs"), rows


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
    value = _value(run, name)
    return "" if value is None else number_text(value)
