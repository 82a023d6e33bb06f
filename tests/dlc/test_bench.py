"""dlc bench: what is run, how often and in which order; a clock of its own stands for the time."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.inference import bench
from runtime.inference.bench import Plan, Speed, inputs_for, measure
from runtime.inference.session import InferenceSession

TEXTS = "model Words(x: i64[N, T <= 9]) -> f32[N, T, 2] {\n    embed(5, 2)\n}\n"


@pytest.fixture
def model(dlc: Callable[..., Any], net: Path) -> Path:
    dlc("compile", net)
    dlc("compile", net, "--set", "units=9", "-o", "other.onnx")
    return Path("net.onnx")


def test_two_files_take_turns(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []
    run = InferenceSession.run

    def noted(session: InferenceSession, inputs: Any, *rest: Any) -> Any:
        calls.append((session.name, len(inputs["x"])))
        return run(session, inputs, *rest)

    monkeypatch.setattr(InferenceSession, "run", noted)
    monkeypatch.setattr(bench, "_memory", lambda file, plan: None)
    ticks = count()
    files = [model, Path("other.onnx")]
    first, second = measure(files, Plan(rows=(2, 5), threads=(1,), runs=4), lambda: float(next(ticks)))
    assert [speed.rows for speed in first.speeds] == [2, 5]
    assert all(speed.seconds == (1.0,) * 4 and speed.ratio == 1 for speed in (*first.speeds, *second.speeds))
    assert (first.start, first.speeds[1].throughput) == (1, 5)
    # After the runs that warm up, each turn has both files, and the one that comes first changes.
    timed = [name for name, rows in calls if rows == 5][6:]
    assert timed == ["net.onnx", "other.onnx", "other.onnx", "net.onnx"] * 2


def test_percentiles() -> None:
    speed = Speed(10, None, tuple(float(number) for number in range(101)), 1.0)
    assert [speed.percentile(share) for share in (50, 90, 99)] == [50, 90, 99]
    assert speed.throughput == 0.2


def test_the_command(dlc: Callable[..., Any], model: Path) -> None:
    arguments = ("--batch", "1,3", "--threads", "1,2", "--runs", 2, "--input", "x=net.npz")
    outcome = dlc("bench", model, "other.onnx", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    head, _, *rows = outcome.out.split("\n\n")[1].splitlines()
    assert head.split() == ["file", "rows", "threads", "p50", "ms", "p90", "ms", "p99", "ms", "rows/s", "time"]
    assert [row.split()[:3] for row in rows] == [
        [file, str(number), str(threads)]
        for threads in (1, 2)
        for number in (1, 3)
        for file in ("net.onnx", "other.onnx")
    ]
    (found,) = json.loads(dlc("bench", model, "--runs", 2, "--batch", "4", "--json").out)
    assert found["bytes"] == model.stat().st_size
    assert len(found["speeds"][0]["seconds"]) == 2


def test_inputs_are_what_the_file_allows(dlc: Callable[..., Any], net: Path) -> None:
    Path("words.dl").write_text(TEXTS)
    assert dlc("compile", "words.dl").code == 0
    session = InferenceSession("words.onnx")
    assert inputs_for(session, 4, Plan())["x"].shape == (4, 9)
    assert inputs_for(session, 4, Plan(sizes={"T": 3}))["x"].shape == (4, 3)
    session.run(inputs_for(session, 4, Plan()))
    rows = np.arange(6, dtype=np.int64).reshape(2, 3) % 5
    assert inputs_for(session, 3, Plan(data={"x": rows}))["x"].tolist() == rows[[0, 1, 0]].tolist()


def test_mistakes(dlc: Callable[..., Any], model: Path) -> None:
    assert dlc("bench", model, "--batch", "1,x").code == 2
    assert dlc("bench", model, model).code == 2
    assert dlc("bench", model, "--size", "T=0").code == 2
    assert dlc("bench", "nowhere.onnx").err.startswith("error[E0905]")
    assert "net.onnx has no input `y`" in dlc("bench", model, "--input", "y=net.npz").err
    assert dlc("bench", model, "--size", "T=5").err.startswith("error[E0912]: no input has a free dimension T\n")
    assert "N is the number of rows\n" in dlc("bench", model, "--size", "N=5").err
