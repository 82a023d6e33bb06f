"""A small model file with its data, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dlc.cli import main

NET = """\
const units = 4

model Net(x: f32[N, 3]) -> f32[N, 2] {
    dense(units) -> relu
    head: dense(2)
}

train net(x: f32[N, 3], y: i64[N]) {
    logits = x -> Net
    minimize cross_entropy(logits, y) with adam(0.05)
    measure accuracy(logits, y)

    data "net.npz"
    validate 20%
    test 20%
    batch 8
    epochs 5
    seed 1
}
"""


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def dlc(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs ``dlc`` with these arguments."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(exit.value.code, int)
        return Outcome(exit.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file ``net.dl`` with its data beside it, in the current folder: which of two numbers is larger."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    np.savez("net.npz", x=x, y=(x[:, 0] > x[:, 1]).astype(np.int64))
    Path("net.dl").write_text(NET)
    return Path("net.dl")
