"""dlc runs and dlc plot: what a person sees of several runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlc.plain_chart import plain_chart


def test_runs_side_by_side(dlc: Callable[..., Any], net: Path) -> None:
    for units in (4, 16):
        assert dlc("train", net, "--set", f"units={units}", "--no-export", "--no-report").code == 0
    Path("runs/broken").mkdir()
    Path("runs/broken/history.csv").write_text("what?")
    outcome = dlc("runs")
    assert (outcome.code, outcome.err) == (0, "")
    head, _, broken, first, second, _, title, *chart = outcome.out.splitlines()
    assert head.split() == [
        "run", "state", "epochs", "val.loss", "val.accuracy", "test.loss", "test.accuracy", "time", "what", "differs",
    ]  # fmt: skip
    assert broken.split() == ["a", "broken", "empty", "0"]
    assert first.split()[:4] == ["b", "net", "finished", "5"]
    assert (first.split()[-1], second.split()[-1]) == ("units=4", "units=16")
    assert (first + second).count("*") == 1
    assert title == "val.accuracy over epochs"
    assert any("b" in line for line in chart)


def test_a_page_of_runs(dlc: Callable[..., Any], net: Path) -> None:
    for units in (4, 16):
        dlc("train", net, "--set", f"units={units}", "--no-export", "--no-report", "--epochs", 2)
    outcome = dlc("runs", "--no-chart", "--html", "compared.html")
    assert (outcome.code, outcome.out.splitlines()[-1]) == (0, "wrote compared.html")
    page = Path("compared.html").read_text()
    assert "2 training runs side by side" in page
    assert "units=16" in page
    for figure in ("val.loss", "val.accuracy"):
        assert f"{figure} over epochs" in page
    assert page.count('class="line first"') == page.count('class="line second"') == 4  # in two charts and two legends
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "error[E0801]" in dlc("runs", "--html", "compared.html/other.html").err


def test_only_some(dlc: Callable[..., Any], net: Path) -> None:
    dlc("train", net, "--no-export", "--no-report", "--epochs", 1)
    outcome = dlc("runs", "runs/net", "--no-chart", "--by", "val.loss")
    assert len(outcome.out.splitlines()) == 3
    outcome = dlc("runs", "--by", "f1")
    assert outcome.code == 2
    assert "no run has a figure f1: there are val.loss, val.accuracy" in outcome.err


def test_no_runs(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("runs")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "there are no runs in runs\n")


def test_plot(dlc: Callable[..., Any], net: Path) -> None:
    pytest.importorskip("matplotlib")
    dlc("train", net, "--no-export", "--no-report", "--epochs", 2)
    assert dlc("plot", "runs/net").out == "wrote runs/net/plots.png\n"
    assert Path("runs/net/plots.png").read_bytes().startswith(b"\x89PNG")
    assert "error[E0804]" in dlc("plot", "runs/none").err


def test_event_files(dlc: Callable[..., Any], net: Path) -> None:
    pytest.importorskip("tensorboardX")
    assert dlc("train", net, "--no-export", "--no-report", "--epochs", 2, "--tensorboard").code == 0
    assert len(list(Path("runs/net/tensorboard").iterdir())) == 1


def test_a_plain_chart() -> None:
    lines = plain_chart([("a", [1, 2, 3], [0.0, 1.0, 2.0]), ("b", [1, 3], [2.0, float("nan")])], 26)
    assert all(len(line) <= 26 for line in lines)
    grid = [line.partition("│")[2] for line in lines[:12]]
    places = {
        letter: [(row, column) for row, line in enumerate(grid) for column, found in enumerate(line) if found == letter]
        for letter in "ab"
    }
    assert len(places["b"]) == 1
    assert places["b"][0][1] == 0
    # The curve has a letter in every column, and rises to where the other one begins.
    assert sorted(column for _, column in places["a"]) == list(range(len(places["a"])))
    assert min(places["a"])[0] == places["b"][0][0]
    assert (11, 0) in places["a"]
