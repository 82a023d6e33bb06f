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
