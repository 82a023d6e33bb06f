"""A process that is forked from this one, and does its part of what it is told by number."""

from __future__ import annotations

import gc
import os
import select
import signal
import struct
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NoReturn, Protocol

import numpy as np

# Seconds in which a helper looks again and again whether there is news, before it sleeps: to be woken takes some ten
# microseconds, as long as a short task. Who waits for a helper sleeps sooner: both may be on one processor.
_AWAKE, _WAITING = 0.0005, 0.0001
# Seconds after which a helper that has said nothing yet is given up.
_PATIENCE = 10.0
# Seconds after which a sleeping helper sees whether the process is still there that it helps, and that one, while it
# waits, whether the helper is.
_GLANCE = 1.0
_ORDER, _LENGTH = struct.Struct("<qi"), struct.Struct("<i")
# What is told of a failure fits into a pipe at once.
_LONGEST = 2000


class HelperGone(RuntimeError):
    """A process that shared the work was ended from outside."""


class Shared(Protocol):
    """Work that several processes share."""

    def do(self, rank: int, processes: int) -> None:
        """The part of one of so many processes."""


class Helper:
    """A helper, as the process sees it that it helps."""

    def __init__(self, process: int, orders: int, answers: int) -> None:
        self._process, self._orders, self._answers = process, orders, _Pipe(answers, _WAITING)
        self._files = [orders, answers]

    def tell(self, number: int, processes: int) -> None:
        with suppress(BrokenPipeError):  # it is gone: so says wait
            os.write(self._orders, _ORDER.pack(number, processes))

    def wait(self) -> BaseException | None:
        """What went wrong in the helper's tasks, when they are done. Raises HelperGone where it is."""
        while not self._answers.ready(_GLANCE):
            # A process that another thread forked may hold the end of the pipe that was the helper's.
            if self._has_ended() and not self._answers.ready(0):
                raise HelperGone(self._gone())
        head = os.read(self._answers.file, _LENGTH.size)
        if not head:
            raise HelperGone(self._gone())
        (length,) = _LENGTH.unpack(head)
        if not length:
            return None
        kind, _, text = os.read(self._answers.file, length).decode(errors="replace").partition(" ")
        if kind == "IndexError":
            return IndexError(text)
        return RuntimeError(f"{kind} in a process that shared the work: {text}")

    def is_ready(self) -> bool:
        """Whether it has begun to listen, which it tells by itself, and soon if it does at all: a lock of another
        thread of the process that it was forked from may never open in it."""
        with suppress(HelperGone):
            return self._answers.ready(_PATIENCE) and self.wait() is None
        return False

    def end(self) -> None:
        """May be called again where Ctrl-C came in between."""
        with suppress(ChildProcessError, ProcessLookupError):
            if self._files:
                os.kill(self._process, signal.SIGKILL)
                os.waitpid(self._process, 0)
        self.close()

    def close(self) -> None:
        while self._files:
            os.close(self._files.pop())

    def _has_ended(self) -> bool:
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self._process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True

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


@contextmanager
def signals_wait() -> Iterator[None]:
    """Inside, no signal comes to this thread, nor for all of its life to a helper that is forked here."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def fork(works: Mapping[int, Shared], rank: int) -> Helper:
    """A helper that hears no signals, if this is called where they wait: many come to all processes of a terminal or a
    container at once, and the one that it helps decides. Raises OSError where there can be none."""
    files: list[int] = []
    parent = os.getpid()
    try:
        files += os.pipe()
        files += os.pipe()
        with warnings.catch_warnings():
            # Other threads may hold locks that nobody opens in the helper: it takes none of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
    except OSError:
        for file in files:
            os.close(file)
        raise
    orders, tell, answers, answer = files
    if not process:
        _serve(works, rank, orders, answer, parent)
    os.close(orders)
    os.close(answer)
    return Helper(process, tell, answers)


def _serve(works: Mapping[int, Shared], rank: int, told: int, answer: int, parent: int) -> NoReturn:
    """The life of a helper."""
    try:
        _close_others((told, answer))
        orders = _Pipe(told, _AWAKE)
        gc.disable()
        np.seterr(all="ignore")
        # Memory and the BLAS have locks: it is seen whether they open.
        square = np.ones((256, 256), np.float32)
        np.dot(square, square)
        os.write(answer, _LENGTH.pack(0))
        while True:
            while not orders.ready(_GLANCE):
                if os.getppid() != parent:
                    os._exit(0)
            order = os.read(told, _ORDER.size)
            if not order:
                os._exit(0)
            failure = b""
            number, processes = _ORDER.unpack(order)
            try:
                works[number].do(rank, processes)
            except Exception as problem:
                failure = f"{type(problem).__name__} {problem}".encode()[:_LONGEST]
            os.write(answer, _LENGTH.pack(len(failure)) + failure)
    finally:
        os._exit(1)


def _close_others(kept: Collection[int]) -> None:
    """Close the files that this process has of the one it was forked from: the other end of a connection would take it
    for open, and a lock would stay. Where messages go is left as it is."""
    with suppress(FileNotFoundError):
        for file in map(int, os.listdir("/proc/self/fd")):
            if file > 2 and file not in kept:
                with suppress(OSError):  # the folder itself
                    os.close(file)
