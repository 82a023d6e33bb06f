"""Threads that share the parts of a batch. How many there are never changes a result, only how soon it is there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import SimpleQueue
from typing import TypeAlias

import numpy as np

from compiler.diagnostics import DiagnosticError, error

Task: TypeAlias = Callable[[], object]

# Asks for another number of threads than there are processors.
VARIABLE = "DLC_THREADS"
# The least multiply-adds for threads, some tens of milliseconds: where NumPy's calls are short, they wait for Python's
# lock most of the time.
_WORTH = 400_000_000


def thread_count() -> int:
    """The number of threads that programs run on: what DLC_THREADS says, else that of the processors that this process
    may use. Raises DiagnosticError E0819 where DLC_THREADS is not a whole number from 1 on."""
    asked = os.environ.get(VARIABLE)
    if asked is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not asked.isdecimal() or int(asked) < 1:
        title = f"the environment variable {VARIABLE} is {asked!r}, not a number of threads"
        raise DiagnosticError([error("E0819", title, None, help="set it to a whole number from 1 on, or not at all")])
    return int(asked)


def share(tasks: Sequence[Task], work: int) -> Callable[[], None]:
    """A function that calls every one of ``tasks``, on as many threads as there are if so many multiply-adds are worth
    it."""
    return partial(run_all if work >= _WORTH else _in_turn, tasks)


def _in_turn(tasks: Sequence[Task]) -> None:
    for task in tasks:
        task()


def run_all(tasks: Sequence[Task]) -> None:
    """Call every one of ``tasks``, on as many threads as there are, this one among them. Back when all are done; an
    exception of one of them is raised here then."""
    helpers = min(len(tasks), thread_count()) - 1
    if helpers < 1:
        _in_turn(tasks)
        return
    waiting, job = iter(tasks), _Job(helpers)
    for _ in range(helpers):
        _workers.hand(job, waiting)
    job.work(waiting)
    job.wait()


class _Job:
    """Tasks that several threads take one after the other from one iterator, which is safe with lists' own."""

    def __init__(self, helpers: int) -> None:
        self._done = threading.Semaphore(0)
        self._helpers = helpers
        self._failures: list[BaseException] = []

    def work(self, waiting: Iterator[Task]) -> None:
        try:
            for task in waiting:
                task()
        except BaseException as problem:  # raised again by the thread that waits
            self._failures.append(problem)

    def help(self, waiting: Iterator[Task]) -> None:
        self.work(waiting)
        self._done.release()

    def wait(self) -> None:
        for _ in range(self._helpers):
            self._done.acquire()
        if self._failures:
            raise self._failures[0]


class _Workers:
    """Threads that live as long as the process, started when they are first needed."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[_Job, Iterator[Task]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0

    def hand(self, job: _Job, waiting: Iterator[Task]) -> None:
        if self._started < thread_count() - 1:
            self._start()
        self._jobs.put((job, waiting))

    def _start(self) -> None:
        with self._lock:
            while self._started < thread_count() - 1:
                self._started += 1
                threading.Thread(target=self._serve, name=f"dlc-{self._started}", daemon=True).start()

    def _serve(self) -> None:
        # A thread of its own has NumPy's warnings of its own.
        with np.errstate(all="ignore"):
            while True:
                job, waiting = self._jobs.get()
                job.help(waiting)


_workers = _Workers()


def _forget() -> None:
    """After a fork none of the threads is there."""
    global _workers
    _workers = _Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
