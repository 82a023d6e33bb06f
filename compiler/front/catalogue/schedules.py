"""Schedules: how a learning rate changes in the course of a run.

A schedule is given the number of updates made, of those in the whole run, and of the epochs finished, and says the rate
of the next update. All of them take ``warmup``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from compiler.front.catalogue.entry import ArgumentError, Numbers, entry
from compiler.front.catalogue.optimizers import check_range
from compiler.rules import Plateau, When


@dataclass(frozen=True)
class Warmed:
    """A schedule that begins with ``warmup``: a share of the run below 1, or a number of updates."""

    rate: float
    warmup: float

    plateau: ClassVar[Plateau | None] = None

    def at(self, when: When) -> float:
        """The learning rate for the update after ``when``."""
        rising = math.ceil(self.warmup * when.total) if self.warmup < 1 else int(self.warmup)
        if when.step < rising:
            return self.rate * (when.step + 1) / (rising + 1)
        return self.after_warmup(When(when.step - rising, when.total - rising, when.epoch, when.reductions))

    def after_warmup(self, when: When) -> float:
        """The same without the warm-up: steps count from its end."""
        return self.rate


@dataclass(frozen=True)
class Step(Warmed):
    """As torch.optim.lr_scheduler.StepLR."""

    every: int
    factor: float

    def after_warmup(self, when: When) -> float:
        return float(self.rate * self.factor ** (when.epoch // self.every))


@dataclass(frozen=True)
class Milestones(Warmed):
    """As torch.optim.lr_scheduler.MultiStepLR."""

    epochs: tuple[float, ...]
    factor: float

    def after_warmup(self, when: When) -> float:
        return float(self.rate * self.factor ** sum(epoch <= when.epoch for epoch in self.epochs))


@dataclass(frozen=True)
class Exponential(Warmed):
    """As torch.optim.lr_scheduler.ExponentialLR."""

    factor: float

    def after_warmup(self, when: When) -> float:
        return float(self.rate * self.factor**when.epoch)


@dataclass(frozen=True)
class Falling(Warmed):
    """From the rate to another one, at the end of the run: along a cosine, as CosineAnnealingLR, or a line."""

    to: float
    line: bool

    def after_warmup(self, when: When) -> float:
        done = min(when.step / when.total, 1.0) if when.total > 0 else 1.0
        left = 1.0 - done if self.line else (1.0 + math.cos(math.pi * done)) / 2.0
        return self.to + (self.rate - self.to) * left


@dataclass(frozen=True)
class OneCycle(Warmed):
    """As torch.optim.lr_scheduler.OneCycleLR with cosines and without its cycle of the momentum."""

    rise: float
    start: float
    end: float

    def after_warmup(self, when: When) -> float:
        top, last = self.rise * when.total - 1.0, max(when.total - 1.0, 1.0)
        if when.step <= top:
            return _between(self.rate * self.start, self.rate, when.step / top if top > 0 else 1.0)
        share = (when.step - top) / (last - top) if last > top else 1.0
        return _between(self.rate, self.rate * self.end, min(share, 1.0))


def _between(first: float, last: float, share: float) -> float:
    """Half a period of a cosine from ``first`` (share 0) to ``last`` (share 1)."""
    return last + (first - last) / 2.0 * (math.cos(math.pi * share) + 1.0)


@dataclass(frozen=True)
class OnPlateau(Warmed):
    """As torch.optim.lr_scheduler.ReduceLROnPlateau."""

    factor: float
    least: float
    watched: Plateau

    @property
    def plateau(self) -> Plateau | None:  # type: ignore[override]
        return self.watched

    def after_warmup(self, when: When) -> float:
        return max(self.rate * self.factor**when.reductions, min(self.rate, self.least))


def _check(rate: float, warmup: float) -> None:
    check_range("rate", rate, 0.0)
    check_range("warmup", warmup, 0.0)
    if warmup >= 1 and warmup != int(warmup):
        raise ArgumentError(
            "warmup", f"warmup is a share of the run below 1 or a whole number of updates, not {warmup:g}"
        )


def _check_factor(factor: float) -> None:
    if not 0.0 < factor <= 1.0:
        raise ArgumentError("factor", f"factor lies above 0, up to 1: {factor:g} does not")


@entry("schedule")
def constant(rate: float, *, warmup: float = 0.0) -> Warmed:
    """The same rate all the time, but for the warm-up."""
    _check(rate, warmup)
    return Warmed(rate, warmup)


@entry("schedule")
def step(rate: float, every: int, factor: float = 0.1, *, warmup: float = 0.0) -> Step:
    """Multiplies the rate by ``factor`` after every so many epochs."""
    _check(rate, warmup)
    _check_factor(factor)
    if every < 1:
        raise ArgumentError("every", f"a rate falls after at least 1 epoch, not {every}")
    return Step(rate, warmup, every, factor)


@entry("schedule")
def milestones(rate: float, epochs: Numbers, factor: float = 0.1, *, warmup: float = 0.0) -> Milestones:
    """Multiplies the rate by ``factor`` after each of these epochs: ``milestones(0.1, [30, 60, 80])``."""
    _check(rate, warmup)
    _check_factor(factor)
    if min(epochs, default=0) < 1 or any(epoch != int(epoch) for epoch in epochs):
        raise ArgumentError("epochs", "a rate falls after whole epochs, the first of them being 1")
    return Milestones(rate, warmup, epochs, factor)


@entry("schedule")
def exponential(rate: float, factor: float = 0.95, *, warmup: float = 0.0) -> Exponential:
    """Multiplies the rate by ``factor`` after every epoch."""
    _check(rate, warmup)
    _check_factor(factor)
    return Exponential(rate, warmup, factor)


@entry("schedule")
def cosine(rate: float, to: float = 0.0, *, warmup: float = 0.0) -> Falling:
    """Falls from ``rate`` to ``to`` along half a period of a cosine, update by update, over the whole run.

    Loshchilov and Hutter, SGDR, 2017 (without its restarts).
    """
    _check(rate, warmup)
    check_range("to", to, 0.0)
    return Falling(rate, warmup, to, line=False)


@entry("schedule")
def linear(rate: float, to: float = 0.0, *, warmup: float = 0.0) -> Falling:
    """Falls from ``rate`` to ``to`` along a line, update by update, over the whole run."""
    _check(rate, warmup)
    check_range("to", to, 0.0)
    return Falling(rate, warmup, to, line=True)


@entry("schedule")
def one_cycle(
    rate: float, *, rise: float = 0.3, start: float = 0.04, end: float = 4e-6, warmup: float = 0.0
) -> OneCycle:
    """Rises from ``start``·rate to ``rate`` in the share ``rise`` of the run and falls to ``end``·rate, along cosines.

    As PyTorch's OneCycleLR (where 1 / 25 and 1 / 250,000 are div_factor and final_div_factor), but that the momentum
    stays what it is. Smith and Topin, Super-convergence, 2018.
    """
    _check(rate, warmup)
    for name, share in (("rise", rise), ("start", start), ("end", end)):
        if not 0.0 <= share <= 1.0:
            raise ArgumentError(name, f"{name} lies from 0 to 1: {share:g} does not")
    return OneCycle(rate, warmup, rise, start, end)


@entry("schedule")
def plateau(
    rate: float,
    factor: float = 0.1,
    patience: int = 10,
    *,
    measure: str = "",
    threshold: float = 1e-4,
    cooldown: int = 0,
    least: float = 0.0,
    warmup: float = 0.0,
) -> OnPlateau:
    """Multiplies the rate by ``factor`` when a figure has not improved for more than ``patience`` epochs.

    The figure is that named by ``measure``, such as ``"val.accuracy"``, by default the loss: in validation, where
    samples are set apart for it. It improves where it is better than the best one by the share ``threshold`` of that.
    After a reduction ``cooldown`` epochs are not counted; the rate stays at ``least``. As PyTorch's ReduceLROnPlateau.
    """
    _check(rate, warmup)
    _check_factor(factor)
    for name, value in (("patience", patience), ("threshold", threshold), ("cooldown", cooldown), ("least", least)):
        check_range(name, value, 0.0)
    return OnPlateau(rate, warmup, factor, least, Plateau(measure, patience, threshold, cooldown))
