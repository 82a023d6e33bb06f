"""Runs side by side: whole ones, those that did not end, and folders in which anything may be broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.reports.listing import differing, figure_names, find_runs, main_figure, settings_of, summarise_run
from runtime.training.folder import RunFolder
from runtime.training.record import Record, save_record

SOURCE = """\
const rate = {rate}

model Net(x: f32[N, 2]) -> f32[N, 1] {{ dense({units}) -> dense(1) }}

train net(x: f32[N, 2], y: f32[N, 1]) {{
    minimize mse(Net(x), y) with adam(rate)   # a comment
    minimize mae(Net(x), y) with sgd
    epochs 5
}}
"""


def run(path: Path, *, rate: float = 0.1, units: int = 4, history: str = "", record: Record | None = None) -> Path:
    path.mkdir(parents=True)
    (path / "source.dl").write_text(SOURCE.format(rate=rate, units=units))
    (path / "history.csv").write_text(
        history or "epoch,step,loss,val.loss,val.r2\n1,2,0.5,0.5,0.1\n2,4,0.25,0.75,nan\n"
    )
    if record:
        save_record(path / "run.json", record)
    return path


def test_a_run(tmp_path: Path) -> None:
    record = Record(
        "net", status="finished", seconds={1: 0.5, 2: 0.25}, results={"test.r2": 0.25}, better={"r2": "higher"}
    )
    found = summarise_run(run(tmp_path / "net", record=record))
    assert (found.state, len(found.history)) == ("finished", 2)
    assert [found.better(name) for name in ("val.r2", "test.r2", "loss", "rmse", "anything")] == [
        "higher", "higher", "lower", "lower", "higher",
    ]  # fmt: skip
    best = {name: row.epoch if (row := found.best(name)) else None for name in ("loss", "val.loss", "val.r2", "no")}
    assert best == {"loss": 2, "val.loss": 1, "val.r2": 1, "no": None}
    assert found.settings["rate"] == "0.1"
    assert found.settings["epochs"] == "5"
    assert found.settings["minimize"] == "mse(Net(x), y) with adam(rate); mae(Net(x), y) with sgd"


def test_what_differs(tmp_path: Path) -> None:
    run(tmp_path / "net", rate=0.1)
    run(tmp_path / "net-2", rate=0.2, units=8)
    run(tmp_path / "net-10", rate=0.1, units=8)
    (run(tmp_path / "net-3") / "source.dl").write_text("model (")
    found = find_runs([tmp_path])
    assert [item.path.name for item in found] == ["net", "net-2", "net-3", "net-10"]
    assert differing(found) == {"rate": ["0.1", "0.2", "", "0.1"], "model Net": ["A", "B", "", "B"]}
    assert main_figure(found) == "val.r2"
    assert figure_names(found) == ["val.loss", "val.r2"]


def test_folders_and_runs_may_be_named_and_count_once(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a" / "net"), run(tmp_path / "b" / "net")
    found = find_runs([tmp_path / "a", first, second, tmp_path / "none"])
    assert [item.path for item in found] == [first, second]
    assert find_runs([tmp_path / "none"]) == []


def test_a_run_at_work(tmp_path: Path) -> None:
    path = run(tmp_path / "net", record=Record("net"))
    assert summarise_run(path).state == "unfinished"
    with RunFolder(path, "net"):
        assert summarise_run(path).state == "running"
    assert summarise_run(path).state == "unfinished"


@pytest.mark.parametrize("name", ["source.dl", "history.csv", "run.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"{]", b"epoch,step\n1", None])
def test_whatever_is_broken_it_is_listed(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = run(tmp_path / "net", record=Record("net", status="finished"))
    (path / name).unlink()
    if content is None:
        (path / name).mkdir()
    else:
        (path / name).write_bytes(content)
    (found,) = find_runs([tmp_path])
    assert found.path == path
    assert found.state in ("finished", "unfinished")


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").touch()
    assert find_runs([tmp_path]) == []
    assert settings_of(tmp_path / "none") == {}
