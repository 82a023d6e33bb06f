"""Searches: the same trials each time, the best one kept, and what can't be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from compiler.program import SearchSpace
from runtime.reports.listing import settings_of
from runtime.training.job import Changes
from runtime.training.search import Search, Trial, search

TEXT = """\
const rate = 1e-3 in 1e-4 .. 1e-1 log
const units = 4 in 2 .. 16
const last = "relu" in ["relu", "tanh"]

model Net(x: f32[N, 3]) -> f32[N, 2] {
    dense(units)
    if last == "relu" { relu } else { tanh }
    dense(2)
}

train net(x: f32[N, 3], y: i64[N]) {
    minimize cross_entropy(Net(x), y) with adam(rate)
    measure accuracy(Net(x), y)
    data "net.npz"
    validate 20%
    epochs 3
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pytest.importorskip("optuna")
    x = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    np.savez(tmp_path / "net.npz", x=x, y=(x[:, 0] > x[:, 1]).astype(np.int64))
    (tmp_path / "net.dl").write_text(TEXT)
    return tmp_path / "net.dl"


def searched(file: Path, out: str, trials: int = 6, **options: Any) -> list[tuple[Trial, str, bool]]:
    fixed = options.pop("fixed", {})
    return list(search(Search(file, None, fixed, Changes(), trials, file.parent / out, **options)))


def test_trials(file: Path) -> None:
    found = searched(file, "a")
    assert [trial.number for trial, _, _ in found] == [1, 2, 3, 4, 5, 6]
    assert found[0][0].constants == {"rate": "0.001", "units": "4", "last": '"relu"'}
    assert {figure for _, figure, _ in found} == {"val.accuracy"}
    for trial, _, _ in found:
        assert 1e-4 <= float(trial.constants["rate"]) <= 1e-1
        assert 2 <= int(trial.constants["units"]) <= 16
        assert settings_of(trial.folder / "source.dl")["rate"] == trial.constants["rate"]
    best = [trial for trial, _, ahead in found if ahead][-1]
    assert best.figure == max(trial.figure or 0 for trial, _, _ in found)
    heavy = [trial.number for trial, _, _ in found if (trial.folder / "weights.safetensors").exists()]
    assert heavy == [best.number]
    assert all((trial.folder / "history.csv").exists() for trial, _, _ in found)


def test_the_same_search_makes_the_same_trials(file: Path) -> None:
    first, second = ([(t.constants, t.figure) for t, _, _ in searched(file, out, 4)] for out in ("a", "b"))
    assert first == second


def test_less_of_a_loss_is_better(file: Path) -> None:
    found = searched(file, "a", 4, figure="val.loss")
    assert [trial for trial, _, ahead in found if ahead][-1].figure == min(trial.figure or 9 for trial, _, _ in found)


def test_numbers_out_of_hand_are_no_end(file: Path) -> None:
    text = TEXT.replace("1e-3 in 1e-4 .. 1e-1 log", "1e30 in [1e30, 1e-2]").replace("adam(rate)", "sgd(rate)")
    file.write_text(text)
    found = searched(file, "a", 8, fixed={"units": "4", "last": '"relu"'})
    figures = {trial.constants["rate"]: trial.figure for trial, _, _ in found}
    assert figures["1e+30"] is None
    assert figures["0.01"] is not None


def test_what_is_no_search(file: Path) -> None:
    fixed = {"rate": "1e-3", "units": "4", "last": '"relu"'}
    with pytest.raises(DiagnosticError, match=r"E0811.*has no constant to search through"):
        searched(file, "a", fixed=fixed)
    with pytest.raises(DiagnosticError, match=r"E0509.*has no figure f1"):
        searched(file, "a", figure="f1")
    with pytest.raises(DiagnosticError, match=r"E0803.*holds something already"):
        searched(file, "a")


def test_spaces() -> None:
    found = compiler.check(Source("net.dl", TEXT.replace('data "net.npz"', ""))).elaborated.spaces
    assert found == {
        "rate": SearchSpace((), 1e-4, 1e-1, whole=False, logarithmic=True),
        "units": SearchSpace((), 2, 16, whole=True),
        "last": SearchSpace(("relu", "tanh")),
    }


def test_words_of_ranges_are_names_elsewhere_and_dots_need_no_spaces() -> None:
    text = "const log = 2\nconst in = log\nconst half = .5 in .25...75\nconst n = 3 in 1..in + log\n"
    found = compiler.check(Source("net.dl", text)).elaborated
    assert found.constants == {"log": 2, "in": 2, "half": 0.5, "n": 3}
    assert found.spaces == {"half": SearchSpace((), 0.25, 0.75), "n": SearchSpace((), 1, 4, whole=True)}
