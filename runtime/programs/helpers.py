"""Processes that share the parts of a program's work. How many there are never changes a result, only how soon it is
there.

Threads would wait for Python's lock between NumPy's calls. A helper is forked from this process when it is first
needed: it has everything that is bound by then, sees what happens in memory that is visible to both, and is only told
by number which of the lists of functions is next. When more is bound, another takes its place.
"""

from __future__ import annotations

import atexit
import gc
import os
import select
import signal
import struct
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import NoReturn, TypeAlias

import numpy as np

from runtime.programs.habit import Habit
from runtime.programs.threads import thread_count

Task: TypeAlias = Callable[[], object]

# The least multiply-adds to tell a helper of, which takes some microseconds.
_WORTH = 1_500_000
# Seconds in which a helper looks again and again whether there is news, before it sleeps: to be woken takes some ten
# microseconds, as long as a short task. Who waits for a helper sleeps sooner: both may be on one processor.
_AWAKE, _WAITING = 0.0005, 0.0001
# Seconds after which a sleeping helper sees whether the process is still there that it helps.
_GLANCE = 1.0
_ORDER, _LENGTH = struct.Struct("<qi"), struct.Struct("<i")
# What is told of a failure fits into a pipe at once.
_LONGEST = 2000


class HelperGone(RuntimeError):
    """A process that shared the work was ended from outside."""


def can_help() -> bool:
    """Whether this system lets a process go on as two. On macOS it does, but some of its libraries break then."""
    return hasattr(os, "fork") and sys.platform == "linux"


def share(tasks: Sequence[Task], work: int) -> Task:
    """A function that calls every one of ``tasks``, which work in visible memory only, on as many processes as there
    are threads asked for, if so many multiply-adds are worth it. It is back when all are done; what one of them raises
    is raised then, of a helper an IndexError as such and anything else as RuntimeError, or HelperGone where it is no
    more.

    Raises DiagnosticError E0819 where DLC_THREADS is not a number of threads.
    """
    if len(tasks) == 1:
        return tasks[0]
    return _team.work(tasks, min(len(tasks), thread_count()) if work >= _WORTH else 1).run


def rest() -> None:
    """End the helpers, which are there for as long as what they may share otherwise, unless another thread of this
    process is at work with them. They are forked anew where they are needed again."""
    _team.rest()


@dataclass(eq=False)
class _Work:
    """Tasks, the number under which helpers know them, and how many processes share them where that is faster than to
    do without: others may need the processors."""

    number: int
    tasks: tuple[Task, ...]
    processes: int
    sharing: Habit = field(default_factory=Habit)

    def do(self, rank: int, processes: int) -> None:
        """The tasks of one of so many processes."""
        for task in self.tasks[rank::processes]:
            task()

    def run(self) -> None:
        # Another thread of this process may be at work with the helpers.
        if self.processes < 2 or not _team.lock.acquire(blocking=False):
            self.do(0, 1)
            return
        begin = time.perf_counter()
        try:
            if self.sharing.first():
                _team.run(self)
            else:
                self.do(0, 1)
        finally:
            _team.lock.release()
        self.sharing.took(time.perf_counter() - begin)


class _Team:
    """The helpers of this process, and all work that there is for them. ``lock`` is held by who uses it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._helpers: list[_Helper] = []
        self._known: set[int] = set()
        self._numbers = count(1)
        self._works: weakref.WeakValueDictionary[int, _Work] = weakref.WeakValueDictionary()

    def work(self, tasks: Sequence[Task], processes: int) -> _Work:
        work = _Work(next(self._numbers), tuple(tasks), processes)
        self._works[work.number] = work
        weakref.finalize(work, self._drop, work.number).atexit = False
        return work

    def run(self, work: _Work) -> None:
        if work.number not in self._known:
            self.dismiss()
            self._hire()
        helpers, failures = self._helpers[: work.processes - 1], list[BaseException]()
        for helper in helpers:
            helper.tell(work.number, len(helpers) + 1)
        try:
            work.do(0, len(helpers) + 1)
        except BaseException as problem:  # raised again when the helpers are done
            failures.append(problem)
        try:
            failures += [failure for helper in helpers if (failure := helper.wait()) is not None]
        except BaseException:
            self.dismiss()
            raise
        if failures:
            raise failures[0]

    def dismiss(self) -> None:
        """End the helpers, and forget them."""
        helpers, self._helpers, self._known = self._helpers, [], set()
        for helper in helpers:
            helper.end()

    def forget(self) -> None:
        """Leave the helpers to the process that this one was forked from."""
        self.lock = threading.Lock()
        helpers, self._helpers, self._known = self._helpers, [], set()
        for helper in helpers:
            helper.close()

    def rest(self) -> None:
        """End the helpers unless another thread is at work with them."""
        if self._helpers and self.lock.acquire(blocking=False):
            try:
                self.dismiss()
            finally:
                self.lock.release()

    def _hire(self) -> None:
        # Others may be made, and go, at this very time.
        found = [reference() for reference in self._works.valuerefs()]
        works = {work.number: work for work in found if work is not None}
        self._known = set(works)
        count = max(work.processes for work in works.values())
        # Where the system lets no more processes be, there are fewer.
        with suppress(OSError):
            while len(self._helpers) < count - 1:
                self._helpers.append(_fork(works, len(self._helpers) + 1))

    def _drop(self, number: int) -> None:
        """Helpers hold the memory of what they know, so that they go when it does."""
        if number in self._known:
            self.rest()


class _Helper:
    """A helper, as the process sees it that it helps."""

    def __init__(self, process: int, orders: int, answers: int) -> None:
        self._process, self._orders, self._answers = process, orders, _Pipe(answers, _WAITING)

    def tell(self, number: int, processes: int) -> None:
        with suppress(BrokenPipeError):  # it is gone: so says wait
            os.write(self._orders, _ORDER.pack(number, processes))

    def wait(self) -> BaseException | None:
        """What went wrong in the helper's tasks, when they are done. Raises HelperGone where it is."""
        while not self._answers.ready(_GLANCE):
            pass
        head = os.read(self._answers.file, _LENGTH.size)
        if not head:
            raise HelperGone(self._gone())
        (length,) = _LENGTH.unpack(head)
        if not length:
            return None
        kind, _, text = os.read(self._answers.file, length).decode().partition(" ")
        return (
            IndexError(text)
            if kind == "IndexError"
            else RuntimeError(f"{kind} in a process that shared the work: {text}")
        )

    def end(self) -> None:
        self.close()
        with suppress(ChildProcessError, ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)

    def close(self) -> None:
        os.close(self._orders)
        os.close(self._answers.file)

    def _gone(self) -> str:
        status = 0
        with suppress(ChildProcessError):
            status = os.waitpid(self._process, 0)[1]
        how = f"by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else "from outside"
        return f"a process that shared the work was ended {how}"


class _Pipe:
    """The end of a pipe where something is read."""

    def __init__(self, file: int, awake: float) -> None:
        self.file, self._awake = file, awake
        self._poll = select.poll()
        self._poll.register(file, select.POLLIN)

    def ready(self, seconds: float) -> bool:
        """Whether something can be read, or will be after at most so many seconds."""
        poll, end = self._poll.poll, time.perf_counter() + self._awake
        while not poll(0):
            if time.perf_counter() > end:
                return bool(poll(seconds * 1000))
        return True


def _fork(works: dict[int, _Work], rank: int) -> _Helper:
    """Raises OSError where that can't be."""
    orders, tell = os.pipe()
    answers, answer = os.pipe()
    parent = os.getpid()
    try:
        with warnings.catch_warnings():
            # Other threads may hold locks that nobody opens in the helper: it takes none of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
    except OSError:
        for file in (orders, tell, answers, answer):
            os.close(file)
        raise
    if not process:
        os.close(tell)
        os.close(answers)
        _serve(works, rank, _Pipe(orders, _AWAKE), answer, parent)
    os.close(orders)
    os.close(answer)
    return _Helper(process, tell, answers)


def _serve(works: dict[int, _Work], rank: int, orders: _Pipe, answer: int, parent: int) -> NoReturn:
    """The life of a helper."""
    try:
        # These come to all processes of a terminal or a container at once: the one that it helps decides.
        for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(sent, signal.SIG_IGN)
        gc.disable()
        np.seterr(all="ignore")
        while True:
            while not orders.ready(_GLANCE):
                if os.getppid() != parent:
                    os._exit(0)
            told = os.read(orders.file, _ORDER.size)
            if not told:
                os._exit(0)
            failure = b""
            number, processes = _ORDER.unpack(told)
            try:
                works[number].do(rank, processes)
            except Exception as problem:
                failure = f"{type(problem).__name__} {problem}".encode()[:_LONGEST]
            os.write(answer, _LENGTH.pack(len(failure)) + failure)
    finally:
        os._exit(1)


_team = _Team()
if can_help():
    os.register_at_fork(after_in_child=lambda: _team.forget())
    atexit.register(lambda: _team.dismiss())
