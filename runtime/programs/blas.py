"""One BLAS thread while programs run: sums that threads share are rounded differently."""

from __future__ import annotations

import threading
from typing import Any


def single_threaded_blas() -> OneThread:
    """A context in which NumPy's BLAS uses one thread; it may be entered again inside, and by several threads.

    In most libraries the number of threads is one for the whole process: the first to come sets it, the last to go
    sets it back. :meth:`runtime.programs.engine.Engine.call` enters it by itself; around a loop it saves several
    microseconds a call.
    """
    return _one_thread


class OneThread(threading.local):
    """The state of the context: how deep this thread is inside, and, for all of them together, what to set back."""

    lock = threading.Lock()
    # The threads inside, the libraries, and their numbers of threads before.
    inside = 0
    libraries: list[Any] | None = None
    before: list[int] = []

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
        OneThread.inside += 1
        for library in OneThread.libraries:
            library.set_num_threads(1)

    @staticmethod
    def _restore() -> None:
        OneThread.inside -= 1
        for library, number in zip(OneThread.libraries or (), OneThread.before, strict=True):
            # With OpenMP every thread has a number of its own.
            if OneThread.inside == 0 or getattr(library, "threading_layer", "") == "openmp":
                # From version 3.8 on, threadpoolctl lets only the thread that came first set the number.
                release = getattr(library, "clear_controlling_thread", lambda force: None)
                release(force=True)
                library.set_num_threads(number)
                release(force=True)


_one_thread = OneThread()
