"""Early stopping: training ends when a measure has not improved for some epochs, or validations, and the best weights
are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from compiler.program import Stop, TrainProgram, Unit
from runtime.disk.tensors import Array
from runtime.training.history import Row


@dataclass(frozen=True, eq=False)
class Watch:
    """What the statement ``stop`` has seen of a run: the best row of its history, by the step and the ``place`` of that
    one, its weights, and how many rows came after it.

    ``step`` is 0, ``figure`` NaN and ``weights`` empty before the first row with a number for the measure. Without
    the statement ``stop`` is None, and nothing is watched. ``unit`` is what rows are counted by.
    """

    stop: Stop | None = None
    better: Literal["higher", "lower"] = "lower"
    unit: Unit = "epoch"
    step: int = 0
    place: int = 0
    figure: float = math.nan
    waited: int = 0
    weights: Mapping[str, Array] = field(default_factory=dict)

    @staticmethod
    def of(program: TrainProgram) -> Watch:
        """The watch of a run that begins."""
        stop = program.settings.stop
        if stop is None:
            return Watch()
        return Watch(stop, direction(program, stop.measure), program.settings.unit)

    def after(self, row: Row, weights: Mapping[str, Array]) -> Watch:
        """The watch when one more row was measured of these weights, which are copied where they are the best."""
        if self.stop is None:
            return self
        figure = row.figures.get(self.stop.measure, math.nan)
        if not self._improves(figure):
            return replace(self, waited=self.waited + 1)
        copies = {name: array.copy() for name, array in weights.items()}
        return replace(self, step=row.step, place=row.place, figure=figure, waited=0, weights=copies)

    def resumed(self, saved: Watch) -> Watch:
        """The watch of a run that goes on where ``saved`` was the watch; it begins anew where the measure is another
        one. The patience may have changed."""
        if self.measure != saved.measure:
            return self
        return replace(saved, stop=self.stop, better=self.better, unit=self.unit)

    @property
    def measure(self) -> str | None:
        """The figure that is watched, by its name in the history."""
        return self.stop.measure if self.stop else None

    @property
    def over(self) -> bool:
        """Whether training is to end now."""
        return self.stop is not None and self.waited >= self.stop.patience

    @property
    def verdict(self) -> str:
        """What to tell at the end of a run; empty where nothing was watched."""
        if self.stop is None:
            return ""
        measure, word = self.stop.measure, "epoch" if self.unit == "epoch" else "validation"
        kept = f"the weights of {self.unit} {self.place} are kept" if self.step else "the last weights are kept"
        if self.over:
            waited = f"{self.waited} {word}{'s' * (self.waited != 1)}"
            return f"stopped: {measure} has not improved for {waited}; {kept}"
        return f"{kept}, the best by {measure}" if self.step else f"{kept}, as {measure} never was a number"

    def as_json(self) -> dict[str, Any]:
        """Everything but the weights, for :meth:`from_json`."""
        stop = asdict(self.stop) if self.stop else None
        return {
            "stop": stop, "better": self.better, "step": self.step, "place": self.place, "figure": self.figure,
            "waited": self.waited,
        }  # fmt: skip

    @staticmethod
    def from_json(content: Any, weights: Mapping[str, Array]) -> Watch:
        """Raises KeyError, TypeError or ValueError where ``content`` is not what :meth:`as_json` gives."""
        stop = Stop(**content["stop"]) if content["stop"] else None
        better: Literal["higher", "lower"] = "higher" if content["better"] == "higher" else "lower"
        step, place, waited = (int(content[name]) for name in ("step", "place", "waited"))
        return Watch(stop, better, "epoch", step, place, float(content["figure"]), waited, weights)

    def _improves(self, figure: float) -> bool:
        """A tie is no improvement, and neither is what is no number."""
        if math.isnan(self.figure):
            return not math.isnan(figure)
        return figure > self.figure if self.better == "higher" else figure < self.figure


def direction(program: TrainProgram, figure: str) -> Literal["higher", "lower"]:
    """Which way a figure of the history gets better."""
    directions = {measure.name: measure.better for measure in program.measures if measure.better}
    return directions.get(figure.removeprefix("val."), "lower")  # what is no measure is a loss
