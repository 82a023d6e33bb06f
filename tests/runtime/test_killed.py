"""A process that is killed at any moment, or whose disk is full, leaves a run that goes on as if nothing had happened.

Each run is killed a few times here; ``DLC_KILLS=50 pytest tests/runtime/test_killed.py`` kills it more often.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from runtime.training.checkpoint import load_checkpoint

KILLS = int(os.environ.get("DLC_KILLS", "2"))
CHECKPOINT = Path("run", "checkpoint.safetensors")
STEPS = 60 * 20
FILES = ("weights.safetensors", "checkpoint.safetensors", "history.csv")
NET = """\
model Net(x: f32[N, 6, 6]) -> f32[N, 3] { flatten -> dense(32) -> batch_norm -> relu -> dropout(0.2) -> dense(3) }

train net(x: f32[N, 6, 6], label: i64[N]) {
    minimize cross_entropy(x -> random_shift(1) -> random_noise(0.1) -> Net, label)
      with adamw(cosine(1e-2, warmup=5%))
    measure accuracy(Net(x), label)
    data "net.npz"
    validate 20%
    batch 16
    epochs 60
    stop val.loss patience 60
    average 0.99
    keep 3
}
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file with data."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    images = rng.normal(size=(400, 6, 6)) + labels[:, None, None]
    np.savez(tmp_path / "net.npz", x=images.astype(np.float32), label=labels)
    (tmp_path / "net.dl").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "net.dl"


def command(*more: str) -> list[str]:
    return [sys.executable, "-m", "dlc", "train", "net.dl", "--no-export", "--no-report", "--out", "run", *more]


def test_killed_runs_go_on_and_end_as_if_they_had_not_been(net: Path) -> None:
    """The moments are those of a clock, so that no two runs of this test are killed at the same ones; whatever they
    are, what comes out is the same."""
    begun = time.perf_counter()
    subprocess.run([*command()[:-2], "--out", "whole"], check=True, capture_output=True)
    whole = time.perf_counter() - begun
    step = 0
    for _ in range(KILLS):
        with subprocess.Popen(command(*again()), stdout=subprocess.DEVNULL) as process:
            time.sleep(random.uniform(0.1, 0.8) * whole)
            process.kill()
        reached = load_checkpoint(CHECKPOINT).position.step if CHECKPOINT.exists() else 0
        assert reached >= step  # nothing is lost past the last checkpoint
        step = reached
        if step == STEPS:
            end_like_the_whole()
            shutil.rmtree("run")
            step = 0
    end_like_the_whole()


def again() -> list[str]:
    """What to add to the command. Killed before the first checkpoint, a run may have left its model file."""
    return ["--resume"] if CHECKPOINT.exists() else ["--overwrite"]


def end_like_the_whole() -> None:
    subprocess.run(command(*again()), check=True, capture_output=True)
    for name in FILES:
        assert Path("run", name).read_bytes() == Path("whole", name).read_bytes()
    assert sorted(path.name for path in Path("run").iterdir()) == sorted(path.name for path in Path("whole").iterdir())


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_disk_that_is_full_in_the_middle_of_a_checkpoint_leaves_the_one_before(net: Path, share: float) -> None:
    """No file may grow beyond a share of the checkpoint's size, so that writing it fails where a full disk would."""
    subprocess.run(command("--epochs", "3", "--time", "0.000001s"), check=True, capture_output=True)
    folder = Path("run")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    limit = int(share * len(before["checkpoint.safetensors"]))
    arguments = command("--resume", "--epochs", "3")[3:]
    script = f"""if True:
        import resource
        from dlc.cli import main
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        main({arguments})
    """
    failed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "error[E08" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert (folder / "checkpoint.safetensors").read_bytes() == before["checkpoint.safetensors"]
    assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]
    subprocess.run(command("--resume", "--epochs", "3"), check=True, capture_output=True)
    assert load_checkpoint(folder / "checkpoint.safetensors").position.step == 60
