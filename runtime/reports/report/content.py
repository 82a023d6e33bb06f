"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runtime.inspect.watching import Look
from runtime.training.history import History
from runtime.training.job import Job
from runtime.training.judge import Judgement
from runtime.training.record import Record


@dataclass(frozen=True)
class Rate:
    """The learning rate of one minimize statement, for each epoch of the history, where that does not have it."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class Content:
    """A run, ready to be shown. ``sources`` are the model file as it was trained and
    those that it imports, by their paths in the folder. ``judged`` says which samples the
    judgement is of, or why there is none; ``files`` has the size in bytes of the run's files, by name; ``pictures``
    the last PNG file of everything that is drawn, with its name and its place in the history; ``looks`` the statistics
    of layers, if the run has left any."""

    folder: Path
    job: Job
    sources: Mapping[str, str]
    record: Record
    history: History
    rates: Sequence[Rate] = ()
    judgement: Judgement | None = None
    judged: str = ""
    files: Mapping[str, int] = field(default_factory=dict)
    pictures: Sequence[tuple[str, int, bytes]] = ()
    looks: Sequence[Look] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        """The figures of the history without ``val.``, each once: what there is a chart for."""
        return tuple(dict.fromkeys(name.removeprefix("val.") for name in self.history.names))
