from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

import dlc
from compiler.diagnostics import DiagnosticError
from compiler.targets.numpy import sharing
from runtime.programs import blas, forked, helpers, threads
from runtime.programs.threads import run_all, thread_count


@pytest.fixture(params=[1, 2, 4], name="threads")
def asked_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("DLC_THREADS", str(request.param))
    return int(request.param)


def test_every_task_is_called_once(threads: int) -> None:
    called: list[int] = []
    for count in (0, 1, 2, 3, 20):
        called.clear()
        run_all([lambda number=number: called.append(number) for number in range(count)])
        assert sorted(called) == list(range(count))


def test_tasks_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLC_THREADS", "3")
    meeting = threading.Barrier(3, timeout=60)
    run_all([meeting.wait] * 3)
    assert not meeting.broken


def test_an_exception_comes_out_when_all_are_done(threads: int) -> None:
    def fail() -> None:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        run_all([fail] * 5)
    done: list[int] = []
    run_all([lambda: done.append(1)] * 3)
    assert len(done) == 3


def test_warnings_are_silent_on_every_thread(threads: int) -> None:
    with np.errstate(all="ignore"):
        run_all([lambda: np.zeros(1) / np.zeros(1)] * 8)


FORK = """
import os, threading
from compiler.targets.numpy import sharing
from runtime.programs.threads import run_all

def meet():
    meeting = threading.Barrier(2, timeout=60)
    run_all([meeting.wait] * 2)

meet()
child = os.fork()
meet()
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_threads_are_there_after_a_fork() -> None:
    environment = {**os.environ, "DLC_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", FORK], env=environment, check=True, timeout=300)


@pytest.mark.parametrize("asked", ["", "0", "-1", "all", "1.5", " 2"])
def test_other_numbers_of_threads_are_refused(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLC_THREADS", asked)
    with pytest.raises(DiagnosticError) as caught:
        thread_count()
    assert caught.value.diagnostics[0].code == "E0819"


def test_as_many_threads_as_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLC_THREADS", raising=False)
    assert thread_count() >= 1


@pytest.mark.parametrize("forks", [True, False])
def test_the_number_of_threads_changes_no_bit_of_a_training(
    forks: bool, monkeypatch: pytest.MonkeyPatch, all_gone: Callable[[], bool]
) -> None:
    if forks and not helpers.can_help():
        pytest.skip("this system forks no helpers")
    monkeypatch.setattr(sharing, "LEAST_WORK", {4: 1, 2: 1})
    # The least work is shared, always, by processes or by threads.
    monkeypatch.setattr(helpers, "_WORTH", 0)
    monkeypatch.setattr(helpers, "_SURE", 0)
    monkeypatch.setattr(blas, "_IN_FLIGHT", 0.0)
    monkeypatch.setattr(threads, "_WORTH", 0)
    monkeypatch.setattr(forked, "_PATIENCE", 60.0)
    monkeypatch.setattr(helpers, "can_help", lambda: forks)
    shared: list[int] = []
    monkeypatch.setattr(forked.Helper, "tell", noting(forked.Helper.tell, shared))
    monkeypatch.setattr(threads._Workers, "hand", noting(threads._Workers.hand, shared))
    random = np.random.default_rng(0)
    data = {"x": random.normal(size=(50, 1, 6, 6)).astype(np.float32), "label": random.integers(0, 3, 50)}
    found = set()
    for count in (1, 2, 4):
        monkeypatch.setenv("DLC_THREADS", str(count))
        shared.clear()
        model = dlc.loads(TEXT)
        model.fit(data, epochs=2)
        found.add(b"".join(array.tobytes() for _, array in sorted(model.weights.items())))
        assert bool(shared) == (count > 1)
        assert all_gone()
    assert len(found) == 1


def noting(function: Callable[..., None], calls: list[int]) -> Callable[..., None]:
    """The function, which notes that it was called."""

    def call(*arguments: object) -> None:
        calls.append(1)
        function(*arguments)

    return call


TEXT = """
model Net(x: f32[N, 1, 6, 6]) -> f32[N, 3] {
    conv(4, 3) -> batch_norm -> relu -> flatten -> dropout(0.3) -> dense(3)
}
train t(x: f32[N, 1, 6, 6], label: i64[N]) {
    minimize cross_entropy(Net(x), label) with adam(0.01)
    batch 16
}
"""
