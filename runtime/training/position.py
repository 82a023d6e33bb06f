"""Where a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """How far a run has come: ``batch`` steps of ``epoch`` (from 1) are done, which take a batch each unless gradients
    are accumulated, and ``step`` steps since the start."""

    epoch: int = 1
    batch: int = 0
    step: int = 0

    def wrapped(self, batches: int) -> Position:
        """The same place as the beginning of the next epoch, where all ``batches`` of this one are done."""
        return self if self.batch < batches else Position(self.epoch + 1, 0, self.step)
