"""dlc eval: which weights, which samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def trained(dlc: Callable[..., Any], net: Path) -> str:
    """The test line of a run in runs/net."""
    lines: list[str] = dlc("train", net).out.splitlines()
    return next(line for line in lines if line.startswith("test"))


def test_the_last_run_on_the_test_samples(dlc: Callable[..., Any], net: Path, trained: str) -> None:
    outcome = dlc("eval", net)
    assert outcome.code == 0
    assert outcome.out == (
        "test samples: 12 of net.npz, with runs/net/weights.safetensors\n" + trained.removeprefix("test").strip() + "\n"
    )


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("validate", "validation samples: 12 of"),
        ("train", "training samples: 36 of"),
        ("all", "samples: 60 of"),
    ],
)
def test_other_samples(dlc: Callable[..., Any], net: Path, trained: str, split: str, said: str) -> None:
    assert dlc("eval", net, "--split", split).out.startswith(said)


def test_validation_figures_are_those_of_the_history(dlc: Callable[..., Any], net: Path, trained: str) -> None:
    last = Path("runs/net/history.csv").read_text().splitlines()[-1].split(",")
    loss = dlc("eval", net, "--split", "validate").out.splitlines()[1].split()[1]
    assert loss == f"{float(last[4]):.4f}"


def test_named_weights(dlc: Callable[..., Any], net: Path, trained: str) -> None:
    expected = dlc("eval", net).out.splitlines()[1]
    for path in ("runs/net", "runs/net/weights.safetensors", "runs/net/checkpoint.safetensors"):
        assert dlc("eval", net, "--weights", path).out.splitlines()[1] == expected


def test_other_data_is_taken_whole(dlc: Callable[..., Any], net: Path, trained: str) -> None:
    np.savez("one.npz", x=np.array([[1, -1, 0]], np.float32), y=np.array([1]))
    outcome = dlc("eval", net, "--data", "one.npz")
    assert outcome.out.startswith("samples: 1 of one.npz")
    assert outcome.out.splitlines()[1].endswith("accuracy 1.0000")


def test_without_weights(dlc: Callable[..., Any], net: Path) -> None:
    outcome = dlc("eval", net)
    assert outcome.code == 1
    assert outcome.err.startswith("error[E0804]: there are no weights: runs/net/weights.safetensors does not exist\n")


def test_weights_of_another_model_or_damaged(dlc: Callable[..., Any], net: Path, trained: str) -> None:
    assert dlc("eval", net, "--set", "units=3").err.startswith("error[E0806]: ")
    content = Path("runs/net/weights.safetensors").read_bytes()
    Path("short.safetensors").write_bytes(content[:-10])
    assert dlc("eval", net, "--weights", "short.safetensors").err.startswith("error[E0805]: ")


def test_a_split_that_is_not_set_apart(dlc: Callable[..., Any], net: Path, trained: str) -> None:
    net.write_text(net.read_text().replace("    test 20%\n", ""))
    outcome = dlc("eval", net, "--split", "test")
    assert outcome.err.startswith("error[E0613]: the train block `net` sets no samples apart to test\n")
    assert dlc("eval", net).out.startswith("validation samples: ")
