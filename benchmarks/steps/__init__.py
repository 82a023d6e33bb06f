"""A training step in each framework. Each module has ``make(workload)``, which gives a :class:`Steps`; nothing else
imports a framework, and none imports two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Steps:
    """``step(number)`` makes a step and gives a handle of its loss, which may still be on its way; ``loss`` waits for
    one and gives the number. ``parameters`` are those that are trained."""

    step: Callable[[int], Any]
    loss: Callable[[Any], float]
    parameters: int
