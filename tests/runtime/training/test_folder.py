import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.diagnostics import DiagnosticError
from runtime.training.folder import RunFolder, latest_run, open_run

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def failure(name: str = "digits", out: str | None = None, *, resume: bool = False) -> str:
    with pytest.raises(DiagnosticError) as caught:
        open_run(name, out=None if out is None else Path(out), resume=resume)
    return str(caught.value)


def run(out: Path | None = None, *, resume: bool = False, overwrite: bool = False) -> Path:
    """Opens a run of `digits`, leaves a checkpoint and closes it."""
    with open_run("digits", out=out, resume=resume, overwrite=overwrite) as folder:
        folder.checkpoint.touch()
    return folder.path


def test_every_run_gets_its_own_folder() -> None:
    assert [run(), run(), run()] == [Path("runs/digits"), Path("runs/digits-2"), Path("runs/digits-3")]
    assert latest_run("digits") == Path("runs/digits-3")
    assert latest_run("digit") is None


def test_resume_takes_the_last_and_numbers_are_not_used_twice() -> None:
    first, _, third = run(), run(), run()
    (first / "checkpoint.safetensors").unlink()
    assert run(resume=True) == third
    assert run() == Path("runs/digits-4")


def test_runs_that_never_began_leave_their_folder_to_the_next() -> None:
    with open_run("digits"):
        pass
    assert run() == Path("runs/digits")


def test_at_the_same_time() -> None:
    with open_run("digits") as first, open_run("digits") as second:
        assert (first.path, second.path) == (Path("runs/digits"), Path("runs/digits-2"))


def test_a_named_folder_is_not_overwritten_by_chance() -> None:
    assert run(Path("best")) == Path("best")
    assert failure(out="best") == (
        "error[E0803]: best holds a training run already\n"
        "  = help: go on with it (--resume), replace it (--overwrite), or name another folder"
    )
    assert run(Path("best"), resume=True) == Path("best")


@pytest.mark.parametrize("name", ["weights.safetensors", "history.csv", "source.dl"])
def test_files_that_a_run_would_write_over_count_as_one(name: str) -> None:
    for folder in (Path("here"), Path("runs/digits")):
        folder.mkdir(parents=True)
        (folder / name).write_text("precious")
    told = failure(out="here")
    assert "E0803" in told
    assert "it has no checkpoint to go on from: replace it (--overwrite), or name another folder" in told
    assert "E0804" in failure(resume=True)
    assert run() == Path("runs/digits-2")
    assert Path("here", name).read_text() == "precious"


def test_other_files_are_left_alone() -> None:
    Path("here").mkdir()
    Path("here", "notes.txt").write_text("precious")
    assert run(Path("here")) == Path("here")
    assert Path("here", "notes.txt").read_text() == "precious"


def test_overwriting_removes_the_run_before() -> None:
    run(Path("best"))
    for name in ("weights.safetensors", "history.csv", "source.dl", "digits.onnx", "notes.txt"):
        Path("best", name).touch()
    with open_run("digits", out=Path("best"), overwrite=True):
        assert sorted(os.listdir("best")) == [".lock", "notes.txt"]


def test_overwriting_without_a_name_takes_the_last() -> None:
    run()
    second = run()
    assert run(overwrite=True) == second


def test_nothing_to_resume() -> None:
    assert failure(resume=True) == (
        "error[E0804]: there is no checkpoint to resume in runs/digits\n  = help: leave --resume out to begin a new run"
    )
    assert not Path("runs").exists()


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_that_cannot_be_written(out: str) -> None:
    Path("file").touch()
    why = "file exists" if out == "file" else "not a directory"
    assert failure(out=out) == (
        f"error[E0801]: cannot write to the output folder {out}: {why}\n"
        "  = help: name a folder that you may write to, with --out"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission() -> None:
    Path("locked").mkdir(mode=0o500)
    assert "E0801" in failure(out="locked/run")


def test_a_source_that_cannot_be_written() -> None:
    with open_run("digits") as folder:
        folder.save_source("model …\n")
        assert folder.source.read_text(encoding="utf-8") == "model …\n"
        folder.source.unlink()
        folder.source.mkdir()
        with pytest.raises(DiagnosticError, match="E0801"):
            folder.save_source("model")


def test_a_folder_in_use() -> None:
    with open_run("digits", out=Path("best")):
        assert failure(out="best") == (
            "error[E0802]: best is in use by another run\n"
            f"  = note: process {os.getpid()} is training there\n"
            "  = help: wait for it, or name another folder with --out"
        )
    assert os.listdir("best") == []


def test_the_lock_goes_when_its_process_is_killed() -> None:
    imports = "import time; from pathlib import Path; from runtime.training.folder import RunFolder"
    code = f"{imports}; run = RunFolder(Path('best'), 'a')"
    script = f"{code}; Path('best/.digits.onnx.1.tmp').touch(); print('ready', flush=True); time.sleep(600)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(BlockingIOError):
            RunFolder(Path("best"), "a")
        process.send_signal(signal.SIGKILL)
    with RunFolder(Path("best"), "a"):
        assert os.listdir("best") == [".lock"]


def test_closing_twice_is_harmless() -> None:
    folder = open_run("digits")
    folder.close()
    folder.close()
    assert folder.model == Path("runs/digits/digits.onnx")
