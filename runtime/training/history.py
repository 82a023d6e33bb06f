"""What a run has measured, epoch by epoch, or after each so many steps."""

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

from compiler.program import Unit
from runtime.disk.tensors import Array


@dataclass(frozen=True)
class Row:
    """One epoch: its number from 1, the steps made since the run began, and the figures and tables by name. Where
    figures are taken after so many steps, the ``unit`` that rows are counted by is "step", and what is here is that of
    the steps since the row before, in the epoch at work.

    Names of figures are those of history.csv: ``loss``, the measures, then the same of the validation set as
    ``val.loss`` and so on. ``tables`` are measures that are arrays, such as ``confusion`` and ``val.confusion``; a
    trainer keeps them for the final row alone.
    """

    epoch: int
    step: int
    figures: Mapping[str, float]
    tables: Mapping[str, Array] = field(default_factory=dict, compare=False)
    unit: Unit = "epoch"

    @property
    def place(self) -> int:
        """The number of the epoch, or of the step, with which it ended."""
        return self.epoch if self.unit == "epoch" else self.step


@dataclass
class History:
    """The rows of a run. Times are not in it: the same run gives the same history.

    With early stopping ``best_step`` is the step after which the weights were those that are kept; else it is None.
    """

    rows: list[Row] = field(default_factory=list)
    best_step: int | None = None

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
    def unit(self) -> Unit:
        """What its rows are counted by: steps, if some are."""
        return "step" if any(row.unit == "step" for row in self.rows) else "epoch"

    @property
    def places(self) -> list[int]:
        """The number of each row's epoch, or of the step with which it ended: see :attr:`unit`."""
        return self.places_by(self.unit)

    def places_by(self, unit: Unit) -> list[int]:
        """The same, counted by ``unit``."""
        return [row.step if unit == "step" else row.epoch for row in self.rows]

    @property
    def best_row(self) -> Row | None:
        """The row of the weights that are kept, with early stopping."""
        return next((row for row in self.rows if row.step == self.best_step), None)

    @property
    def best_epoch(self) -> int | None:
        """The epoch of :attr:`best_row`."""
        return self.best_row.epoch if self.best_row else None

    @property
    def best_place(self) -> int | None:
        """The place of :attr:`best_row`, counted by :attr:`unit`."""
        best = self.best_row
        if best is None:
            return None
        return best.step if self.unit == "step" else best.epoch

    @property
    def names(self) -> tuple[str, ...]:
        """The figures, in the order in which they first appeared."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.figures))

    @property
    def final(self) -> Row | None:
        """The row of the weights that the run ends with: the best one with early stopping, else the last."""
        if self.best_step is not None:
            return self.best_row
        return self.rows[-1] if self.rows else None

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
        """A table with a head, one line per row; numbers in the fewest digits that tell them apart.

        The first column is what rows are counted by, ``epoch`` or ``step``, the second one the other. With early
        stopping there is a column ``best`` too: 1 for the row whose weights are kept, 0 for the others.
        """
        text, names = io.StringIO(), self.names
        writer = csv.writer(text, lineterminator="\n")
        marked = self.best_step is not None
        order = -1 if self.unit == "step" else 1
        writer.writerow([*("epoch", "step")[::order], *(["best"] if marked else []), *names])
        for row in self.rows:
            figures = [repr(row.figures[name]) if name in row.figures else "" for name in names]
            mark = [int(row.step == self.best_step)] if marked else []
            writer.writerow([*(row.epoch, row.step)[::order], *mark, *figures])
        return text.getvalue()

    @staticmethod
    def from_csv(text: str) -> History:
        """What :meth:`csv` wrote. Raises ValueError where ``text`` is something else."""
        history = History()
        unit: Unit = "step" if text.startswith("step,") else "epoch"
        for line in csv.DictReader(io.StringIO(text), strict=True):
            if None in line or None in line.values() or not {"epoch", "step"} <= line.keys():
                raise ValueError("this is no history of a run")
            epoch, step, best = int(line.pop("epoch")), int(line.pop("step")), line.pop("best", "0")
            figures = {name: float(figure) for name, figure in line.items() if figure}
            history.rows.append(Row(epoch, step, figures, unit=unit))
            history.best_step = step if best == "1" else history.best_step
        return history

    def as_json(self) -> list[Any]:
        """Lists and numbers from which :meth:`from_json` makes the rows again."""
        return [
            [row.unit, row.epoch, row.step, dict(row.figures), {name: t.tolist() for name, t in row.tables.items()}]
            for row in self.rows
        ]

    @staticmethod
    def from_json(content: Any) -> History:
        """Raises TypeError or ValueError where ``content`` is not what :meth:`as_json` gives."""
        rows = []
        for unit, epoch, step, figures, tables in content:
            numbers = {str(name): float(value) for name, value in dict(figures).items()}
            arrays = {str(name): np.array(table) for name, table in dict(tables).items()}
            rows.append(Row(int(epoch), int(step), numbers, arrays, "step" if unit == "step" else "epoch"))
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
