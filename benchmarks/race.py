"""Contenders in processes of their own take turns, so that what else the machine does meets all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import click

from benchmarks.contenders import CONTENDERS

ROOT = Path(__file__).parent.parent
# Threads that spin for more work go to sleep before the next one has its turn.
_PAUSE = 0.02


@dataclass(frozen=True)
class Turn:
    """Seconds for each step of one turn, on the clock and of all processors together."""

    wall: float
    cpu: float


@dataclass
class Result:
    """One contender's turns in their order; without any, ``problem`` says why."""

    name: str
    ready: dict[str, Any] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    problem: str | None = None

    @property
    def wall(self) -> float:
        """The median time of a step in seconds."""
        return median(turn.wall for turn in self.turns)

    @property
    def cpu(self) -> float:
        """The median processor time of a step in seconds."""
        return median(turn.cpu for turn in self.turns)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles of the time of a step."""
        found = quantiles([turn.wall for turn in self.turns], n=4) if len(self.turns) > 1 else [self.wall] * 3
        return found[0], found[2]


def ratio(first: Result, second: Result, what: str = "wall") -> float:
    """The median of what each turn of the first takes of the second's turn beside it: its ``wall`` or its ``cpu``."""
    pairs = zip(first.turns, second.turns, strict=True)
    found: list[float] = [getattr(one, what) / getattr(other, what) for one, other in pairs]
    return median(found)


def best_peer(results: Sequence[Result], own: str = "dlc") -> Result | None:
    """The fastest one that is not our own; None where none ran."""
    peers = [result for result in results if result.name != own and result.turns]
    return min(peers, key=lambda result: result.wall) if peers else None


class Failed(Exception):
    """A contender's process ended; the message says why."""


class Runner:
    """The process of a contender for one workload."""

    def __init__(self, name: str, workload: str, python: str, errors: Path) -> None:
        contender = CONTENDERS[name]
        environment = {**os.environ, **contender.environment, "PYTHONPATH": str(ROOT)}
        self._errors = errors
        with errors.open("w") as log:
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.worker", name, workload],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )

    def ready(self) -> dict[str, Any]:
        """What the process tells once it has made its first step. Raises Failed."""
        told = self._answer()
        if "absent" in told:
            raise Failed(f"not installed: {told['absent']}")
        return told

    def turn(self, steps: int) -> Turn:
        """Let it make so many steps. Raises Failed."""
        assert self._process.stdin is not None
        try:
            print(steps, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise Failed(self._last_words()) from None
        told = self._answer()
        return Turn(told["wall"] / steps, told["cpu"] / steps)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(self._last_words())
        told: dict[str, Any] = json.loads(line)
        return told

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._errors.read_text().splitlines() if line.strip()]
        return f"failed: {lines[-1]}" if lines else f"ended with code {self._process.wait()}"


def race(workload: str, names: Sequence[str], pythons: Mapping[str, str], rounds: int, seconds: float) -> list[Result]:
    """What each of the contenders takes for a step of ``workload`` in so many rounds, in each of which each of them
    steps for about ``seconds``. ``pythons`` are interpreters by the names that contenders have for them."""
    results = {name: Result(name) for name in names}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runners, counts = {}, {}
        for name in names:
            python = pythons.get(CONTENDERS[name].python, sys.executable)
            runner = Runner(name, workload, python, folder / name)
            stack.callback(runner.close)
            with _noted(results[name]):
                results[name].ready = runner.ready()
                runners[name], counts[name] = runner, _count(runner, seconds)
        for number in range(rounds):
            # Who comes first changes, as the one after it finds other caches.
            for name in list(runners)[:: 1 if number % 2 else -1]:
                time.sleep(_PAUSE)
                with _noted(results[name]):
                    results[name].turns.append(runners[name].turn(counts[name]))
                if results[name].problem:
                    del runners[name]
                    results[name].turns.clear()
    return list(results.values())


def _count(runner: Runner, seconds: float) -> int:
    """The number of steps that take about ``seconds``, once it is warm."""
    steps = 1
    while (taken := runner.turn(steps).wall * steps) < seconds / 2:
        steps = max(steps + 1, min(steps * 10, int(steps * seconds / max(taken, 1e-9))))
    return steps


@contextmanager
def _noted(result: Result) -> Iterator[None]:
    try:
        yield
    except Failed as failure:
        result.problem = str(failure)


def pythons(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    """``keras=/path/to/python``, as an option of a command, as a mapping."""
    pairs = [text.partition("=") for text in given]
    if not all(name and path for name, _, path in pairs):
        raise click.BadParameter("write NAME=PATH")
    return {name: path for name, _, path in pairs}
