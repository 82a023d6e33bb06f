"""The pace of a run: which minimize statements have their turn in a step, and at which learning rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from compiler.program import TrainProgram, Turns, loss_names
from compiler.rules import Plateau, Schedule, When
from runtime.disk.tensors import Array
from runtime.training.evaluation import Executor
from runtime.training.history import Row
from runtime.training.position import Position
from runtime.training.stopping import direction

STEP = "step"


@dataclass(frozen=True)
class Patience:
    """What a schedule that waits on a figure has seen: the best one, the bad epochs since, how many more are not
    counted, and how often the rate was reduced."""

    best: float = math.nan
    bad: int = 0
    cooling: int = 0
    reductions: int = 0

    def after(self, figure: float, plateau: Plateau, better: Literal["higher", "lower"]) -> Patience:
        """The same when one more epoch has ended with this figure; as in torch's ReduceLROnPlateau."""
        bound = self.best * (1.0 + plateau.threshold if better == "higher" else 1.0 - plateau.threshold)
        improves = math.isnan(self.best) or (figure > bound if better == "higher" else figure < bound)
        seen = replace(self, best=figure, bad=0) if improves else replace(self, bad=self.bad + 1)
        if seen.cooling:
            seen = replace(seen, cooling=seen.cooling - 1, bad=0)
        if seen.bad > plateau.patience:
            return Patience(seen.best, 0, plateau.cooldown, seen.reductions + 1)
        return seen


class Pace:
    """Of one run; it is told of each epoch that ends. ``validated`` tells whether there are figures of validation."""

    def __init__(self, program: TrainProgram, *, validated: bool) -> None:
        self._program = program
        self._turns = program.turns or (Turns(),) * len(program.steps)
        self._default = "val.loss" if validated else loss_names(len(program.steps))[0]
        self._patience = [Patience() for _ in self._turns]

    def due(self, position: Position) -> tuple[int, ...]:
        """The numbers of the minimize statements whose turn is the step after ``position``."""
        return tuple(index for index, turns in enumerate(self._turns) if (position.step + 1) % turns.every == 0)

    def prepare(self, kept: Mapping[str, Array], position: Position, last: int) -> None:
        """Sets the state that the step after ``position`` reads: its number, and the learning rates. ``last`` is the
        step with which the run ends."""
        if STEP in kept:
            kept[STEP][...] = position.step
        for index, schedule in self._schedules():
            kept[self._turns[index].rate][...] = self._rate(index, schedule, position, last)

    def settle(self, engine: Executor) -> None:
        """What follows the turns of a step: the average of the weights."""
        if self._program.average is not None:
            engine.call(self._program.average.name, {})

    def figures(self, kept: Mapping[str, Array]) -> dict[str, float]:
        """The learning rates that have a schedule, as the last step had them: ``lr``, or ``lr1`` … of several."""
        alone = len(self._turns) == 1
        return {
            "lr" if alone else f"lr{index + 1}": float(kept[self._turns[index].rate]) for index, _ in self._schedules()
        }

    def after(self, row: Row) -> None:
        """Takes notice of an epoch that has ended."""
        for index, schedule in self._schedules():
            plateau = schedule.plateau
            if plateau is None:
                continue
            name = plateau.measure or self._default
            figure = row.figures.get(name, math.nan)
            self._patience[index] = self._patience[index].after(figure, plateau, direction(self._program, name))

    def as_json(self) -> list[Any]:
        """Lists and numbers for :meth:`restore`."""
        return [asdict(patience) for patience in self._patience]

    def restore(self, content: Sequence[Mapping[str, Any]]) -> None:
        """Goes on where :meth:`as_json` was asked. Raises TypeError or ValueError where ``content`` is not of it."""
        found = [Patience(**item) for item in content]
        if len(found) == len(self._patience):  # else the program was changed, and begins to wait anew
            self._patience = found

    def _schedules(self) -> list[tuple[int, Schedule]]:
        return [(index, turns.schedule) for index, turns in enumerate(self._turns) if turns.schedule is not None]

    def _rate(self, index: int, schedule: Schedule, position: Position, last: int) -> np.float64:
        every = self._turns[index].every
        reductions = self._patience[index].reductions
        return np.float64(schedule.at(When(position.step // every, last // every, position.epoch - 1, reductions)))
