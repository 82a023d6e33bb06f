"""dlc report, and the report that dlc train leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_train_leaves_one_and_report_makes_it_anew(dlc: Callable[..., Any], net: Path) -> None:
    assert dlc("train", net).code == 0
    path = Path("runs/net/report.html")
    before = path.read_bytes()
    path.unlink()
    outcome = dlc("report", "runs/net")
    assert (outcome.code, outcome.out, outcome.err) == (0, "wrote runs/net/report.html\n", "")
    assert path.read_bytes() == before


def test_train_can_do_without(dlc: Callable[..., Any], net: Path) -> None:
    assert dlc("train", net, "--no-report").code == 0
    assert not Path("runs/net/report.html").exists()


def test_no_run(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("report", "runs/none")
    assert outcome.code == 1
    assert "error[E0804]: runs/none holds no training run" in outcome.err
