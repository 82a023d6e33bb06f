"""Processes that share the parts of a program's work. How many there are never changes a result, only how soon it is
there.

Threads would wait for Python's lock between NumPy's calls. A helper is forked from this process when it is first
needed: it has everything that is bound by then, sees what happens in memory that is visible to both, and is only told
by number which of the lists of functions is next. When more is bound, another takes its place.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

from runtime.programs.blas import is_settled
from runtime.programs.forked import Helper, fork, signals_wait
from runtime.programs.habit import Habit
from runtime.programs.threads import Task, thread_count

# The least multiply-adds to tell a helper of, which takes some microseconds; and from how many on it is faster to share
# even where others need the processors too.
_WORTH, _SURE = 1_500_000, 100_000_000
# Seconds that the end of this process waits for a step of a thread that goes on to its very end.
_LAST_STEP = 1.0


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
    processes = min(len(tasks), thread_count()) if work >= _WORTH else 1
    return _team.work(tasks, processes, None if work >= _SURE else Habit()).run


def rest() -> None:
    """End the helpers, which are there for as long as what they may share otherwise, unless another thread of this
    process is at work with them. They are forked anew where they are needed again."""
    _team.rest()


@dataclass(eq=False)
class _Work:
    """Tasks, the number under which helpers know them, and how many processes share them: always, or where ``sharing``
    says that it is faster than to do without, as others may need the processors."""

    number: int
    tasks: tuple[Task, ...]
    processes: int
    sharing: Habit | None

    def do(self, rank: int, processes: int) -> None:
        """The tasks of one of so many processes."""
        for task in self.tasks[rank::processes]:
            task()

    def run(self) -> None:
        # Another thread of this process may be at work with the helpers.
        if self.processes < 2 or not _team.lock.acquire(blocking=False):
            self.do(0, 1)
            return
        try:
            if not _team.can_take(self):
                self.do(0, 1)
                return
            begin = time.perf_counter()
            if self.sharing is None or self.sharing.first():
                _team.run(self)
            else:
                self.do(0, 1)
        finally:
            _team.lock.release()
        if self.sharing is not None:
            self.sharing.took(time.perf_counter() - begin)


class _Team:
    """The helpers of this process, and all work that there is for them. ``lock`` is held by who uses it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._helpers: list[Helper] = []
        self._known: set[int] = set()
        self._numbers = count(1)
        self._works: weakref.WeakValueDictionary[int, _Work] = weakref.WeakValueDictionary()

    def work(self, tasks: Sequence[Task], processes: int, sharing: Habit | None) -> _Work:
        work = _Work(next(self._numbers), tuple(tasks), processes, sharing)
        self._works[work.number] = work
        weakref.finalize(work, self._drop, work.number).atexit = False
        return work

    def can_take(self, work: _Work) -> bool:
        """Whether helpers know the work, or may be forked now that do."""
        return work.number in self._known or is_settled()

    def run(self, work: _Work) -> None:
        try:
            failures = self._shared(work)
        except BaseException:
            # An answer that nobody waits for any more would be taken for that to the next order.
            self.dismiss()
            raise
        if failures:
            raise failures[0]

    def _shared(self, work: _Work) -> list[BaseException]:
        """What went wrong in the tasks, once all who share them are done."""
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
        return failures + [failure for helper in helpers if (failure := helper.wait()) is not None]

    def dismiss(self) -> None:
        """End the helpers, and forget them."""
        self._known = set()
        if self._helpers:
            with signals_wait():
                while self._helpers:
                    self._helpers[-1].end()
                    self._helpers.pop()

    def forget(self) -> None:
        """Leave the helpers to the process that this one was forked from."""
        self.lock = threading.Lock()
        helpers, self._helpers, self._known = self._helpers, [], set()
        for helper in helpers:
            helper.close()

    def retire(self) -> None:
        """End the helpers for good. Where another thread is still at work with them, they end with this process."""
        if self.lock.acquire(timeout=_LAST_STEP):
            self.dismiss()

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
            for _ in range(2 * count):
                if len(self._helpers) == count - 1:
                    break
                with signals_wait():
                    self._helpers.append(fork(works, len(self._helpers) + 1))
                if not self._helpers[-1].is_ready():
                    self._helpers.pop().end()

    def _drop(self, number: int) -> None:
        """Helpers hold the memory of what they know, so that they go when it does. So do those that Ctrl-C kept from
        being ended before."""
        if number in self._known or not self._known:
            self.rest()


_team = _Team()
if can_help():
    os.register_at_fork(after_in_child=lambda: _team.forget())
    atexit.register(lambda: _team.retire())
