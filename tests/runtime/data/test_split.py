from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from compiler.program import TrainProgram
from compiler.sources import Share
from runtime.data.batches import DataSet
from runtime.data.choose import split
from runtime.data.split import prepare


def data(count: int) -> DataSet:
    return DataSet({}, np.arange(count))


def drawn(share: float | None) -> Share | None:
    return None if share is None else Share("shuffled", share)


def rows(count: int, validate: float | None, test: float | None, seed: int = 0) -> list[list[int]]:
    return [
        [] if part is None else part.rows.tolist() for part in split(data(count), drawn(validate), drawn(test), seed)
    ]


@pytest.mark.parametrize(
    ("count", "validate", "test", "sizes"),
    [
        (100, 0.2, 0.1, (70, 20, 10)),
        (1797, 0.2, None, (1438, 359, 0)),
        (10, 0.01, None, (9, 1, 0)),
        (10, None, 0.25, (8, 0, 2)),
        (3, 0.2, 0.2, (1, 1, 1)),
        (10, None, None, (10, 0, 0)),
    ],
)
def test_shares(count: int, validate: float | None, test: float | None, sizes: tuple[int, ...]) -> None:
    parts = rows(count, validate, test)
    assert tuple(map(len, parts)) == sizes
    assert sorted(row for part in parts for row in part) == list(range(count))


def test_a_split_is_shuffled_by_the_seed() -> None:
    first = rows(100, 0.2, 0.2)
    assert first == rows(100, 0.2, 0.2)
    assert first[1] != rows(100, 0.2, 0.2, seed=1)[1]
    assert min(first[1]) < 40
    assert max(first[1]) > 60


def test_test_rows_do_not_hang_on_validation() -> None:
    assert rows(100, 0.2, 0.1)[2] == rows(100, None, 0.1)[2]


def failure(program: TrainProgram, *arguments: Any, **named: Any) -> str:
    with pytest.raises(DiagnosticError) as caught:
        prepare(program, *arguments, **named)
    return str(caught.value)


def test_a_split_that_leaves_nothing(line: Any) -> None:
    program = line.line_program(validate=0.2, test=0.5)
    arrays = line.line_data(2)
    assert failure(program, arrays) == (
        "error[E0612]: the split leaves no sample to train on: of 2, 1 for validation and 1 for testing\n"
        " --> line.dl:5:14\n"
        "  |\n"
        "5 |     validate 20%\n"
        "  |              ^^^\n"
        "  |\n"
        "  = help: take smaller shares or more data; a validation or test set can also be a file of its own"
    )


def test_no_data(program: TrainProgram) -> None:
    assert failure(program) == (
        "error[E0613]: the train block `line` does not say what to learn from\n"
        '  = help: add a line like data "digits.npz" to the train block, or give the data on the command line'
    )


def test_files_named_in_the_block(line: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "line.npz", **line.line_data(20))
    np.savez(tmp_path / "more.npz", **line.line_data(5))
    splits = prepare(line.line_program(data="line.npz", validate=0.2, test="more.npz"), folder=tmp_path)
    assert splits.validation is not None
    assert splits.test is not None
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (16, 4, 5)
    assert (splits.validation_share, splits.test_share) == (Share("shuffled", 0.2), None)
    assert splits.test.source == "more.npz"


def test_a_mistake_in_a_test_file_points_at_its_statement(line: Any, tmp_path: Path) -> None:
    arrays = line.line_data(5)
    np.savez(tmp_path / "line.npz", **arrays)
    np.savez(tmp_path / "more.npz", **{**arrays, "x": arrays["x"].astype(np.float64)})
    report = failure(line.line_program(data="line.npz", test="more.npz"), folder=tmp_path)
    assert report == (
        "error[E0606]: `x` in more.npz is f64, and the program takes f32\n"
        " --> line.dl:6:14\n"
        "  |\n"
        "1 | train line(x: f32[N, 3], y: f32[N, 1], group: u8[N]) {\n"
        "  |            ------------ taken here as f32[N, 3]\n"
        '6 |     test     "more.npz"\n'
        "  |              ^^^^^^^^^^\n"
        "  |\n"
        "  = help: convert it: x.astype(np.float32)"
    )


def test_arguments_go_before_the_block(line: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "given.npz", **line.line_data(7))
    program = line.line_program(data="line.npz", validate=0.2, test="more.npz")
    splits = prepare(program, tmp_path / "given.npz", validate=line.line_data(3), test=0.0, folder="nowhere")
    assert splits.validation is not None
    assert (len(splits.train), len(splits.validation), splits.test) == (7, 3, None)
