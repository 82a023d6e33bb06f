"""dlc diff: what is said of two files, and the exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

PAIRS = "model Pairs(x: i64[N, T <= 9]) -> f32[N, T, 2] {\n    embed(5, 2)\n}\n"


@pytest.fixture
def files(dlc: Callable[..., Any], net: Path) -> tuple[Path, Path]:
    """A file, and one of the same network with a wider layer."""
    dlc("compile", net)
    dlc("compile", net, "--set", "units=5", "-o", "wide.onnx")
    return Path("net.onnx"), Path("wide.onnx")


def test_a_file_is_equal_to_itself(dlc: Callable[..., Any], files: tuple[Path, Path]) -> None:
    outcome = dlc("diff", files[0], files[0])
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == (
        "structure\n  nodes: 3 alike\nweights\n  4 alike\nresults\n  output: equal\n  run at N=1; N=2; N=7; N=64\n"
    )


def test_what_differs(dlc: Callable[..., Any], files: tuple[Path, Path]) -> None:
    outcome = dlc("diff", *files)
    assert (outcome.code, outcome.err) == (1, "")
    assert "~ Net.dense.weight: float32[3, 4] -> float32[3, 5]" in outcome.out
    assert "times the tolerance at N=" in outcome.out
    assert outcome.out.count("run at N=1; N=2; N=7; N=64") == 1


def test_only_one_part_and_json(dlc: Callable[..., Any], files: tuple[Path, Path]) -> None:
    dlc("compile", files[0], "-o", "again.onnx")
    assert dlc("diff", files[0], "again.onnx").code == 1  # its certificate is another one
    outcome = dlc("diff", files[0], "again.onnx", "--only", "results", "--json")
    found = json.loads(outcome.out)
    assert (outcome.code, found["equal"], found["structure"], found["weights"]) == (0, True, None, None)
    assert [case["N"] for case in found["results"]["cases"]] == [1, 2, 7, 64]


def test_what_cannot_be_compared_is_said(dlc: Callable[..., Any], files: tuple[Path, Path]) -> None:
    Path("pairs.dl").write_text(PAIRS)
    dlc("compile", "pairs.dl")
    outcome = dlc("diff", files[0], "pairs.onnx", "--only", "results")
    assert outcome.code == 1
    assert outcome.out.startswith("results\n  not compared: input `x` is i64[N, T]; the array holds f32[1, 3]")


def test_what_onnx_runtime_cannot_run(dlc: Callable[..., Any], files: tuple[Path, Path]) -> None:
    model = onnx.load(files[0])
    model.ir_version = 14  # which the checker knows, and ONNX Runtime does not yet
    onnx.save(model, "new.onnx")
    outcome = dlc("diff", files[0], "new.onnx", "--only", "results")
    assert outcome.code == 1
    assert outcome.out.startswith("results\n  not compared: ONNX Runtime")


def test_a_file_that_is_none(dlc: Callable[..., Any], files: tuple[Path, Path]) -> None:
    outcome = dlc("diff", files[0], "missing.onnx")
    assert outcome.code == 1
    assert "error[E0905]: cannot read missing.onnx" in outcome.err
