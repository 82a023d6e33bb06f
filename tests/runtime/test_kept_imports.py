"""The files that a model file imports are kept with its run: it is loaded, resumed and listed from its folder alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import dlc
from runtime.programs.project import open_project
from runtime.reports.listing import differing, summarise_run
from runtime.reports.report.write import rewrite_report
from runtime.training.folder import holds_run, open_run

MAIN = """\
import "parts/../source.dl"
import "parts/units.dl" as u
import std.mlp

model Net(x: f32[N, 4]) -> f32[N, 2] { u.Unit -> MLP([width], 2) }

train net(x: f32[N, 4], y: i64[N]) {
    minimize cross_entropy(Net(x), y) with adam
    data "table.npz"
    epochs 1
}
"""
UNITS = 'import "../source.dl"\n\nblock Unit(x: [N, D]) { dense(width) -> relu }\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A model file with two others, one of them named as the run folder names the main file."""
    folder = tmp_path / "project"
    (folder / "parts").mkdir(parents=True)
    (folder / "net.dl").write_text(MAIN)
    (folder / "source.dl").write_text("const width = 5\n")
    (folder / "parts" / "units.dl").write_text(UNITS)
    np.savez(folder / "table.npz", x=np.eye(8, 4, dtype=np.float32), y=np.arange(8) % 2)
    return folder


def train(path: Path, out: Path, *, resume: bool = False, epochs: int = 1) -> dlc.Model:
    model = dlc.load(path)
    model.fit(out=out, resume=resume, epochs=epochs)
    return model


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.dl"))}


def test_a_run_is_whole_without_the_files_that_it_was_made_of(project: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = train(project / "net.dl", run)
    moved = tmp_path / "elsewhere"
    shutil.move(run, moved)
    kept = files(moved)
    assert sorted(kept) == ["imports/parts/units.dl", "imports/source.dl", "source.dl"]
    assert kept["source.dl"].startswith('import "imports/source.dl"\nimport "imports/parts/units.dl" as u\n')
    assert kept["imports/parts/units.dl"] == UNITS
    for name in ("net.dl", "source.dl", "parts/units.dl"):
        (project / name).unlink()
    loaded = dlc.load(moved / "source.dl")
    loaded.load_weights(moved)
    x = np.eye(3, 4, dtype=np.float32)
    assert np.array_equal(loaded.predict(x), trained.predict(x))
    loaded.export(tmp_path / "net.onnx")


def test_resuming_from_the_folder_leaves_its_files_as_they_are(project: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(project / "net.dl", run)
    before = files(run)
    train(run / "source.dl", run, resume=True, epochs=2)
    after = files(run)
    assert after.pop("source.dl").replace("epochs 2", "epochs 1") == before.pop("source.dl")
    assert after == before


def test_what_is_no_longer_imported_goes(project: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(project / "net.dl", run)
    (project / "source.dl").rename(project / "sizes.dl")
    for name in ("net.dl", "parts/units.dl"):
        (project / name).write_text((project / name).read_text().replace("source.dl", "sizes.dl"))
    train(project / "net.dl", run, resume=True, epochs=2)
    assert sorted(files(run)) == ["imports/parts/units.dl", "imports/sizes.dl", "source.dl"]


def test_replacing_a_run_removes_its_imports_alone(project: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(project / "net.dl", run)
    notes = run / "imports" / "notes.txt"
    notes.write_text("precious")
    with open_run("net", out=run, overwrite=True):
        assert files(run) == {}
        assert notes.exists()
        assert not (run / "imports" / "parts").exists()
    assert holds_run(run)  # another run would write among these notes


def test_a_link_and_its_file_are_one(project: Path, tmp_path: Path) -> None:
    (project / "link.dl").symlink_to(project / "source.dl")
    (project / "net.dl").write_text('import "link.dl" as sizes\n' + MAIN.replace("[width]", "[sizes.width]"))
    train(project / "net.dl", tmp_path / "run")
    kept = files(tmp_path / "run")
    assert sorted(kept) == ["imports/parts/units.dl", "imports/source.dl", "source.dl"]
    assert kept["source.dl"].startswith('import "imports/source.dl" as sizes\n')
    open_project(tmp_path / "run" / "source.dl")


def test_the_fingerprint_covers_what_is_imported(project: Path) -> None:
    before = open_project(project / "net.dl").fingerprint
    assert open_project(project / "net.dl").fingerprint == before
    (project / "source.dl").write_text("const width = 6\n")
    assert open_project(project / "net.dl").fingerprint != before


def test_runs_differ_in_imported_files_and_reports_show_them(project: Path, tmp_path: Path) -> None:
    train(project / "net.dl", tmp_path / "a")
    (project / "source.dl").write_text("const width = 6\n")
    train(project / "net.dl", tmp_path / "b")
    runs = [summarise_run(tmp_path / name) for name in ("a", "b")]
    assert differing(runs) == {"file imports/source.dl": ["A", "B"]}
    page = rewrite_report(tmp_path / "b").read_text()
    assert "imports/source.dl, which it imports:" in page
    assert "imports/parts/units.dl, which it imports:" in page
