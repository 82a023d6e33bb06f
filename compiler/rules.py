"""Learning rates: what a schedule has to bring. The runtime asks it for the rate of each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class When:
    """A moment of a run: ``step`` updates were made of ``total`` in the whole run, ``epoch`` epochs are finished, and
    the rate has been reduced ``reductions`` times."""

    step: int
    total: int
    epoch: int
    reductions: int = 0


@dataclass(frozen=True, slots=True)
class Plateau:
    """The rate falls when a figure of the epochs does not get better by the share ``threshold`` for ``patience``
    epochs. ``measure`` is its name, or "" for the loss, in validation where there is one."""

    measure: str
    patience: int
    threshold: float
    cooldown: int


class Schedule(Protocol):
    """A learning rate that changes in the course of a run."""

    @property
    def plateau(self) -> Plateau | None:
        """What reduces the rate, where that is something which the run measures."""

    def at(self, when: When) -> float:
        """The learning rate for the update after ``when``."""


Rate: TypeAlias = float | Schedule
