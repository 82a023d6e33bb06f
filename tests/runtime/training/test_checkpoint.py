from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from compiler.program import TrainProgram
from runtime.disk.tensors import read_tensors, write_tensors
from runtime.training.checkpoint import (
    Checkpoint,
    Origin,
    check_origin,
    check_same,
    fingerprint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_weights,
    types_of,
)
from runtime.training.evaluation import Totals
from runtime.training.history import History, Row
from runtime.training.position import Position

ORIGIN = Origin(seed=0, samples=40, validate="0.2", test=None, batch=8, data="3fa2")


def kept() -> dict[str, np.ndarray[Any, Any]]:
    return {
        "Line.dense.weight": np.float32([[1], [2], [3]]),
        "Line.dense.bias": np.float32([4]),
        "Line.dense.bias.sgd.momentum": np.float32([5]),
        "step": np.array(12, np.int64),
        "seed": np.array(0, np.int64),
    }


def checkpoint() -> Checkpoint:
    totals = Totals({"loss": np.array(1 / 3), "mae.count": np.array(16)}, 16)
    history = History([Row(1, 5, {"loss": 1 / 7})])
    return Checkpoint(kept(), Position(2, 2, 7), totals, history, ORIGIN, "abc")


def failure(action: Any, *arguments: Any) -> str:
    with pytest.raises(DiagnosticError) as caught:
        action(*arguments)
    return str(caught.value)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, checkpoint())
    loaded = load_checkpoint(path)
    assert types_of(loaded.kept) == types_of(kept())
    for name, array in kept().items():
        np.testing.assert_array_equal(loaded.kept[name], array)
    assert loaded.position == Position(2, 2, 7)
    assert loaded.totals.rows == 16
    assert {name: array.item() for name, array in loaded.totals.sums.items()} == {"loss": 1 / 3, "mae.count": 16}
    assert loaded.history == checkpoint().history
    assert (loaded.origin, loaded.fingerprint) == (ORIGIN, "abc")
    before = path.read_bytes()
    save_checkpoint(path, loaded)
    assert path.read_bytes() == before


def test_there_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    assert failure(load_checkpoint, path) == (
        f"error[E0804]: there is no checkpoint to resume: {path} does not exist\n"
        "  = help: leave --resume out to begin a new run"
    )


@pytest.mark.parametrize(
    "metadata", [{}, {"position": {"epoch": 1}}, {"position": 3, "rows": 1, "history": [], "origin": {}}]
)
def test_weights_are_no_checkpoint(tmp_path: Path, metadata: dict[str, Any]) -> None:
    path = tmp_path / "weights.safetensors"
    write_tensors(path, kept(), metadata)
    assert failure(load_checkpoint, path) == (
        f"error[E0805]: cannot read {path}: it is no checkpoint of dlc\n"
        "  = help: name the run folder, in which checkpoint.safetensors lies"
    )


def test_weights_alone(tmp_path: Path, program: TrainProgram) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, program, kept())
    assert set(read_tensors(path)[0]) == {"Line.dense.weight", "Line.dense.bias"}
    loaded = load_weights(path, program)
    np.testing.assert_array_equal(loaded["Line.dense.weight"], kept()["Line.dense.weight"])
    save_checkpoint(path, checkpoint())
    assert set(load_weights(path, program)) == {"Line.dense.weight", "Line.dense.bias"}


def test_there_are_no_weights(tmp_path: Path, program: TrainProgram) -> None:
    path = tmp_path / "weights.safetensors"
    assert failure(load_weights, path, program) == (
        f"error[E0804]: there are no weights: {path} does not exist\n"
        "  = help: train first, or name the file with the weights"
    )


def test_weights_of_another_model(tmp_path: Path, program: TrainProgram) -> None:
    path = tmp_path / "weights.safetensors"
    write_tensors(path, {"Line.dense.weight": np.ones((4, 1), np.float32), "Other.bias": np.ones(1)}, {})
    assert failure(load_weights, path, program) == (
        f"error[E0806]: {path} belongs to another model\n"
        "  = note: `Line.dense.weight` is f32[3, 1] in the program and f32[4, 1] in the file\n"
        "  = note: `Line.dense.bias` is f32[1] in the program and missing from the file\n"
        "  = help: use the model file that it was made with (source.dl beside it), or train again without --resume"
    )


def test_only_the_first_differences_are_listed() -> None:
    found = {f"w{number}": np.ones(number) for number in range(7)}
    report = failure(check_same, "here", found, {"w6": "f64[6]"})
    assert report.splitlines()[1:-1] == [
        *(f"  = note: `w{number}` is in the file only" for number in range(4)),
        "  = note: and 2 more differences",
    ]


def test_a_run_with_other_settings(tmp_path: Path) -> None:
    now = Origin(seed=1, samples=40, validate=None, test=None, batch=16, data="81b0")
    assert failure(check_origin, tmp_path / "c", checkpoint(), now) == (
        f"error[E0807]: the run cannot go on from {tmp_path / 'c'}: it was started with other settings\n"
        "  = note: seed: 0 then, 1 now\n"
        "  = note: share for validation: 0.2 then, none now\n"
        "  = note: batch: 8 then, 16 now\n"
        "  = note: the data itself: its content is not what it was\n"
        "  = help: set them back, or train again without --resume"
    )


def test_between_epochs_the_batch_may_change(tmp_path: Path) -> None:
    between = replace(checkpoint(), position=Position(2, 0, 5))
    check_origin(tmp_path, between, replace(ORIGIN, batch=16))


def test_the_fingerprint_is_that_of_the_computation(line: Any) -> None:
    first = fingerprint(line.line_program(rate=0.1))
    assert first == fingerprint(line.line_program(rate=0.1, epochs=99, data="other.npz"))
    assert first != fingerprint(line.line_program(rate=0.2))
