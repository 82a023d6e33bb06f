"""dlc fmt: what it writes, what it leaves alone, and how it ends."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

UGLY = "model A(x:f32[N,3]){\n  dense(2)   # two\n\n\n\n  relu}\n"
NEAT = "model A(x: f32[N, 3]) {\n    dense(2)  # two\n\n    relu\n}\n"
DIFFERENCE = """\
--- a.dl
+++ a.dl (dlc fmt)
@@ -1,6 +1,5 @@
-model A(x:f32[N,3]){
-  dense(2)   # two
+model A(x: f32[N, 3]) {
+    dense(2)  # two

-
-
-  relu}
+    relu
+}
""".replace("\n\n", "\n \n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a.dl").write_text(UGLY)
    return tmp_path


def test_a_file_is_laid_out_and_named(dlc: Callable[..., Any], folder: Path) -> None:
    outcome = dlc("fmt", "a.dl")
    assert (outcome.code, outcome.out, outcome.err) == (0, "a.dl\n", "")
    assert Path("a.dl").read_text() == NEAT
    assert [path.name for path in folder.iterdir()] == ["a.dl"]
    again = dlc("fmt", "a.dl")
    assert (again.code, again.out, again.err) == (0, "", "")


def test_check_shows_the_difference_and_writes_nothing(dlc: Callable[..., Any], folder: Path) -> None:
    outcome = dlc("fmt", "--check", "a.dl")
    assert (outcome.code, outcome.out) == (1, DIFFERENCE)
    assert Path("a.dl").read_text() == UGLY
    Path("a.dl").write_text(NEAT)
    assert dlc("fmt", "--check", "a.dl").code == 0


def test_diff_is_not_a_failure(dlc: Callable[..., Any], folder: Path) -> None:
    outcome = dlc("fmt", "--diff", "a.dl")
    assert (outcome.code, outcome.out) == (0, DIFFERENCE)


def test_a_missing_newline_at_the_end_is_a_difference(dlc: Callable[..., Any], folder: Path) -> None:
    Path("a.dl").write_text("const a = 1")
    assert dlc("fmt", "--check", "a.dl").out.endswith("-const a = 1\n\\ No newline at end of file\n+const a = 1\n")


def test_folders_and_several_files(dlc: Callable[..., Any], folder: Path) -> None:
    for name in ("models/b.dl", "models/deep/c.dl", "models/.git/d.dl", "models/runs/a/e.dl", "models/notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(UGLY)
    outcome = dlc("fmt", "models", "a.dl", "models/b.dl")
    assert outcome.out.splitlines() == [str(Path(name)) for name in ("models/b.dl", "models/deep/c.dl", "a.dl")]
    assert outcome.err == "3 of 3 files changed\n"
    assert Path("models/.git/d.dl").read_text() == UGLY
    assert Path("models/runs/a/e.dl").read_text() == UGLY


def test_files_with_errors_are_reported_and_left_alone(dlc: Callable[..., Any], folder: Path) -> None:
    broken = "model  A(x: f32[N]) {\n  relu(\n}\n"
    Path("b.dl").write_text(broken)
    outcome = dlc("fmt", "b.dl", "a.dl", "none.dl")
    assert (outcome.code, outcome.out) == (1, "a.dl\n")
    assert "error[E0104]" in outcome.err
    assert "there is no file none.dl" in outcome.err
    assert outcome.err.endswith("1 of 3 files changed; 2 with errors left alone\n")
    assert Path("b.dl").read_text() == broken


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_permissions_and_links_stay(dlc: Callable[..., Any], folder: Path) -> None:
    Path("a.dl").chmod(0o640)
    Path("link.dl").symlink_to("a.dl")
    assert dlc("fmt", "link.dl").code == 0
    assert Path("link.dl").is_symlink()
    assert Path("a.dl").read_text() == NEAT
    assert Path("a.dl").stat().st_mode & 0o777 == 0o640


def test_line_ends_and_byte_order_marks_go(dlc: Callable[..., Any], folder: Path) -> None:
    Path("a.dl").write_bytes(b"\xef\xbb\xbf" + UGLY.replace("\n", "\r\n").encode())
    assert dlc("fmt", "a.dl").code == 0
    assert Path("a.dl").read_bytes() == NEAT.encode()


@pytest.mark.parametrize(("options", "code", "out"), [([], 0, NEAT), (["--check"], 1, None)])
def test_stdin(
    dlc: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, options: list[str], code: int, out: str | None
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(UGLY.encode())))
    outcome = dlc("fmt", *options, "-")
    assert outcome.code == code
    assert outcome.out == (out or DIFFERENCE.replace("a.dl", "-"))
