"""Where the time and the memory of a training go, by the lines of its source."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import compiler
from compiler.targets.numpy import result_memory
from runtime.data.batches import DataSet
from runtime.disk.tensors import Array
from runtime.programs.engine import Engine
from runtime.training.job import Job
from runtime.training.planning import data_sizes

PARTS = ("forward", "backward", "update", "validation")
_PLACE = re.compile(r"(?:(backward|update) of )?(.*):(\d+): (.*)")
_ELSEWHERE = ("", "")


class Profiler:
    """Is told by a timed program where it is, and adds up the seconds in each place. Between two calls of the program
    the time goes to no place."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._here, self._since = _ELSEWHERE, 0.0
        self.seconds: dict[tuple[str, str], float] = {}

    def start(self) -> None:
        """The clock runs from here on."""
        self._here, self._since, self.seconds = _ELSEWHERE, self._clock(), {}

    def enter(self, function: str, place: str) -> None:
        """The program goes on at ``place`` of its function ``function``; with two empty texts it returns."""
        now = self._clock()
        self.seconds[self._here] = self.seconds.get(self._here, 0.0) + now - self._since
        self._here, self._since = (function, place), now

    def stop(self) -> None:
        """The clock stops."""
        self.enter(*_ELSEWHERE)


class _TimedEngine(Engine):
    def __init__(self, text: str, kept: Mapping[str, Array], name: str, profiler: Profiler) -> None:
        super().__init__(text, kept, name)
        self._module["_enter"] = profiler.enter
        # Who shared the work would be in several places at once.
        self._sharing = {}


def profiled(job: Job, profiler: Profiler) -> Job:
    """The job with a program that tells ``profiler`` where it is. It computes the same numbers."""
    program = job.program
    text = compiler.numpy_module(program.graphs, f"train {program.name}", program=program, timed=True)
    return replace(job, make_engine=lambda kept: _TimedEngine(text, kept, program.name, profiler))


@dataclass
class LineProfile:
    """One line of the source: ``line`` is its number, 0 for what belongs to none, such as clipping. ``seconds`` by the
    parts of training, and ``bytes``, the memory of the results of one step that are made there."""

    name: str
    line: int
    text: str
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: int = 0

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Profile:
    """Where the time of a training went, in the order of the source. ``outside`` is the time between the calls of the
    program: reading batches, adding up figures, checkpoints."""

    lines: Sequence[LineProfile]
    outside: float

    @property
    def total(self) -> float:
        return self.outside + sum(line.total for line in self.lines)


def make_profile(job: Job, profiler: Profiler, data: DataSet) -> Profile:
    """What ``profiler`` has seen of a training on ``data``, line by line."""
    found: dict[tuple[str, int, str], LineProfile] = {}

    def line_of(place: str) -> tuple[LineProfile, str]:
        match = _PLACE.fullmatch(place)
        key = (match[2], int(match[3]), match[4]) if match else ("", 0, place or "no line of the source")
        return found.setdefault(key, LineProfile(*key)), (match[1] if match else None) or "forward"

    for (function, place), seconds in profiler.seconds.items():
        if (function, place) == _ELSEWHERE:
            continue
        line, part = line_of(place)
        part = "validation" if function.startswith("evaluate") else part
        line.seconds[part] = line.seconds.get(part, 0.0) + seconds
    sizes = data_sizes(job.program, data)
    for graph in (*job.program.steps, *job.program.updates):
        for place, size in result_memory(compiler.numpy_graph(graph), sizes).items():
            line_of(place)[0].bytes += size
    # The model file's own lines before those of files that it imports.
    main = job.project.source.name
    lines = sorted(found.values(), key=lambda line: (line.line == 0, line.name != main, line.name, line.line))
    return Profile(lines, profiler.seconds.get(_ELSEWHERE, 0.0))
