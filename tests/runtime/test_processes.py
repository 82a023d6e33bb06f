"""Training in a process of its own, which gets signals: Ctrl-C, and kill -9 at any moment."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from runtime.disk.tensors import read_tensors, write_tensors
from runtime.training.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
_SECONDS = 300
FILES = ("weights.safetensors", "checkpoint.safetensors", "history.csv")

# Trains into the folder argv[1] for argv[2] epochs, sleeping argv[3] seconds in each step, from a checkpoint if there
# is one; a checkpoint is written after every epoch. "begun" is printed when training goes on, and "batch" after each
# batch of training or validation.
SCRIPT = """
import runpy, sys, time
from functools import partial
from pathlib import Path
import runtime.training.loop
from runtime.training.progress import Silent
from runtime.training.folder import RunFolder
from runtime.data.split import prepare
from runtime.training.loop import Interrupted, Trainer

folder, epochs, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
line = runpy.run_path(sys.argv[4])
runtime.training.loop._SHORT_EPOCH = 0.0

class Slow(Silent):
    def advance(self, samples, figures):
        print("batch", flush=True)
        time.sleep(pause)

program = line["line_program"](epochs=epochs, batch=20)
splits = prepare(program, line["line_data"](50), validate=0.2)
with RunFolder(folder, "line") as run:
    trainer = Trainer(program, partial(line["ReferenceEngine"], program), splits, run=run,
                      resume=run.checkpoint.exists(), progress=Slow())
    print("begun", flush=True)
    try:
        trainer.fit()
    except Interrupted as interrupted:
        print(interrupted, flush=True)
        sys.exit(130)
"""


@contextmanager
def training(folder: Path, epochs: int, pause: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun to train."""
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        str(folder),
        str(epochs),
        str(pause),
        str(ROOT / "tests/runtime/conftest.py"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process


def finish(folder: Path, epochs: int) -> dict[str, bytes]:
    with training(folder, epochs) as process:
        process.communicate(timeout=_SECONDS)
        assert process.returncode == 0
    return {name: (folder / name).read_bytes() for name in FILES}


def test_ctrl_c_ends_in_a_checkpoint_from_which_the_run_goes_on(tmp_path: Path) -> None:
    # So many epochs that it would not end by itself before the signal comes, however late that is.
    with training(tmp_path / "parts", 10_000, pause=0.02) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(7)] == ["batch\n"] * 7
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=_SECONDS)
    assert process.returncode == 130
    assert out.splitlines()[-1].startswith("stopped in epoch ")
    assert sorted(os.listdir(tmp_path / "parts")) == sorted(FILES)
    reached = load_checkpoint(tmp_path / "parts" / FILES[1]).position.step
    assert 0 < reached < 20_000
    epochs = reached // 2 + 3
    assert finish(tmp_path / "parts", epochs) == finish(tmp_path / "whole", epochs)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    folder, epochs = tmp_path / "parts", 2000
    chance, steps, kills = random.Random(0), [0], 0
    # On a busy machine the first ones may come before any step.
    while kills < 4 or (not steps[-1] and kills < 60):
        kills += 1
        with training(folder, epochs) as process:
            time.sleep(chance.uniform(0.0, 0.025 * kills))
            process.send_signal(signal.SIGKILL)
        # Killed before the very first checkpoint, there is none, and not half of one.
        if (folder / FILES[1]).exists():
            steps.append(load_checkpoint(folder / FILES[1]).position.step)
    assert steps == sorted(steps)
    assert steps[-1] > 0
    epochs = steps[-1] // 2 + 3
    assert finish(folder, epochs) == finish(tmp_path / "whole", epochs)
    assert sorted(os.listdir(folder)) == sorted(FILES)


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_process_killed_while_it_writes_leaves_the_file_from_before(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": np.zeros(1000)}, {})
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", DYING, str(path), moment], env=environment, check=False)
    assert done.returncode == (-signal.SIGXFSZ if moment == "write" else -signal.SIGKILL)
    assert len(os.listdir(tmp_path)) == 2
    assert not read_tensors(path)[0]["a"].any()


# Dies while it writes the file argv[1] anew: in the middle of the content, or when it calls argv[2] of `os`.
DYING = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
from runtime.disk.tensors import write_tensors

if sys.argv[2] == "write":
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
else:
    setattr(os, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
write_tensors(Path(sys.argv[1]), {"a": np.ones(1000)}, {})
"""
