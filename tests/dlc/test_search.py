"""dlc search as a person sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_search(dlc: Callable[..., Any], net: Path) -> None:
    pytest.importorskip("optuna")
    net.write_text(net.read_text().replace("const units = 4", "const units = 4 in [1, 4, 32]"))
    outcome = dlc("search", net, "--trials", 4, "--epochs", 2)
    assert outcome.code == 0
    assert len(outcome.err.splitlines()) == 4
    head, _, *rows, _, closing = outcome.out.splitlines()
    assert head.split() == ["trial", "units", "val.accuracy"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4"]
    assert sum(row.endswith("*") for row in rows) == 1
    assert closing.startswith("the best is trial ")
    assert "in runs/net-search/trial-" in closing
    assert "--set units=" in closing
    assert dlc("runs", "runs/net-search", "--no-chart").out.count("trial-") == 4
    assert dlc("train", net, "--no-export", "--no-report").code == 0


def test_nothing_to_search_through(dlc: Callable[..., Any], net: Path) -> None:
    pytest.importorskip("optuna")
    outcome = dlc("search", net)
    assert outcome.code == 1
    assert "error[E0811]: net.dl has no constant to search through" in outcome.err
