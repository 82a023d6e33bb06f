"""Layers, gradients and updates looked at while a training goes on: whenever figures are taken, over one batch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.data.batches import Batches
from runtime.disk.files import write_text
from runtime.disk.tensors import Array
from runtime.inspect.statistics import Inspector, Statistics, ValueStatistics, WeightStatistics
from runtime.training.folder import RunFolder
from runtime.training.history import Row
from runtime.training.job import Job
from runtime.training.loop import Trainer

_HEAD = (
    "epoch", "step", "statement", "loss", "kind", "name", "layer", "type", "mean", "deviation", "dead", "size",
    "gradient", "update",
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """One minimize statement, by its number from 1, as it was after ``step`` steps, in ``epoch``."""

    epoch: int
    step: int
    statement: int
    statistics: Statistics


class Watching:
    """An observer of one run: it looks at the same batch each time, the first that the run is trained on, as training
    sees it. ``looks`` has what it saw, those of before where a run was resumed."""

    def __init__(self, job: Job, trainer: Trainer, path: Path) -> None:
        self._trainer, self._path = trainer, path
        self._inspector = Inspector(job, trainer.kept)
        settings = job.program.settings
        batches = Batches(trainer.splits.train, settings.batch, settings.seed)
        self._inputs = {name: array.copy() for name, array in batches.at(1, 0).items()}
        batches.close()
        self._before: dict[str, Array] = {}
        self.looks = read_looks(path) if trainer.position.step else []

    def before_step(self) -> None:
        for name in self._inspector.weights:
            if name in self._before:
                np.copyto(self._before[name], self._trainer.kept[name])
            else:
                self._before[name] = self._trainer.kept[name].copy()

    def take(self, row: Row) -> None:
        found = self._inspector.look(self._inputs, self._before)
        self.looks += [Look(row.epoch, row.step, number, one) for number, one in enumerate(found, 1)]

    def save(self) -> None:
        # A row that the end of a run cut short is taken back where it goes on.
        steps = {row.step for row in self._trainer.history}
        self.looks = [look for look in self.looks if look.step in steps]
        write_text(self._path, looks_csv(self.looks))


def observe(job: Job, trainer: Trainer, run: RunFolder) -> Watching:
    """Has a run looked into, from here on, and what is seen written to its folder."""
    trainer.observer = watching = Watching(job, trainer, run.statistics)
    return watching


def looks_csv(looks: Sequence[Look]) -> str:
    """A table with a line for each layer and each weight of every look."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _HEAD, lineterminator="\n")
    writer.writeheader()
    for look in looks:
        place = {"epoch": look.epoch, "step": look.step, "statement": look.statement, "loss": look.statistics.loss}
        for line in _lines(look.statistics):
            writer.writerow(place | line)
    return text.getvalue()


def _lines(found: Statistics) -> Iterator[dict[str, object]]:
    for value in found.values:
        yield {
            "kind": "layer", "name": value.where, "layer": value.text, "type": value.type, "mean": value.mean,
            "deviation": value.deviation, "dead": value.dead,
        }  # fmt: skip
    for weight in found.weights:
        yield {
            "kind": "weight", "name": weight.name, "size": weight.size, "gradient": weight.gradient,
            "update": weight.update,
        }  # fmt: skip


def read_looks(path: Path) -> list[Look]:
    """What :func:`looks_csv` wrote into a file; nothing where there is none, or none that can be read."""
    found: dict[tuple[int, int, int], tuple[float, list[ValueStatistics], list[WeightStatistics]]] = {}
    try:
        for line in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), strict=True):
            key = int(line["epoch"]), int(line["step"]), int(line["statement"])
            _, values, weights = found.setdefault(key, (float(line["loss"]), [], []))
            if line["kind"] == "layer":
                values.append(_value(line))
            else:
                size, gradient, update = (float(line[name]) for name in ("size", "gradient", "update"))
                weights.append(WeightStatistics(line["name"], size, gradient, update))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return []
    return [
        Look(*key, Statistics(loss, tuple(values), tuple(weights))) for key, (loss, values, weights) in found.items()
    ]


def _value(line: Mapping[str, str]) -> ValueStatistics:
    mean, deviation, dead = (float(line[name]) for name in ("mean", "deviation", "dead"))
    finite = math.isfinite(mean) and math.isfinite(deviation)
    return ValueStatistics(line["name"], line["layer"], line["type"], mean, deviation, dead, finite)
