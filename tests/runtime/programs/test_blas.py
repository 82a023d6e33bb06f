"""When a process may fork, as far as the BLAS goes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from runtime.programs import blas
from runtime.programs.blas import OneThread, is_settled, single_threaded_blas


@dataclass
class Library:
    """A BLAS as threadpoolctl shows it."""

    num_threads: int

    def set_num_threads(self, number: int) -> None:
        self.num_threads = number


@pytest.mark.parametrize(
    ("others", "number", "settled"), [(True, 2, False), (False, 2, True), (True, 1, True), (False, 1, True)]
)
def test_calls_that_other_threads_began_before_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, others: bool, number: int, settled: bool
) -> None:
    library, now = Library(number), time.monotonic()
    monkeypatch.setattr(OneThread, "libraries", [library])
    monkeypatch.setattr(OneThread, "inside", 0)
    # It stands still, as between two lines of a test it may go on for longer than calls take.
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(threading, "active_count", lambda: 1 + others)
    with single_threaded_blas():
        assert library.num_threads == 1
        assert is_settled() == settled
        with single_threaded_blas():
            assert is_settled() == settled
        monkeypatch.setattr(time, "monotonic", lambda: now + blas._IN_FLIGHT)
        assert is_settled()
    assert library.num_threads == number
    assert is_settled()
