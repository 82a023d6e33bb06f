"""What a run has measured, epoch by epoch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Row:
    """One epoch: its number from 1, the updates made since the run began, and the figures by name.

    Names are those of history.csv: ``loss``, the measures, then the same of the validation set as
    ``val.loss`` and so on.
    """

    epoch: int
    step: int
    figures: Mapping[str, float]


@dataclass
class History:
    """The rows of a run. Times are not in it: the same run gives the same history."""

    rows: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, name: str) -> list[float]:
        """A figure of all epochs. Raises KeyError for a name that no epoch has; epochs without it give
        NaN."""
        if name not in self.names:
            raise KeyError(f"{name}: the history has {', '.join(self.names) or 'no figures yet'}")
        return [row.figures.get(name, math.nan) for row in self.rows]

    @property
    def names(self) -> tuple[str, ...]:
        """The figures, in the order in which they first appeared."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.figures))

    def best(self, name: str, better: Literal["higher", "lower"]) -> Row:
        """The first epoch with the best value of a figure. Raises KeyError where no epoch has a number for
        it."""
        rows = [row for row in self.rows if not math.isnan(row.figures.get(name, math.nan))]
        if not rows:
            raise KeyError(name)
        return (max if better == "higher" else min)(rows, key=lambda row: row.figures[name])

    def csv(self) -> str:
        """A table with a head, one line per epoch; numbers in the fewest digits that tell them apart."""
        text, names = io.StringIO(), self.names
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", "step", *names])
        for row in self.rows:
            figures = [repr(row.figures[name]) if name in row.figures else "" for name in names]
            writer.writerow([row.epoch, row.step, *figures])
        return text.getvalue()

    def as_json(self) -> list[Any]:
        """Lists and numbers from which :meth:`from_json` makes an equal history."""
        return [[row.epoch, row.step, dict(row.figures)] for row in self.rows]

    @staticmethod
    def from_json(content: Any) -> History:
        """Raises TypeError or ValueError where ``content`` is not what :meth:`as_json` gives."""
        rows = []
        for epoch, step, figures in content:
            rows.append(Row(int(epoch), int(step), {str(name): float(value) for name, value in figures.items()}))
        return History(rows)
