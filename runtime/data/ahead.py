"""Work that is done ahead of its use, in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Result = TypeVar("_Result")


class Ahead(Generic[_Key, _Result]):
    """Makes what is asked for, and while that is in use what ``after`` says will be asked for next.

    ``make(key, place)`` is never run twice at a time; ``place`` is 0 or 1 in turn, so that a result can be made beside
    the one in use. What fails ahead fails when it is asked for.
    """

    def __init__(self, make: Callable[[_Key, int], _Result], after: Callable[[_Key], _Key | None]) -> None:
        self._make, self._after = make, after
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[_Key, Future[_Result]] | None = None
        self._place = 0

    def get(self, key: _Key) -> _Result:
        """What ``make`` gives for ``key``: it stays as it is until the next call."""
        expected, self._next = self._next, None
        if expected is not None and expected[0] == key:
            result = expected[1].result()
        else:
            if expected is not None and not expected[1].cancel():
                expected[1].exception()  # it is at work: two at a time would meet
            self._place = 1 - self._place
            result = self._make(key, self._place)
        following = self._after(key)
        if following is not None:
            self._place = 1 - self._place
            self._next = self._submitted(following)
        return result

    def _submitted(self, key: _Key) -> tuple[_Key, Future[_Result]] | None:
        """What is made ahead; None where the process may have no thread, and everything is made when it is asked
        for."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="dlc-ahead")
        try:
            return key, self._thread.submit(self._make, key, self._place)
        except RuntimeError:  # a limit on the memory leaves no room for the stack of another thread
            self._after, self._thread = lambda _: None, None
            return None

    def close(self) -> None:
        """Ends the thread, and with it what is being made; a later :meth:`get` begins anew."""
        thread, self._thread, self._next = self._thread, None, None
        if thread is not None:
            thread.shutdown(wait=True, cancel_futures=True)
