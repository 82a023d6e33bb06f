"""The README's blocks do what they say: commands give the output shown, Python runs, the model file is the example."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from dlc.cli import cli, main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) ?(.*)\n((?:.*\n)*?)^```$", README, re.MULTILINE)
# Figures of a training are not the same on every processor, nor is the version of ONNX Runtime.
NUMBER = re.compile(r"\d[\d.]*(?:e[+-]?\d+)?")


def blocks(language: str) -> list[str]:
    return [text for found, _, text in BLOCKS if found == language]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples and the named blocks of the README, to work in."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for language, name, text in BLOCKS:
        if language == "dl" and name:
            (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def matches(shown: str, written: str) -> bool:
    """Whether the output is the one shown; a line ``…`` stands for any lines, and figures of a run for any figures."""
    pattern = ""
    for line in shown.splitlines():
        text = NUMBER.sub("#", line) if "loss" in line or "certified" in line else line
        pattern += r"(?:.*\n)*" if line == "…" else re.escape(text) + r"\n"
    masked = [NUMBER.sub("#", line) if "loss" in line or "certified" in line else line for line in written.splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in masked)) is not None


def test_commands_give_what_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One after the other, as a reader types them: later ones need what earlier ones wrote."""
    assert len(blocks("console")) > 3
    for block in blocks("console"):
        command, _, shown = block.partition("\n")
        words = shlex.split(command)
        assert words[:2] == ["$", "dlc"]
        with pytest.raises(SystemExit):
            main(words[2:])
        captured = capsys.readouterr()
        assert matches(shown, captured.out + captured.err), f"{command}\n{captured.out + captured.err}"


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs(block: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "sklearn" in block:
        pytest.importorskip("sklearn")
    exec(compile(block, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert re.search(r"\[[01]\.", shown) if "sklearn" in block else "certified: " in shown


def test_the_model_file_is_the_example() -> None:
    (shown,) = [text for language, name, text in BLOCKS if language == "dl" and not name]
    assert (ROOT / "examples" / "digits.dl").read_text(encoding="utf-8").endswith(shown)


def test_the_table_has_every_command() -> None:
    assert set(re.findall(r"^\| `dlc (\w+)", README, re.MULTILINE)) == set(cli.commands)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_comparison_can_fail() -> None:
    assert matches("loss 1.25\n…\nend\n", "loss 0.5\nany\nend\n")
    assert not matches("loss 1.25\n…\nend\n", "loss\nany\nend\n")
    assert not matches("width 3\n", "width 4\n")
