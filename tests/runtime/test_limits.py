"""A run in a process that may take a fifth of what its data would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")

# Everything is imported before the limit is set to what that took and room for the work.
CHILD = """\
import resource, sys
import numpy as np
import dlc.offered, runtime.training.job, runtime.data.readers.files, runtime.data.readers.table, compiler.targets.numpy
from dlc.cli import main

held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = held + (120 << 20)
rows = 5 * limit // 4096
with open("x.npy", "wb") as file:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (rows, 4096)})
    file.truncate(file.tell() + rows * 4096)
np.save("label.npy", np.zeros(rows, np.uint8))
resource.setrlimit(getattr(resource, sys.argv[1]), (limit, limit))
print(rows * 4096 / limit)
main(["train", "net.dl", "--no-export"])
"""
MODEL = """\
model Net(x: u8[N, 4096]) -> f32[N, 2] { cast(f32) / 255 -> dense(2) }

train net(x: u8[N, 4096], label: u8[N]) {
    minimize cross_entropy(Net(x), label) with sgd(0.1)
    data files(x="x.npy", label="label.npy")
    test last(0.01%)
    batch 64
    steps 40
}
"""


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_data_five_times_larger_than_the_memory(tmp_path: Path, limit: str) -> None:
    (tmp_path / "net.dl").write_text(MODEL)
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    outcome = subprocess.run(
        [sys.executable, "-c", CHILD, limit], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    size, opening, *_ = outcome.stdout.splitlines()
    assert float(size) > 4.99
    assert "samples to train on" in opening
    assert (tmp_path / "runs" / "net" / "weights.safetensors").exists()
