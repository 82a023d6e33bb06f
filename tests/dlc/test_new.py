"""dlc new: files that train as they are, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler.diagnostics import Source
from compiler.front.format import format_source


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("template", ["mlp", "conv"])
def test_what_is_written_trains(dlc: Callable[..., Any], template: str) -> None:
    outcome = dlc("new", "my_Net", "--template", template)
    assert outcome.code == 0
    assert outcome.out == "wrote my_Net.dl and my_Net.npz; go on with:\n  dlc check my_Net.dl\n  dlc train my_Net.dl\n"
    text = Path("my_Net.dl").read_text()
    assert "model MyNet(" in text
    assert "train my_net(" in text
    assert "tart" not in text
    assert format_source(Source("my_Net.dl", text)) == text
    assert dlc("check", "my_Net.dl").err == ""
    trained = dlc("train", "my_Net.dl", "--no-export")
    assert trained.code == 0
    assert float(re.findall(r"accuracy (\d\.\d+)", trained.out)[-1]) > 0.9


@pytest.mark.parametrize("present", ["net.dl", "net.npz"])
def test_nothing_is_overwritten(dlc: Callable[..., Any], present: str) -> None:
    Path(present).write_text("mine")
    outcome = dlc("new", "net")
    assert outcome.code == 1
    assert outcome.err.startswith(f"error[E0801]: {present} is there already\n")
    assert [path.name for path in Path().iterdir()] == [present]
    assert Path(present).read_text() == "mine"


@pytest.mark.parametrize("name", ["../net", "a b", "1net", "", "net.dl", "_", "if"])
def test_names_that_cannot_be(dlc: Callable[..., Any], name: str) -> None:
    outcome = dlc("new", name)
    assert outcome.code == 2
    assert "Invalid value for NAME" in outcome.err
    assert list(Path().iterdir()) == []


def test_the_name_of_the_template_itself(dlc: Callable[..., Any]) -> None:
    assert dlc("new", "start").code == 0
    assert dlc("check", "start.dl").code == 0
