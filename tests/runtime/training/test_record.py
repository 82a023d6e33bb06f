"""The record of a run: kept up to date, read back, never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.environment import environment
from runtime.training.folder import RunFolder
from runtime.training.history import Row
from runtime.training.progress import Outline, Silent
from runtime.training.record import Record, Recording, load_record, save_record


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(path: Path, *, resume: bool = False, first: int = 1, fail: bool = False) -> Recording:
    clock = Clock()
    with (
        RunFolder(path, "net") as folder,
        Recording(folder, {"train": 10}, Silent(), resume=resume, clock=clock) as recording,
    ):
        recording.start(Outline(2, first, 20))
        written = load_record(path / "run.json")
        assert written is not None
        assert (written.status, written.block) == ("unfinished", "net")
        for epoch in (first, first + 1):
            clock.now += epoch
            recording.epoch(Row(epoch, epoch, {"loss": 1.0}))
        recording.stop()
        if fail:
            raise KeyboardInterrupt
        recording.note_results({"test.loss": float("inf")})
        recording.note_export(Path("there/net.onnx"), "certified")
    return recording


def test_what_it_keeps(tmp_path: Path) -> None:
    record = run(tmp_path).record
    assert load_record(tmp_path / "run.json") == record
    assert record.seconds == {1: 1.0, 2: 2.0}
    assert record.duration == 3.0
    assert record.status == "finished"
    assert record.exports == {"net.onnx": "certified"}
    assert record.environment == environment()
    assert {"dlc", "Python", "NumPy", "processor"} <= record.environment.keys()


def test_a_resumed_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, fail=True)
    before = load_record(tmp_path / "run.json")
    assert before is not None
    assert (before.status, before.seconds) == ("unfinished", {1: 1.0, 2: 2.0})
    after = run(tmp_path, resume=True, first=3).record
    assert after.seconds == {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}
    assert (after.started, after.status) == (before.started, "finished")


def test_a_run_that_never_began_leaves_the_record_alone(tmp_path: Path) -> None:
    save_record(tmp_path / "run.json", Record("net", results={"test.loss": 0.5}))
    with (
        pytest.raises(ValueError, match="before"),
        RunFolder(tmp_path, "net") as folder,
        Recording(folder, {}, Silent(), resume=True),
    ):
        raise ValueError("before the first step")
    record = load_record(tmp_path / "run.json")
    assert record is not None
    assert record.results == {"test.loss": 0.5}


@pytest.mark.parametrize("text", [None, "", "{", "[1]", '{"format": 2}', '{"format": 1, "block": "a"}', "\0" * 50])
def test_what_is_no_record(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    assert load_record(tmp_path / "run.json") is None
