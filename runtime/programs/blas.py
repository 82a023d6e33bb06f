"""One BLAS thread while programs run: sums that threads share are rounded differently."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

# After so many seconds inside, calls are over that other threads began before, on several BLAS threads.
_IN_FLIGHT = 1.0


def single_threaded_blas() -> OneThread:
    """A context in which NumPy's BLAS uses one thread; it may be entered again inside, and by several threads.

    In most libraries the number of threads is one for the whole process: the first to come sets it, the last to go
    sets it back. :meth:`runtime.programs.engine.Engine.call` enters it by itself; around a loop it saves several
    microseconds a call.
    """
    return _one_thread


def is_settled() -> bool:
    """Whether this process may fork now, as far as the BLAS goes: OpenBLAS ends its threads then, and a call of another
    thread that works on them would never come back. To be asked inside of :func:`single_threaded_blas`."""
    return time.monotonic() - OneThread.since >= _IN_FLIGHT


class OneThread(threading.local):
    """The state of the context: how deep this thread is inside, and, for all of them together, what to set back."""

    lock = threading.Lock()
    # The threads inside, the libraries, and their numbers of threads before.
    inside = 0
    libraries: list[Any] | None = None
    before: list[int] = []
    # When the first came, if there were other threads that may have been in calls on several BLAS threads.
    since = -math.inf

    def __init__(self) -> None:
        self.depth = 0

    def __enter__(self) -> None:
        self.depth += 1
        if self.depth == 1:
            with OneThread.lock:
                self._limit()

    def __exit__(self, *_: object) -> None:
        self.depth -= 1
        if self.depth == 0:
            with OneThread.lock:
                self._restore()

    @staticmethod
    def _limit() -> None:
        if OneThread.libraries is None:
            # Looking for the libraries takes longer than a training step of a small network.
            from threadpoolctl import ThreadpoolController

            OneThread.libraries = ThreadpoolController().select(user_api="blas").lib_controllers
        if OneThread.inside == 0:
            OneThread.before = [library.num_threads for library in OneThread.libraries]
            alone = threading.active_count() == 1 or max(OneThread.before, default=1) == 1
            OneThread.since = -math.inf if alone else time.monotonic()
        OneThread.inside += 1
        for library in OneThread.libraries:
            library.set_num_threads(1)

    @staticmethod
    def _restore() -> None:
        OneThread.inside -= 1
        if OneThread.inside == 0:
            OneThread.since = -math.inf
        for library, number in zip(OneThread.libraries or (), OneThread.before, strict=True):
            # With OpenMP every thread has a number of its own.
            if OneThread.inside == 0 or getattr(library, "threading_layer", "") == "openmp":
                # From version 3.8 on, threadpoolctl lets only the thread that came first set the number.
                release = getattr(library, "clear_controlling_thread", lambda force: None)
                release(force=True)
                library.set_num_threads(number)
                release(force=True)


_one_thread = OneThread()
