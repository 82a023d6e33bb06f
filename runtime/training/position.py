"""Where a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """How far a run has come: ``batch`` batches of ``epoch`` (from 1) are done, and ``step`` batches since
    the start."""

    epoch: int = 1
    batch: int = 0
    step: int = 0
