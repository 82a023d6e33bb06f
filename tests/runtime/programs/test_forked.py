"""A helper by itself: it hears no signals, holds nobody's files, and that it is gone is always noticed."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest

from runtime.programs import forked, helpers, visible
from runtime.programs.forked import Helper, HelperGone

pytestmark = pytest.mark.skipif(not helpers.can_help(), reason="this system forks no helpers")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a helper that begins at all is waited for."""
    monkeypatch.setattr(forked, "_PATIENCE", 60.0)


class Note:
    """Work that notes the process that does it."""

    def __init__(self) -> None:
        self.seen = np.ndarray((1,), np.int64, visible.memory(8))

    def do(self, rank: int, processes: int) -> None:
        self.seen[0] = os.getpid()


def helper_for(works: Mapping[int, Note]) -> Helper:
    with forked.signals_wait():
        helper = forked.fork(works, 1)
    assert helper.is_ready()
    return helper


@pytest.fixture
def note() -> Note:
    return Note()


@pytest.fixture
def helper(note: Note) -> Iterator[Helper]:
    helper = helper_for({1: note})
    yield helper
    helper.end()


def process_of(helper: Helper, note: Note) -> int:
    helper.tell(1, 2)
    assert helper.wait() is None
    return int(note.seen[0])


def test_the_other_end_of_a_connection_sees_that_it_is_closed(note: Note) -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        helper = helper_for({1: note})
        mine.close()
        theirs.settimeout(60)
        assert theirs.recv(1) == b""
        assert process_of(helper, note) != os.getpid()
        helper.end()


@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGWINCH, signal.SIGALRM])
def test_handlers_of_the_process_do_not_run_in_a_helper(note: Note, sent: signal.Signals) -> None:
    def handle(*_: object) -> None:
        raise AssertionError("a helper was called")

    before = signal.signal(sent, handle)
    try:
        helper = helper_for({1: note})
        process = process_of(helper, note)
        os.kill(process, sent)
        assert process_of(helper, note) == process
        helper.end()
    finally:
        signal.signal(sent, before)


def test_signals_wait_and_then_come() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    try:
        with forked.signals_wait():
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            assert not came
        assert came == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_helper_is_missed_though_another_process_holds_its_pipe(note: Note, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    pipe = os.pipe

    def shared_pipe() -> tuple[int, int]:
        read, write = pipe()
        held.append(os.dup(write))
        return read, write

    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe", shared_pipe)
        helper = helper_for({1: note})
    os.kill(process_of(helper, note), signal.SIGKILL)
    helper.tell(1, 2)
    with pytest.raises(HelperGone, match="SIGKILL"):
        helper.wait()
    helper.end()
    for file in held:
        os.close(file)


@pytest.mark.parametrize("allowed", [0, 1])
def test_no_file_stays_open_where_there_are_too_few(
    note: Note, monkeypatch: pytest.MonkeyPatch, allowed: int, all_closed: Callable[[], bool]
) -> None:
    pipe: Callable[[], tuple[int, int]] = os.pipe
    made: list[tuple[int, int]] = []

    def scarce() -> tuple[int, int]:
        if len(made) == allowed:
            raise OSError("Too many open files")
        made.append(pipe())
        return made[-1]

    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe", scarce)
        with pytest.raises(OSError, match="Too many"):
            forked.fork({1: note}, 1)
    assert all_closed()
