"""Folders that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.diagnostics import DiagnosticError
from runtime.deploy import folder as subject
from runtime.deploy.folder import publish

FILES = {"mark": [b"1"], "inner/deep/file": [b"2", b"3"]}
HELD = {"mark": b"1", "inner/deep/file": b"23"}


def held(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_files_are_there(tmp_path: Path) -> None:
    publish(tmp_path / "new" / "one", FILES, "mark", replace=False)
    assert held(tmp_path) == {f"new/one/{name}": content for name, content in HELD.items()}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    publish(tmp_path / "one", FILES, "mark", replace=False)
    assert held(tmp_path / "one") == HELD


@pytest.mark.parametrize(
    ("prepare", "replace", "sentence"),
    [
        (lambda path: publish(path, FILES, "mark", False), False, "is there already"),
        (lambda path: (path / "letters").mkdir(parents=True), True, "it has no mark"),
        (lambda path: path.write_text("x"), True, "is there and no folder"),
        (lambda path: path.symlink_to(path.parent), True, "is there and no folder"),
    ],
)
def test_what_is_there_stays(tmp_path: Path, prepare, replace: bool, sentence: str) -> None:  # type: ignore[no-untyped-def]
    prepare(tmp_path / "one")
    before = held(tmp_path)
    with pytest.raises(DiagnosticError, match=sentence) as caught:
        publish(tmp_path / "one", {"mark": b"new"}, "mark", replace)
    assert caught.value.diagnostics[0].code == "E0940"
    assert held(tmp_path) == before


def test_an_earlier_one_is_replaced_whole(tmp_path: Path) -> None:
    publish(tmp_path / "one", FILES, "mark", replace=False)
    publish(tmp_path / "one", {"mark": [b"new"]}, "mark", replace=True)
    assert held(tmp_path) == {"one/mark": b"new"}


@pytest.mark.parametrize("replace", [False, True])
def test_a_disk_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    if replace:
        publish(tmp_path / "one", FILES, "mark", replace=False)
    before = held(tmp_path)

    def full(path: Path, *content: bytes) -> None:
        if path.name == "file":
            raise OSError(28, "No space left on device")
        path.write_bytes(b"".join(content))

    monkeypatch.setattr(subject, "write_bytes", full)
    with pytest.raises(DiagnosticError, match="no space left on device"):
        publish(tmp_path / "one", FILES, "mark", replace)
    assert held(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == (["one"] if replace else [])
