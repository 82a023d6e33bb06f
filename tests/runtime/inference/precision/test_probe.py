"""Whether a file crashes what loads it."""

import pytest

from runtime.inference.precision import probe


def test_a_file_that_is_refused_crashes_nothing() -> None:
    assert probe.survives(b"no model")


def test_a_crash_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_LOAD", "import os; os.abort()")
    assert not probe.survives(b"")
