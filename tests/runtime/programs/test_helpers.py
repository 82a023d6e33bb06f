"""Processes that share work: what they do is seen, what goes wrong in them is told, and none outlives its use."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from runtime.programs import blas, forked, helpers, visible
from runtime.programs.engine import Engine
from runtime.programs.forked import HelperGone

pytestmark = pytest.mark.skipif(not helpers.can_help(), reason="this system forks no helpers")


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLC_THREADS", "3")
    monkeypatch.setattr(blas, "_IN_FLIGHT", 0.0)
    monkeypatch.setattr(forked, "_PATIENCE", 60.0)
    # What goes later would take the helpers with it.
    gc.collect()


def numbers(size: int) -> np.ndarray:
    return np.ndarray((size,), np.int64, visible.memory(8 * size))


def shared(tasks: Sequence[Callable[[], object]]) -> Callable[[], object]:
    """Tasks that are worth sharing."""
    return helpers.share(tasks, 10**9)


def noting(target: np.ndarray) -> list[Callable[[], object]]:
    """Tasks, each of which notes the process that it runs in."""

    def note(place: int) -> Callable[[], object]:
        return lambda: target.__setitem__(place, os.getpid())

    return [note(place) for place in range(len(target))]


def test_three_processes_share_the_tasks() -> None:
    seen = numbers(7)
    run = shared(noting(seen))
    run()
    first = seen.copy()
    assert len(set(first)) == 3
    assert first[0] == os.getpid()
    seen[:] = 0
    run()
    assert seen.tolist() == first.tolist()


def test_two_tasks_take_two_processes() -> None:
    seen = numbers(2)
    shared(noting(seen))()
    assert len(set(seen)) == 2


def test_one_task_takes_no_other_process() -> None:
    seen = numbers(1)
    shared(noting(seen))()
    assert seen.tolist() == [os.getpid()]


def test_little_work_is_not_shared() -> None:
    seen = numbers(4)
    helpers.share(noting(seen), 1000)()
    assert set(seen) == {os.getpid()}


def test_one_thread_does_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLC_THREADS", "1")
    seen = numbers(4)
    shared(noting(seen))()
    assert set(seen) == {os.getpid()}


def test_works_that_fewer_share_take_some_of_the_helpers() -> None:
    few, many = numbers(2), numbers(3)
    two, three = shared(noting(few)), shared(noting(many))
    three()
    before = many.copy()
    two()
    three()
    assert many.tolist() == before.tolist()
    assert set(few) < set(many)


def test_helpers_rest_until_they_are_needed_again() -> None:
    seen = numbers(3)
    run = shared(noting(seen))
    run()
    before = set(seen)
    helpers.rest()
    helpers.rest()
    for helper in before - {os.getpid()}:
        with pytest.raises(ProcessLookupError):
            os.kill(int(helper), 0)
    run()
    assert set(seen) & before == {os.getpid()}


def test_no_helpers_where_the_system_has_no_process_left(
    monkeypatch: pytest.MonkeyPatch, all_closed: Callable[[], bool]
) -> None:
    def refuse() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    seen = numbers(3)
    run = shared(noting(seen))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", refuse)
        run()
        run()
    assert set(seen) == {os.getpid()}
    assert all_closed()


def stuck(*_: object) -> None:
    time.sleep(100)


def ended(*_: object) -> None:
    os._exit(1)


@pytest.mark.parametrize("serve", [stuck, ended])
def test_helpers_that_do_not_begin_are_done_without(
    serve: Callable[..., None], monkeypatch: pytest.MonkeyPatch, all_gone: Callable[[], bool]
) -> None:
    seen = numbers(3)
    run = shared(noting(seen))
    monkeypatch.setattr(forked, "_PATIENCE", 0.05)
    monkeypatch.setattr(forked, "_serve", serve)
    run()
    run()
    assert set(seen) == {os.getpid()}
    assert all_gone()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_come_to_all_processes_leave_helpers_alone(sent: signal.Signals) -> None:
    seen = numbers(2)
    run = shared(noting(seen))
    run()
    before = seen.copy()
    os.kill(int(seen[1]), sent)
    run()
    assert seen.tolist() == before.tolist()


def test_no_process_is_forked_while_others_may_be_in_calls_of_the_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenBLAS ends its threads then: a call of another thread that had begun on several would wait for ever."""
    first, second = numbers(3), numbers(3)
    known, new = shared(noting(first)), shared(noting(second))
    known()
    later = shared(noting(second))
    monkeypatch.setattr(blas, "_IN_FLIGHT", 3600.0)
    monkeypatch.setattr(blas.OneThread, "since", time.monotonic())
    later()
    assert set(second) == {os.getpid()}
    new()
    assert set(second) == set(first) != {os.getpid()}
    monkeypatch.setattr(blas, "_IN_FLIGHT", 0.0)
    later()
    assert len(set(second)) == 3
    assert set(second) & set(first) == {os.getpid()}


def test_what_is_made_later_is_shared_too() -> None:
    first, second = numbers(3), numbers(3)
    one = shared(noting(first))
    one()
    two = shared(noting(second))
    two()
    before = second.copy()
    one()
    two()
    assert set(first) == set(second) == set(before)


def test_work_inside_of_work_is_done_by_who_does_that() -> None:
    inner = numbers(4)
    run = shared(noting(inner))
    outer = shared([run, lambda: None])
    outer()
    assert set(inner) == {os.getpid()}


@pytest.mark.parametrize("place", [0, 1])
def test_an_index_out_of_range_is_told(place: int) -> None:
    def fail() -> None:
        raise IndexError("class 7 of 3")

    done = numbers(2)
    tasks = noting(done)
    run = shared([*tasks[:place], fail, *tasks[place:]])
    for _ in range(2):
        done[:] = 0
        with pytest.raises(IndexError, match="class 7 of 3"):
            run()
        assert done.all()


def test_another_failure_says_where_it_was() -> None:
    def fail() -> None:
        # Cut where the pipe ends, which is within a letter.
        raise KeyError("x" + "é" * 5000)

    with pytest.raises(RuntimeError, match="KeyError in a process that shared the work: 'xééé"):
        shared([lambda: None, fail])()


def test_a_helper_that_is_killed_is_an_error_and_another_takes_its_place() -> None:
    seen = numbers(2)
    run = shared(noting(seen))
    run()
    os.kill(int(seen[1]), signal.SIGKILL)
    with pytest.raises(HelperGone, match="SIGKILL"):
        run()
    seen[:] = 0
    run()
    assert seen.all()


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = numbers(3)
    run = shared(noting(seen))
    run()
    before = set(seen)
    tell = forked.Helper.tell
    told: list[int] = []

    def interrupted(helper: forked.Helper, number: int, processes: int) -> None:
        if told:
            raise KeyboardInterrupt
        told.append(number)
        tell(helper, number, processes)

    with monkeypatch.context() as patch:
        patch.setattr(forked.Helper, "tell", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run()
    seen[:] = 0
    run()
    assert seen.all()
    assert set(seen) & before == {os.getpid()}


def test_helpers_that_ctrl_c_kept_from_being_ended_go_with_the_work(
    monkeypatch: pytest.MonkeyPatch, all_closed: Callable[[], bool]
) -> None:
    def interrupt(*_: int) -> tuple[int, int]:
        raise KeyboardInterrupt

    seen = numbers(3)
    run = shared(noting(seen))
    run()
    with monkeypatch.context() as patch:
        patch.setattr(os, "waitpid", interrupt)
        with pytest.raises(KeyboardInterrupt):
            helpers.rest()
    del run
    gc.collect()
    for helper in set(seen) - {os.getpid()}:
        with pytest.raises(ProcessLookupError):
            os.kill(int(helper), 0)
    assert all_closed()


def test_helpers_go_with_what_they_were_made_for() -> None:
    seen = numbers(2)
    run = shared(noting(seen))
    run()
    helper = int(seen[1])
    os.kill(helper, 0)
    del run
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(helper, 0)


def test_a_forked_process_has_helpers_of_its_own() -> None:
    text = """
import os
from runtime.programs import helpers, visible
import numpy as np
seen = np.ndarray((4,), np.int64, visible.memory(32))
run = helpers.share([lambda place=place: seen.__setitem__(place, os.getpid()) for place in range(4)], 10**9)
run()
before = seen.copy()
child = os.fork()
if not child:
    run()
    os._exit(0 if not set(seen) & set(before) else 1)
assert os.waitpid(child, 0)[1] == 0
run()
assert seen.tolist() == before.tolist()
"""
    environment = {**os.environ, "DLC_THREADS": "2", "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", text], env=environment, check=True, timeout=300)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "pass"])
def test_helpers_end_with_the_process(end: str) -> None:
    text = f"""
import os
from runtime.programs import helpers, visible
import numpy as np
seen = np.ndarray((3,), np.int64, visible.memory(24))
run = helpers.share([lambda place=place: seen.__setitem__(place, os.getpid()) for place in range(3)], 10**9)
run()
print(*seen, flush=True)
{end}
"""
    # Helpers hold the pipe too: it would stay open for as long as they live.
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=300, check=False)
    processes = [int(word) for word in found.stdout.split()]
    assert len(set(processes)) == 3
    deadline = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{process}") for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_thread_that_goes_on_to_the_very_end_is_left_in_peace() -> None:
    text = """
import os, threading
from runtime.programs import helpers, visible
import numpy as np
seen, begun = np.ndarray((3,), np.int64, visible.memory(24)), threading.Event()
run = helpers.share([lambda place=place: seen.__setitem__(place, os.getpid()) for place in range(3)], 10**9)
def work():
    while True:
        run()
        begun.set()
threading.Thread(target=work, daemon=True).start()
begun.wait()
"""
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=300, check=True)
    assert not found.stderr


MODULE = """
import os
import numpy as np
SIGNATURES = {"f": {"bind": "bind_f", "sizes": (), "inputs": {}, "outputs": {}, "updates": (), "in_parts": True}}
def bind_f(kept, memory, share):
    return share([lambda: None, lambda: os.kill(os.getpid(), 9)], 10**9)
"""


def test_a_program_says_that_a_helper_is_gone() -> None:
    engine = Engine(MODULE, visible.visible({"w": np.zeros(3)}))
    with pytest.raises(DiagnosticError) as caught:
        engine.call("f", {})
    assert caught.value.diagnostics[0].code == "E0820"


def test_what_is_not_visible_is_shared_by_threads() -> None:
    text = MODULE.replace("memory, share", "share").replace(
        "lambda: os.kill(os.getpid(), 9)", "lambda: kept['w'].fill(1)"
    )
    kept = {"w": np.zeros(3)}
    Engine(text, kept).call("f", {})
    assert kept["w"].all()
