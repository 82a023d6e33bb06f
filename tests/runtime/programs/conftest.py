"""Processes that tests have forked, and pipes that they have opened."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest


@pytest.fixture
def all_closed() -> Callable[[], bool]:
    """Whether no pipe is open of those that were opened since the test began. (Files that are not those of helpers come
    and go at any time: ONNX Runtime has a thread with a data base, and what other tests left ends when it likes.)"""

    def pipes() -> set[str]:
        paths = (os.path.realpath(f"/proc/self/fd/{file}") for file in os.listdir("/proc/self/fd"))
        return {path for path in paths if "/pipe:" in path}

    before = pipes()
    return lambda: pipes() <= before


@pytest.fixture
def all_gone(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether no process is left of those that were forked since the test began. (Other tests may have left some, as
    ``multiprocessing`` does.)"""
    born: list[int] = []
    fork = os.fork

    def noting() -> int:
        process = fork()
        if process:
            born.append(process)
        return process

    def gone(process: int) -> bool:
        try:
            os.waitpid(process, os.WNOHANG)
        except ChildProcessError:
            return True
        return False

    monkeypatch.setattr(os, "fork", noting)
    return lambda: all(map(gone, born))
