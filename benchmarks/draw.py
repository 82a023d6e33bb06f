"""Ratios as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path


def draw_ratios(path: Path, ratios: Mapping[str, Sequence[float]], names: Sequence[str], title: str = "") -> None:
    """A row of dots for each key, on a logarithmic axis with 1 in it, below which dlc is ahead; NaN is left out."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.28 * len(ratios)), layout="constrained")
    axes = figure.subplots()
    rows = list(ratios)[::-1]
    for index, name in enumerate(names):
        found = [(ratios[row][index], place) for place, row in enumerate(rows) if not math.isnan(ratios[row][index])]
        shift = 0.09 * (index - (len(names) - 1) / 2)
        xs, ys = [number for number, _ in found], [place + shift for _, place in found]
        axes.scatter(xs, ys, s=22, label=name, zorder=3)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    ticks = [0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(color="0.9", zorder=0)
    axes.set_xlabel("dlc of the best of the others; less is better")
    axes.set_title(title, loc="left")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=110)
