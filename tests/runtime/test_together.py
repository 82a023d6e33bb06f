"""Several trainings in one process, and inference beside them: each does what it does alone."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlc
from compiler.targets.numpy import sharing
from runtime.programs import blas, helpers

TEXT = """
model Net(x: f32[N, 1, 6, 6]) -> f32[N, 3] {
    conv(4, 3) -> batch_norm -> relu -> flatten -> dropout(0.3) -> dense(3)
}
train t(x: f32[N, 1, 6, 6], label: i64[N]) {
    minimize cross_entropy(Net(x), label) with adam(0.01)
    batch 16
    epochs 3
    seed SEED
}
"""


@pytest.fixture(autouse=True)
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps run in parts, by two processes: whichever training comes first has the helper."""
    monkeypatch.setattr(sharing, "LEAST_WORK", {4: 1, 2: 1})
    monkeypatch.setattr(helpers, "_WORTH", 0)
    monkeypatch.setattr(helpers, "_SURE", 0)
    monkeypatch.setattr(blas, "_IN_FLIGHT", 0.0)
    monkeypatch.setenv("DLC_THREADS", "2")


def trained(seed: int, **more: Any) -> bytes:
    """The weights after a training, compiling included."""
    random = np.random.default_rng(seed)
    data = {"x": random.normal(size=(70, 1, 6, 6)).astype(np.float32), "label": random.integers(0, 3, 70)}
    model = dlc.loads(TEXT.replace("SEED", str(seed)))
    model.fit(data, **more)
    return b"".join(array.tobytes() for _, array in sorted(model.weights.items()))


def at_once(*tasks: Callable[[], object]) -> list[object]:
    """What the tasks give, each on a thread of its own; they begin together."""
    begin = threading.Barrier(len(tasks), timeout=60)
    found: list[object] = [None] * len(tasks)

    def run(number: int) -> None:
        begin.wait()
        try:
            found[number] = tasks[number]()
        except BaseException as problem:  # shown by the comparison
            found[number] = problem

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_two_trainings_at_once_give_what_each_gives_alone() -> None:
    alone = [trained(0), trained(1)]
    assert at_once(lambda: trained(0), lambda: trained(1)) == alone


def test_inference_beside_a_training() -> None:
    model = dlc.loads(TEXT.replace("SEED", "5"))
    x = np.random.default_rng(9).normal(size=(20, 1, 6, 6)).astype(np.float32)
    expected, alone = model.predict(x).tobytes(), trained(2)

    def infer() -> set[bytes]:
        return {model.predict(x).tobytes() for _ in range(50)}

    assert at_once(lambda: trained(2), infer, infer) == [alone, {expected}, {expected}]


@pytest.mark.skipif(not helpers.can_help(), reason="this system forks no helpers")
def test_trainings_in_forked_processes(tmp_path: Path) -> None:
    """Each in one of its own gives what it gives alone; a training that is forked ends in the fork and goes on where it
    began, with its folder."""
    text = FORKED.replace("TRAINED", f"TEXT = {TEXT!r}\n{inspect.getsource(trained)}")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", text], env=environment, cwd=tmp_path, check=True, timeout=600)
    assert not (tmp_path / "run" / ".lock").exists()


FORKED = """
import multiprocessing, os
from pathlib import Path
from typing import Any
import numpy as np
import dlc
from compiler.targets.numpy import sharing
from runtime.programs import blas, helpers

sharing.LEAST_WORK, helpers._WORTH, helpers._SURE = {4: 1, 2: 1}, 0, 0
TRAINED
alone = [trained(seed) for seed in range(4)]
with multiprocessing.get_context("fork").Pool(4) as pool:
    assert pool.map(trained, range(4)) == alone

process = os.getpid()
def fork(row):
    if row.epoch == 2 and os.getpid() == process:
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            assert Path("run", ".lock").exists()
try:
    assert trained(0, out="run", callbacks=[fork]) == alone[0]
except dlc.DiagnosticError as problem:
    os._exit(0 if os.getpid() != process and problem.diagnostics[0].code == "E0821" else 1)
assert os.getpid() == process
"""
