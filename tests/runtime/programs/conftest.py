"""Processes that tests have forked."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest


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
