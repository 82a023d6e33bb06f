"""ONNX Runtime reports nothing of what dlc runs, and keeps no identifier for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPORT = """\
import sys
import numpy as np
import dlc

dlc.loads("model Net(x: f32[N, 2]) { dense(1) }").export(sys.argv[1])
dlc.InferenceSession(sys.argv[1]).run({"x": np.ones((1, 2), np.float32)})
"""


def said(script: str, tmp_path: Path, **variables: str) -> str:
    """What a child writes that has an empty folder for a home."""
    (tmp_path / "home").mkdir()
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("ORT_", "XDG_", "CI"))}
    environment |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", script, str(tmp_path / "net.onnx")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=True).stdout


@pytest.mark.skipif(sys.platform == "win32", reason="where it is kept is another place there")
def test_nothing_is_kept_in_the_users_folders(tmp_path: Path) -> None:
    said(EXPORT, tmp_path)
    assert (tmp_path / "net.onnx").exists()
    assert [str(path) for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_who_wants_to_report_is_left_to(tmp_path: Path) -> None:
    asked = "import os, runtime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert said(asked, tmp_path, ORT_DISABLE_TELEMETRY="0") == "0\n"
