"""Curves in letters, for a terminal: a grid in which every curve is drawn with a letter of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtime.reports.report.charts import number_text, value_axis

_HEIGHT = 12


def plain_chart(curves: Sequence[tuple[str, Sequence[int], Sequence[float]]], width: int) -> list[str]:
    """The lines of a chart ``width`` columns wide of curves, each with its letter, its epochs and its values. Where
    several meet, the first is seen. The axis is logarithmic where values are far apart."""
    values = [value for _, _, found in curves for value in found]
    up = value_axis(values, _HEIGHT - 1, 0)
    labels = {round(up.at(value)): number_text(value) for value in up.ticks(4)}
    margin = max(map(len, labels.values()), default=0) + 1
    columns = max(10, width - margin - 1)
    last = max((epoch for _, epochs, _ in curves for epoch in epochs), default=1)
    grid = [[" "] * columns for _ in range(_HEIGHT)]
    for letter, epochs, found in reversed(curves):
        for column, value in enumerate(_columns(epochs, found, columns, last)):
            if math.isfinite(value):
                grid[round(up.at(value))][column] = letter
    lines = [f"{labels.get(row, ''):>{margin}}│{''.join(cells)}".rstrip() for row, cells in enumerate(grid)]
    lines.append(f"{'':>{margin}}└{'─' * columns}")
    lines.append(f"{'':>{margin}} {'1':<{columns - len(str(last))}}{last}" if last > 1 else f"{'':>{margin}} 1")
    return lines


def _columns(epochs: Sequence[int], values: Sequence[float], columns: int, last: int) -> list[float]:
    """The value in each column, NaN where the curve has none: that of the last epoch which falls into it, and between
    two epochs what lies between their values."""
    found = [math.nan] * columns
    points = [(_column(epoch, columns, last), value) for epoch, value in zip(epochs, values, strict=True)]
    for index, (column, value) in enumerate(points):
        found[column] = value
        if index and points[index - 1][0] < column - 1:
            before, old = points[index - 1]
            for between in range(before + 1, column):
                found[between] = old + (value - old) * (between - before) / (column - before)
    return found


def _column(epoch: int, columns: int, last: int) -> int:
    return round((epoch - 1) / max(1, last - 1) * (columns - 1))
