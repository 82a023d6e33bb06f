"""dlc eval: which weights, which samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlc as dlc_module
from dlc.tables import table_lines


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


def test_a_confusion_matrix_is_shown_as_a_table(dlc: Callable[..., Any], net: Path) -> None:
    net.write_text(net.read_text().replace("measure accuracy(logits, y)", "measure confusion(logits, y)"))
    trained = dlc("train", net).out
    lines = dlc("eval", net).out.splitlines()
    assert lines[1].startswith("loss ")
    assert "confusion" not in lines[1]
    assert lines[2:5] == ["", "confusion: the class of the row, taken for that of the column", lines[4]]
    rows = [list(map(int, line.split())) for line in lines[6:]]
    assert [row[0] for row in rows] == [0, 1]
    assert sum(sum(row[1:]) for row in rows) == 12
    assert "\n".join(["test confusion: the class of the row, taken for that of the column", *lines[4:]]) in trained
    found = dlc_module.load(net)
    found.fit()
    assert found.evaluate()["confusion"].sum() == 12
    assert found.history.final is not None
    assert sorted(found.history.final.tables) == ["confusion", "val.confusion"]


def test_of_many_classes_the_commonest_confusions_are_shown() -> None:
    counts = np.zeros((40, 40), np.int64)
    counts[3, 7], counts[11, 2], counts[5, 5] = 4, 9, 100
    lines = list(table_lines({"confusion": counts}))
    assert lines[1] == "confusion: what was confused most often of 40 classes"
    assert [line.split() for line in lines[4:]] == [["11", "2", "9"], ["3", "7", "4"]]
