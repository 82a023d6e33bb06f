"""What a run has measured, epoch by epoch."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from runtime.disk.tensors import Array


@dataclass(frozen=True)
class Row:
    """One epoch: its number from 1, the updates made since the run began, and the figures and tables by name.

    Names of figures are those of history.csv: ``loss``, the measures, then the same of the validation set as
    ``val.loss`` and so on. ``tables`` are measures that are arrays, such as ``confusion`` and ``val.confusion``; a
    trainer keeps them for the final row alone.
    """

    epoch: int
    step: int
    figures: Mapping[str, float]
    tables: Mapping[str, Array] = field(default_factory=dict, compare=False)


@dataclass
class History:
    """The rows of a run. Times are not in it: the same run gives the same history.

    With early stopping ``best_epoch`` is the number of the epoch whose weights are kept; else it is None.
    """

    rows: list[Row] = field(default_factory=list)
    best_epoch: int | None = None

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

    def __contains__(self, name: object) -> bool:
        """Whether some epoch has the figure ``name``."""
        return name in self.names

    def keys(self) -> tuple[str, ...]:
        """The names of the figures, so that ``dict(history)`` gives lists by name, as a data frame takes them."""
        return self.names

    def as_arrays(self) -> dict[str, Array]:
        """f64[epochs] for every figure, by name, and i64[epochs] for ``epoch`` and ``step``."""
        counts = {"epoch": [row.epoch for row in self.rows], "step": [row.step for row in self.rows]}
        figures = {name: np.array(self[name], np.float64) for name in self.names}
        return {name: np.array(count, np.int64) for name, count in counts.items()} | figures

    def _repr_html_(self) -> str:
        """What a notebook shows: the curves, with the numbers below."""
        from runtime.reports.report.notebook import history_html

        return history_html(self)

    @property
    def names(self) -> tuple[str, ...]:
        """The figures, in the order in which they first appeared."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.figures))

    @property
    def final(self) -> Row | None:
        """The row of the weights that the run ends with: of the best epoch with early stopping, else of the last."""
        kept = [row for row in self.rows if self.best_epoch in (None, row.epoch)]
        return kept[-1] if kept else None

    def best(self, name: str, better: Literal["higher", "lower"]) -> Row:
        """The first epoch with the best value of a figure. Raises KeyError where no epoch has a number for
        it."""
        rows = [row for row in self.rows if not math.isnan(row.figures.get(name, math.nan))]
        if not rows:
            raise KeyError(name)
        return (max if better == "higher" else min)(rows, key=lambda row: row.figures[name])

    def keep_final_tables(self) -> None:
        """Drops the tables of all rows but :attr:`final`: those of every epoch would not be small."""
        final = self.final
        self.rows = [row if row is final or not row.tables else replace(row, tables={}) for row in self.rows]

    def csv(self) -> str:
        """A table with a head, one line per epoch; numbers in the fewest digits that tell them apart.

        With early stopping there is a column ``best`` too: 1 for the epoch whose weights are kept, 0 for the others.
        """
        text, names = io.StringIO(), self.names
        writer = csv.writer(text, lineterminator="\n")
        marked = self.best_epoch is not None
        writer.writerow(["epoch", "step", *(["best"] if marked else []), *names])
        for row in self.rows:
            figures = [repr(row.figures[name]) if name in row.figures else "" for name in names]
            mark = [int(row.epoch == self.best_epoch)] if marked else []
            writer.writerow([row.epoch, row.step, *mark, *figures])
        return text.getvalue()

    @staticmethod
    def from_csv(text: str) -> History:
        """What :meth:`csv` wrote. Raises ValueError where ``text`` is something else."""
        history = History()
        for line in csv.DictReader(io.StringIO(text), strict=True):
            if None in line or None in line.values() or not {"epoch", "step"} <= line.keys():
                raise ValueError("this is no history of a run")
            epoch, step, best = int(line.pop("epoch")), int(line.pop("step")), line.pop("best", "0")
            history.rows.append(Row(epoch, step, {name: float(figure) for name, figure in line.items() if figure}))
            history.best_epoch = epoch if best == "1" else history.best_epoch
        return history

    def as_json(self) -> list[Any]:
        """Lists and numbers from which :meth:`from_json` makes the rows again."""
        return [
            [row.epoch, row.step, dict(row.figures), {name: table.tolist() for name, table in row.tables.items()}]
            for row in self.rows
        ]

    @staticmethod
    def from_json(content: Any) -> History:
        """Raises TypeError or ValueError where ``content`` is not what :meth:`as_json` gives."""
        rows = []
        for epoch, step, figures, tables in content:
            numbers = {str(name): float(value) for name, value in dict(figures).items()}
            arrays = {str(name): np.array(table) for name, table in dict(tables).items()}
            rows.append(Row(int(epoch), int(step), numbers, arrays))
        return History(rows)


def is_rate(name: str) -> bool:
    """Whether a figure is the learning rate of a minimize statement, rather than something that was measured."""
    return re.fullmatch(r"lr\d*", name) is not None


def read_history(path: Path) -> History:
    """The history in the file ``path``; an empty one where there is none, or none that can be read."""
    try:
        return History.from_csv(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, csv.Error):
        return History()
