"""Figures over a data set: losses and measures added up over batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from compiler.diagnostics import DiagnosticError
from compiler.ops.interpret import interpret_outputs
from compiler.program import Measure, TrainProgram
from runtime.data.batches import Batches, DataSet
from runtime.disk.tensors import Array
from runtime.training.failure import bad_evaluation


class Executor(Protocol):
    """What runs the graphs of a program: :class:`runtime.programs.engine.Engine`."""

    @property
    def kept(self) -> Mapping[str, Array]:
        """Weights and state by name; updates are made in these arrays, in place."""

    def call(self, name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Runs the graph ``name``; the results are valid until the next call."""

    def bind(self, name: str, inputs: Mapping[str, Array]) -> None:
        """Makes the graph ``name`` ready for inputs of these shapes. Raises ValueError where a layer can't take
        them."""


class TrainingExecutor(Executor, Protocol):
    """What runs all graphs of a program."""

    @property
    def neighbours(self) -> Iterable[Sequence[str]]:
        """The names of arrays that had best lie one behind the other where they are kept."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What a data set gave by name: figures, and tables such as a confusion matrix."""

    figures: Mapping[str, float]
    tables: Mapping[str, Array]

    def __or__(self, other: Measured) -> Measured:
        return Measured({**self.figures, **other.figures}, {**self.tables, **other.tables})

    def behind(self, prefix: str) -> Measured:
        """What has ``prefix`` before its name, without it."""
        figures = {name.removeprefix(prefix): f for name, f in self.figures.items() if name.startswith(prefix)}
        tables = {name.removeprefix(prefix): t for name, t in self.tables.items() if name.startswith(prefix)}
        return Measured(figures, tables)

    def named(self, prefix: str) -> Measured:
        """The same with ``prefix`` before each name."""
        return Measured(
            {f"{prefix}{name}": figure for name, figure in self.figures.items()},
            {f"{prefix}{name}": table for name, table in self.tables.items()},
        )


class Totals:
    """Sums over the samples seen so far, in f64 or i64, whatever the program's own types are."""

    def __init__(self, sums: Mapping[str, Array] | None = None, rows: int = 0) -> None:
        self.sums: dict[str, Array] = dict(sums or {})
        self.rows = rows

    def add_loss(self, name: str, loss: float, rows: int) -> None:
        """Adds a mean over ``rows`` samples."""
        self._add(name, np.asarray(loss * rows, np.float64))
        self._add(f"{name}.rows", np.asarray(rows, np.int64))

    def add(self, names: Iterable[str], outputs: Mapping[str, Array]) -> None:
        """Adds outputs that are sums over a batch."""
        for name in names:
            exact = np.int64 if outputs[name].dtype.kind in "biu" else np.float64
            self._add(name, outputs[name].astype(exact))

    def mean(self, name: str) -> float:
        """The mean of a loss over the samples that were added to it. Raises KeyError where there were none."""
        return float(self.sums[name]) / int(self.sums[f"{name}.rows"])

    def finish(self, measures: Iterable[Measure]) -> Measured:
        """What the measures make of their totals."""
        figures, tables = {}, {}
        for measure in measures:
            found = self._value(measure)
            if measure.is_table:
                tables[measure.name] = found
            else:
                figures[measure.name] = float(found)
        return Measured(figures, tables)

    def _value(self, measure: Measure) -> Array:
        inputs = {item.name: self.sums[item.name].astype(item.value.type.dtype.numpy) for item in measure.finish.inputs}
        return interpret_outputs(measure.finish, inputs)["value"]

    def _add(self, name: str, amount: Array) -> None:
        self.sums[name] = np.asarray(self.sums[name] + amount) if name in self.sums else amount


def total_names(program: TrainProgram) -> tuple[str, ...]:
    """The outputs that the program's measures add up, each once."""
    return tuple(dict.fromkeys(name for measure in program.measures for name in measure.totals))


def evaluate(
    program: TrainProgram,
    engine: Executor,
    data: DataSet,
    *,
    batch: int | None = None,
    each: Callable[[int], None] = lambda rows: None,
) -> Measured:
    """The loss and every measure of ``program`` over ``data``, dropout and augmentation off.

    ``batch`` samples go in at a time, by default as many as in training; ``each`` is told how many went
    through. Raises DiagnosticError E0702 for a loss that is NaN or infinite.
    """
    batches = Batches(data, batch or program.settings.batch, seed=None)
    totals, names = Totals(), total_names(program)
    for index, inputs in enumerate(batches.once()):
        rows = batches.count(index)
        outputs = engine.call("evaluate", inputs)
        loss = float(outputs["loss"])
        if not np.isfinite(loss):
            raise DiagnosticError([bad_evaluation(program, engine.kept, inputs, loss, data.source, index + 1)])
        totals.rows += rows
        totals.add_loss("loss", loss, rows)
        totals.add(names, outputs)
        each(rows)
    return Measured({"loss": totals.mean("loss")}, {}) | totals.finish(program.measures)
