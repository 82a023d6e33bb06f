"""Plots as files, and libraries that are not there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from compiler.diagnostics import DiagnosticError
from runtime.extras import needs
from runtime.reports.listing import summarise_run
from runtime.reports.plots import save_plots

HISTORY = "epoch,step,loss,val.loss,accuracy\n1,2,1.0,1.5,0.5\n2,4,0.01,nan,0.75\n"


def run(path: Path, history: str = HISTORY) -> Any:
    path.mkdir()
    (path / "history.csv").write_text(history)
    return summarise_run(path)


@pytest.mark.parametrize(("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_formats(tmp_path: Path, suffix: str, begin: bytes) -> None:
    pytest.importorskip("matplotlib")
    runs = [run(tmp_path / "a"), run(tmp_path / "b", "epoch,step,loss\n1,1,0.5\n"), run(tmp_path / "c", "")]
    save_plots(runs, tmp_path / "there" / f"plots.{suffix}")
    assert (tmp_path / "there" / f"plots.{suffix}").read_bytes().startswith(begin)
    if suffix == "png":
        with pytest.importorskip("PIL.Image").open(tmp_path / "there" / "plots.png") as image:
            assert image.size == (1300, 468)


def test_what_can_not_be_plotted(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match=r"E0404.*plots\.txt is no name for a plot"):
        save_plots([], tmp_path / "plots.txt")
    with pytest.raises(DiagnosticError, match=r"E0804.*no run has finished an epoch"):
        save_plots([run(tmp_path / "a", "")], tmp_path / "plots.png")


def test_a_library_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing("matplotlib"), *sys.meta_path])
    with pytest.raises(DiagnosticError) as caught:
        save_plots([run(tmp_path / "a")], tmp_path / "plots.png")
    assert str(caught.value) == (
        "error[E0810]: drawing plots needs matplotlib, which is not installed\n  = help: pip install 'dlc[plots]'"
    )
    with pytest.raises(ModuleNotFoundError), needs("numpy", "plots", "nothing"):
        from matplotlib import figure  # noqa: F401


class Missing:
    """Finds no module of a package, as where it is not installed."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
