"""The gate that a smaller file has to pass: how much worse than the f32 file its figures may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from compiler.program import Measure

Direction: TypeAlias = Literal["higher", "lower", "same"]


@dataclass(frozen=True)
class Limits:
    """How much worse a figure may be: a measure of which more is better, a share, by ``drop`` points of a hundred; one
    of which less is better, and the loss, by ``rise`` percent of what it was. By so much may an expression be off in
    either direction, as nobody says which one is worse."""

    drop: float = 0.5
    rise: float = 2.0


@dataclass(frozen=True)
class Gate:
    """The figures of the f32 file, and how each is judged; one that is not in ``better`` is only shown."""

    before: Mapping[str, float]
    better: Mapping[str, Direction]
    limits: Limits

    def passes(self, after: Mapping[str, float]) -> bool:
        """Whether none of the figures is worse than allowed."""
        return not self.failed(after)

    def failed(self, after: Mapping[str, float]) -> list[str]:
        """The names of the figures that are worse than allowed. NaN and infinity are."""
        return [name for name in self.better if not self._share(name, after[name]) <= 1.0]

    def excess(self, after: Mapping[str, float]) -> float:
        """The largest part of what is allowed that a figure uses up; infinite for NaN."""
        shares = [self._share(name, after[name]) for name in self.better]
        return max(math.inf if math.isnan(share) else share for share in shares)

    def _share(self, name: str, figure: float) -> float:
        """The part of what is allowed that a figure is worse by; 0 where it is better or the same."""
        before = self.before[name]
        worse = {"higher": before - figure, "lower": figure - before, "same": abs(figure - before)}[self.better[name]]
        allowed = self.limits.drop / 100 if self.better[name] == "higher" else abs(before) * self.limits.rise / 100
        if worse <= 0:
            return 0.0
        return worse / allowed if allowed > 0 else math.inf

    def allowed_text(self, name: str) -> str:
        """What is allowed of a figure, in words."""
        if self.better[name] == "higher":
            return f"at most {self.limits.drop:g} points lower"
        return f"at most {self.limits.rise:g}% {'higher' if self.better[name] == 'lower' else 'off'}"


def make_gate(before: Mapping[str, float], measures: tuple[Measure, ...], limits: Limits) -> Gate:
    """The gate for a network with the figures ``before``: its measures are judged, or, where none says what is better,
    its loss."""
    better: dict[str, Direction] = {
        measure.name: measure.better if measure.metric else "same" for measure in measures if measure.better is not None
    }
    return Gate(before, better or {"loss": "lower"}, limits)
