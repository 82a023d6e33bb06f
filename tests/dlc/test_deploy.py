"""``dlc deploy``; what it writes is in ``tests/runtime/deploy``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_a_repository_for_triton(dlc: Callable[..., Any], models: Path, tmp_path: Path) -> None:
    file = tmp_path / "my net.onnx"
    file.write_bytes((models / "net.onnx").read_bytes())
    outcome = dlc("deploy", "--to", "triton", tmp_path / "repository", file)
    assert outcome.out == f"wrote {tmp_path / 'repository' / 'my_net'} (batches of up to 64)\n"
    assert "is called my_net" in outcome.err
    outcome = dlc("deploy", "--to", "triton", tmp_path / "repository", file)
    assert (outcome.code, outcome.err[:12]) == (1, "error[E0940]")
    assert dlc("deploy", "--to", "triton", tmp_path / "repository", file, "--replace").code == 0
    outcome = dlc("deploy", "--to", "triton", tmp_path / "repository", file, "--name", "a/b")
    assert outcome.code == 2
    assert "'a/b' is no name for a model in Triton: write a_b" in outcome.err
    file.write_bytes(b"PK\x03\x04")
    outcome = dlc("deploy", "--to", "triton", tmp_path / "repository", file, "--name", "c")
    assert outcome.err.startswith("error[E0906]")
    assert not (tmp_path / "repository" / "c").exists()
