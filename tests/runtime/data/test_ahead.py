"""Batches that are made ahead of their use: the same ones in the same order, and nothing is left running."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlc
from compiler.diagnostics import DiagnosticError
from runtime.data import memory
from runtime.data.ahead import Ahead
from runtime.data.batches import Batches, DataSet
from runtime.data.columns import Column
from runtime.data.order import Rows

VALUES = np.arange(40, dtype=np.float32).reshape(20, 2)


class Slow(Column):
    """The rows of ``VALUES``, and in which thread they were asked for."""

    def __init__(self, bad: int | None = None) -> None:
        super().__init__(VALUES.shape, VALUES.dtype)
        self.threads: list[str] = []
        self.bad = bad

    def take(self, rows: Rows, out: np.ndarray[Any, Any]) -> None:
        self.threads.append(threading.current_thread().name)
        if self.bad in rows:
            raise OSError("the disk is gone")
        out[...] = VALUES[rows]


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dlc-ahead")]


def test_the_same_batches_in_the_same_order() -> None:
    slow = Slow()
    rows = np.arange(20)[::-1].copy()
    ahead = Batches(DataSet({"x": slow}, rows), 3, seed=5)
    plain = Batches(DataSet({"x": VALUES}, rows), 3, seed=5)
    for epoch in (1, 2, 4):
        for index in range(len(plain)):
            np.testing.assert_array_equal(ahead.at(epoch, index)["x"], plain.at(epoch, index)["x"])
    assert slow.threads[0] == "MainThread"
    assert slow.threads.count("MainThread") == 2  # the very first, and where an epoch was left out
    ahead.close()
    assert not running()


def test_a_batch_stays_while_the_next_is_made() -> None:
    batches = Batches(DataSet({"x": Slow()}, np.arange(20)), 4, seed=None)
    kept = batches.at(0, 0)["x"]
    batches._ahead._next[1].result()  # type: ignore[union-attr, index]
    np.testing.assert_array_equal(kept, VALUES[:4])
    batches.close()


def test_what_fails_ahead_fails_when_it_is_asked_for() -> None:
    batches = Batches(DataSet({"x": Slow(bad=5)}, np.arange(20)), 4, seed=None)
    np.testing.assert_array_equal(batches.at(0, 0)["x"], VALUES[:4])
    with pytest.raises(OSError, match="the disk is gone"):
        batches.at(0, 1)
    np.testing.assert_array_equal(batches.at(0, 2)["x"], VALUES[8:12])
    batches.close()


def test_one_pass_ends_its_thread() -> None:
    batches = Batches(DataSet({"x": Slow()}, np.arange(20)), 8, seed=None)
    assert [len(batch["x"]) for batch in batches.once()] == [8, 8, 4]
    assert not running()


def test_never_two_at_a_time() -> None:
    at_work, most, gate = 0, 0, threading.Event()

    def make(key: int, place: int) -> int:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        if key == 1:
            gate.wait(5)
        at_work -= 1
        return key

    ahead = Ahead(make, lambda key: key + 1)
    assert ahead.get(0) == 0
    threading.Timer(0.05, gate.set).start()
    assert ahead.get(7) == 7
    assert ahead.get(8) == 8
    ahead.close()
    assert most == 1
    assert ahead.get(3) == 3
    ahead.close()


def test_without_room_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.submit", refused)
    batches = Batches(DataSet({"x": Slow()}, np.arange(20)), 8, seed=None)
    np.testing.assert_array_equal(np.concatenate([batch["x"].copy() for batch in batches.once()]), VALUES)


MODEL = """\
model Net(x: f32[N, 2]) -> f32[N, 1] { dense(4) -> tanh -> dropout(0.2) -> dense(1) }

train net(x: f32[N, 2], y: f32[N, 1]) {
    minimize mse(Net(x), y) with adam(0.01)
    data "table.npz"
    validate 20%
    epochs 3
    batch 7
}
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    np.savez("table.npz", x=x, y=x[:, :1] - x[:, 1:])
    return tmp_path / "table.npz"


def trained() -> tuple[dict[str, np.ndarray[Any, Any]], str]:
    model = dlc.loads(MODEL)
    history = model.fit().csv()
    return model.weights, history


def test_a_run_from_the_file_is_the_run_from_memory(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, history = trained()
    monkeypatch.setattr(memory, "_HELD", 0)
    rows, again = trained()
    assert again == history
    for name, weight in whole.items():
        np.testing.assert_array_equal(rows[name], weight)
    assert not running()


def test_numbers_in_the_file_are_checked_before_training(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((50, 2), np.float32)
    x[31, 1] = np.nan
    np.savez(table, x=x, y=x[:, :1])
    monkeypatch.setattr(memory, "_HELD", 0)
    with pytest.raises(DiagnosticError, match="E0610") as caught:
        dlc.loads(MODEL).fit()
    assert "row 31 is the first" in str(caught.value)
