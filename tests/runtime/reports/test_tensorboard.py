"""Event files: read back record by record."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from runtime.reports.tensorboard import Events
from runtime.training.history import Row
from runtime.training.progress import Outline, Silent


def test_event_files_hold_every_figure(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    events = Events(tmp_path / "tensorboard", Silent())
    events.start(Outline(2, 1, 20))
    events.advance(10, dict)
    events.epoch(Row(1, 5, {"loss": 0.5, "val.loss": 0.75}))
    events.note("a note")
    events.epoch(Row(2, 10, {"loss": 0.25, "val.loss": 0.5}))
    events.stop()
    (file,) = (tmp_path / "tensorboard").iterdir()
    content, place, found = file.read_bytes(), 0, []
    while place < len(content):
        (length,) = struct.unpack("<Q", content[place : place + 8])
        event = Event.FromString(content[place + 12 : place + 12 + length])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        place += 16 + length
    assert found == [
        ("train/loss", 1, 0.5), ("val/loss", 1, 0.75), ("train/loss", 2, 0.25), ("val/loss", 2, 0.5),
    ]  # fmt: skip
