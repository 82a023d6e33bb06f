"""Fingerprints of data: another content is noticed, whatever the data is kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from runtime.data import columns, fingerprint
from runtime.data.batches import DataSet
from runtime.data.columns import Column, Windows
from runtime.data.filerows import FileRows
from runtime.data.fingerprint import fingerprint_of
from runtime.data.readers.images import Pictures
from runtime.data.split import Splits
from runtime.programs.project import project_of_text
from runtime.training.folder import RunFolder
from runtime.training.job import make_job

CHARACTERS = """
model Net(tokens: u8[N, T]) -> f32[N, T, 256] { cast(i64) -> embed(256, 4) -> dense(256) }
train net(tokens: u8[N, T], targets: u8[N, T]) {
    minimize cross_entropy(Net(tokens), targets) with adam
    data text("some.txt", unit=bytes, window=8)
    steps STEPS
}
"""


def of(array: Any, validation: Any = None) -> str:
    sets = [None if one is None else DataSet({"x": one}, np.arange(len(one))) for one in (array, validation)]
    assert sets[0] is not None
    return fingerprint_of(Splits(sets[0], sets[1]))


def test_every_element_of_an_array_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(300, dtype=np.float32).reshape(100, 3)
    before = of(array)
    assert of(array.copy()) == before
    assert of(array[:, ::-1]) != before
    assert of(array.astype(np.float64)) != before
    assert of(array.reshape(50, 6)) != before
    for place in ((0, 0), (57, 1), (99, 2)):
        other = array.copy()
        other[place] += 1
        assert of(other) != before
        assert of(array, other) not in (before, of(array, array.copy()))
    monkeypatch.setattr(fingerprint, "_WHOLE", 600)
    monkeypatch.setattr(fingerprint, "_PIECES", 10)
    assert of(array) == of(array.copy()) != of(np.roll(array, 1))


def test_of_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = np.frombuffer(b"some words that are windows", np.uint8)
    assert of(Windows(text, 4)) != of(Windows(np.frombuffer(b"some words that ARE windows", np.uint8), 4))
    rows = np.arange(400, dtype=np.int32).reshape(200, 2)
    found = []
    for name, added in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).write_bytes((rows + added).tobytes())
        found.append(of(FileRows(tmp_path / name, 0, rows.shape, rows.dtype)))
    assert found[0] == found[1] != found[2]
    asked: list[int] = []
    monkeypatch.setattr(columns, "gather", lambda source, which: asked.extend(which) or rows[which])

    class Slow(Column):
        def take(self, rows: Any, out: Any) -> None:
            raise AssertionError("gather is asked")

    of(Slow((200, 2), rows.dtype))
    assert len(asked) == columns._LOOKED_AT
    assert asked[0] == 0
    assert asked[-1] == 199


def test_of_pictures_their_files_count(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path in paths:
        path.write_bytes(b"content")
    before = of(Pictures(paths, (2, 4, 4), 1, None))
    assert of(Pictures(paths, (2, 4, 4), 1, None)) == before
    paths[1].write_bytes(b"another one")
    assert of(Pictures(paths, (2, 4, 4), 1, None)) != before


def test_a_run_does_not_go_on_with_another_text(tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("a text that is long enough to be cut into windows " * 4)
    for steps in ("5", "9"):
        job = make_job(project_of_text(CHARACTERS.replace("STEPS", steps), tmp_path))
        with RunFolder(tmp_path / "run", "net") as run:
            job.trainer(job.prepare(), run=run, resume=run.checkpoint.exists()).fit()
    (tmp_path / "some.txt").write_text("A text that is long enough to be cut into windows " * 4)
    with RunFolder(tmp_path / "run", "net") as run, pytest.raises(DiagnosticError) as refused:
        job.trainer(job.prepare(), run=run, resume=True)
    assert "E0807" in str(refused.value)
    assert "the data itself: its content is not what it was" in str(refused.value)
