"""The loop: what it computes, that it goes on bit for bit, and what it says when something goes wrong."""

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtime.training.loop
from compiler.diagnostics import DiagnosticError
from compiler.program import TrainProgram
from compiler.targets.numpy import generate
from runtime.data.split import prepare
from runtime.disk.files import write_bytes
from runtime.programs.engine import Engine
from runtime.training.checkpoint import load_checkpoint
from runtime.training.folder import RunFolder
from runtime.training.loop import Interrupted, Trainer
from runtime.training.position import Position
from runtime.training.progress import Silent

FILES = ("weights.safetensors", "checkpoint.safetensors", "history.csv")


@pytest.fixture(params=["reference", "generated"])
def trainer(line: Any, request: pytest.FixtureRequest) -> Callable[..., Trainer]:
    """Makes a trainer of `program` on 50 samples, 10 of them for validation, so that an epoch has 5 batches of 8."""

    def make(program: TrainProgram, **named: Any) -> Trainer:
        splits = prepare(program, line.line_data(50), validate=0.2)
        engine = partial(line.ReferenceEngine, program)
        if request.param == "generated":
            engine = partial(Engine, generate([program.initial, *program.steps, program.evaluate]))
        return Trainer(program, engine, splits, **named)

    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def train(trainer: Callable[..., Trainer], program: TrainProgram, folder: Path, **named: Any) -> Trainer:
    with RunFolder(folder, "line") as run:
        made = trainer(program, run=run, **named)
        made.fit()
    return made


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Stop(Silent):
    """Raises SIGINT after so many calls of `advance`, as a user does who watches the bar."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, samples: int, figures: object) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


def test_it_computes_what_plain_numpy_does(line: Any, trainer: Callable[..., Trainer]) -> None:
    program = line.line_program(epochs=2)
    made = trainer(program)
    weight, bias = (made.kept[f"Line.dense.{name}"].copy() for name in ("weight", "bias"))
    moments = [np.zeros_like(weight), np.zeros_like(bias)]
    losses, step = [], 0
    for epoch in (1, 2):
        total = 0.0
        for index in range(5):
            batch = made._batches.at(epoch, index)
            difference = batch["x"] @ weight + bias - np.log(batch["y"])
            total += float(np.mean(difference**2)) * len(difference)
            noise = 0.01 * np.sin(np.float32(step))
            slope = 2 * difference / len(difference)
            moments = [0.9 * m + g + noise for m, g in zip(moments, (batch["x"].T @ slope, slope.sum(0)), strict=True)]
            weight, bias = weight - 0.05 * moments[0], bias - 0.05 * moments[1]
            step += 1
        losses.append(total / 40)
    history = made.fit()
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(made.kept["Line.dense.weight"], weight, rtol=1e-4)
    assert [row.step for row in history] == [5, 10]
    assert made.kept["step"] == 10


def test_it_learns_and_says_so(trainer: Callable[..., Trainer], line: Any) -> None:
    program = line.line_program(epochs=40)
    made = trainer(program)
    history = made.fit()
    assert history.names == ("loss", "mae", "val.loss", "val.mae")
    assert history["val.loss"][-1] < 0.1 * history["val.loss"][0]
    assert made.splits.validation is not None
    figures = made.evaluate(made.splits.validation).figures
    assert figures == {"loss": history["val.loss"][-1], "mae": history["val.mae"][-1]}
    assert set(made.weights) == {"Line.dense.weight", "Line.dense.bias"}


def test_validation_rows_are_never_trained_on(trainer: Callable[..., Trainer], program: TrainProgram) -> None:
    splits = trainer(program).splits
    assert splits.validation is not None
    assert set(splits.train.rows).isdisjoint(splits.validation.rows)
    assert len(splits.train) + len(splits.validation) == 50


def test_the_same_run_gives_the_same_bytes(
    trainer: Callable[..., Trainer], program: TrainProgram, tmp_path: Path
) -> None:
    train(trainer, program, tmp_path / "a")
    train(trainer, program, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_another_seed_gives_another_run(trainer: Callable[..., Trainer], line: Any, tmp_path: Path) -> None:
    train(trainer, line.line_program(seed=0), tmp_path / "a")
    train(trainer, line.line_program(seed=1), tmp_path / "b")
    assert contents(tmp_path / "a")["weights.safetensors"] != contents(tmp_path / "b")["weights.safetensors"]


def test_three_epochs_and_three_more_are_six(trainer: Callable[..., Trainer], line: Any, tmp_path: Path) -> None:
    train(trainer, line.line_program(epochs=6), tmp_path / "whole")
    train(trainer, line.line_program(epochs=3), tmp_path / "parts")
    train(trainer, line.line_program(epochs=6), tmp_path / "parts", resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


# An epoch advances 5 times in training and 2 times in validation.
@pytest.mark.parametrize("after", [1, 3, 5, 6, 7, 12, 13, 14, 41])
def test_ctrl_c_at_any_moment_and_resume_are_one_run(
    trainer: Callable[..., Trainer], program: TrainProgram, tmp_path: Path, after: int
) -> None:
    train(trainer, program, tmp_path / "whole")
    with pytest.raises(Interrupted) as caught:
        train(trainer, program, tmp_path / "parts", progress=Stop(after))
    epoch, done = divmod(after, 7)
    if done == 0:
        # The last batch of validation was through: the epoch ends before the next look at the flag.
        expected = Position(epoch + 1, 0, 5 * epoch)
    else:
        expected = Position(epoch + 1, min(done, 5), 5 * epoch + min(done, 5))
    assert caught.value.position == load_checkpoint(tmp_path / "parts" / FILES[1]).position
    assert caught.value.position in (expected, replace(expected, epoch=epoch))
    train(trainer, program, tmp_path / "parts", resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_ctrl_c_without_a_run_folder_leaves_the_weights(trainer: Callable[..., Trainer], program: TrainProgram) -> None:
    made = trainer(program, progress=Stop(3))
    with pytest.raises(KeyboardInterrupt, match="stopped in epoch 1 after 3 steps of it"):
        made.fit()
    assert made.kept["step"] == 3
    made.fit()
    whole = trainer(program)
    whole.fit()
    np.testing.assert_array_equal(made.weights["Line.dense.weight"], whole.weights["Line.dense.weight"])


def test_a_run_that_is_over_has_nothing_left_to_do(
    trainer: Callable[..., Trainer], program: TrainProgram, tmp_path: Path
) -> None:
    train(trainer, program, tmp_path)
    before = contents(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    progress = Notes()
    train(trainer, program, tmp_path, resume=True, progress=progress)
    assert progress.notes == ["nothing left to do: 6 epochs of 6 are done"]
    assert contents(tmp_path) == before


def test_a_changed_program_goes_on_and_says_so(trainer: Callable[..., Trainer], line: Any, tmp_path: Path) -> None:
    train(trainer, line.line_program(epochs=2), tmp_path)
    progress = Notes()
    train(trainer, line.line_program(rate=0.01, epochs=3), tmp_path, resume=True, progress=progress)
    assert progress.notes == [
        "going on in epoch 3 after 10 steps",
        "the program has changed since the checkpoint; the new one goes on with its weights",
    ]


def test_training_starts_from_given_weights(trainer: Callable[..., Trainer], line: Any) -> None:
    weights = {"Line.dense.weight": np.ones((3, 1), np.float32), "Line.dense.bias": np.float32([2])}
    made = trainer(line.line_program(), weights=weights)
    np.testing.assert_array_equal(made.weights["Line.dense.weight"], np.ones((3, 1)))
    weights["Line.dense.bias"] = np.ones(2, np.float32)
    with pytest.raises(DiagnosticError, match="the mapping of weights belongs to another model"):
        trainer(line.line_program(), weights=weights)


def failure(action: Callable[[], object]) -> str:
    with pytest.raises(DiagnosticError) as caught:
        action()
    return str(caught.value)


def test_no_number_of_epochs(trainer: Callable[..., Trainer], line: Any) -> None:
    assert failure(lambda: trainer(line.line_program(epochs=None))) == (
        "error[E0613]: the train block `line` does not say for how long to train\n"
        "  = help: add a line like `epochs 10` to the train block, or say it on the command line: --epochs 10"
    )


def test_a_checkpoint_of_another_model(trainer: Callable[..., Trainer], line: Any, tmp_path: Path) -> None:
    train(trainer, line.line_program(), tmp_path)
    program = line.line_program()
    shorter = replace(program, initial=without(program.initial, "Line.dense.bias.sgd.momentum"))
    assert failure(lambda: train(trainer, shorter, tmp_path, resume=True)) == (
        f"error[E0806]: {tmp_path / FILES[1]} belongs to another model\n"
        "  = note: `Line.dense.bias.sgd.momentum` is in the file only\n"
        "  = help: use the model file that it was made with (source.dl beside it), or train again without --resume"
    )


def without(graph: Any, name: str) -> Any:
    return replace(graph, outputs=tuple(output for output in graph.outputs if output.name != name))


def test_a_checkpoint_of_another_split(trainer: Callable[..., Trainer], line: Any, tmp_path: Path) -> None:
    train(trainer, line.line_program(), tmp_path)
    report = failure(lambda: train(trainer, line.line_program(seed=5), tmp_path, resume=True))
    assert report.startswith(f"error[E0807]: the run cannot go on from {tmp_path / FILES[1]}")
    assert "seed: 0 then, 5 now" in report


def test_a_full_disk_keeps_the_checkpoint_from_before(
    trainer: Callable[..., Trainer], line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.training.loop, "_SHORT_EPOCH", 0.0)
    synced = 0

    def full(_descriptor: int) -> None:
        nonlocal synced
        synced += 1
        if synced > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    report = failure(lambda: train(trainer, line.line_program(), tmp_path))
    assert report == (
        f"error[E0808]: cannot write to the run folder {tmp_path}: no space left on device\n"
        "  = note: a checkpoint that was written there before is still whole\n"
        "  = help: make room on the disk, or mend the folder; then go on with --resume"
    )
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / FILES[1]).position.epoch >= 3
    assert sorted(os.listdir(tmp_path)) == sorted(FILES)
    train(trainer, line.line_program(), tmp_path / "whole")
    train(trainer, line.line_program(), tmp_path, resume=True)
    assert contents(tmp_path) == contents(tmp_path / "whole")


@pytest.mark.parametrize("interval", [0.0, 1e9])
def test_a_loss_that_becomes_infinite(
    trainer: Callable[..., Trainer], line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: float
) -> None:
    # With the longest interval everything is run again from the first step, with the shortest from the last.
    monkeypatch.setattr("runtime.training.replay._SHARE", 1 / interval if interval else 1e9)
    program = line.line_program(rate=300.0, epochs=6)
    made: list[Trainer] = []

    def fit() -> None:
        with RunFolder(tmp_path, "line") as run:
            made.append(trainer(program, run=run))
            made[0].fit()

    report = failure(fit)
    step = int(made[0].kept["step"]) + 1
    epoch, batch = divmod(step - 1, 5)
    lines = report.splitlines()
    assert lines[:5] == [
        f"error[E0701]: the loss became infinite in step {step} (epoch {epoch + 1}, batch {batch + 1} of 5)",
        " --> line.dl:2:19",
        "  |",
        "2 |     minimize mean(square(x -> Line - log(y))) with sgd(RATE, momentum=0.9)",
        "  |                   ^^^^^^^^^^^^^^^^^^^^^^^^^^ `square` gives inf first",
    ]
    assert lines[6].startswith("  = note: `square` takes %t")
    assert lines[7] == f"  = note: {tmp_path / FILES[1]} is as it was after step 0"
    # The weights are those from before the step, and finite.
    assert all(np.isfinite(array).all() for array in made[0].kept.values())


def test_weights_that_go_bad_while_the_loss_is_still_finite(
    trainer: Callable[..., Trainer], line: Any, tmp_path: Path
) -> None:
    program = line.line_program(rate=3e38, epochs=1, batch=40)
    with RunFolder(tmp_path, "line") as run:
        report = failure(trainer(program, run=run).fit)
    lines = report.splitlines()
    assert (
        lines[0] == "error[E0701]: `Line.dense.weight` became infinite in the update of step 1 (epoch 1, batch 1 of 1)"
    )
    assert lines[4].endswith("^^^^^^^^^^^^^^^^^^^^^^^ `mul` gives -inf first")
    # What is on the disk is from before.
    kept = load_checkpoint(tmp_path / FILES[1])
    assert kept.position == Position()
    assert all(np.isfinite(array).all() for array in kept.kept.values())


def test_a_validation_loss_that_is_not_finite(line: Any) -> None:
    program = line.line_program()
    validation = line.line_data(9)
    validation["y"][3] = 0
    splits = prepare(program, line.line_data(50), validate=validation)
    report = failure(Trainer(program, partial(line.ReferenceEngine, program), splits).fit)
    assert report.startswith("error[E0702]: the loss of batch 1 of the data is infinite\n --> line.dl:2:38")


def test_checkpoints_come_after_every_epoch_that_is_not_short(
    trainer: Callable[..., Trainer], program: TrainProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    save = runtime.training.loop.save_checkpoint

    def counted(path: Path, checkpoint: Any) -> None:
        seen.append(checkpoint.position.step)
        save(path, checkpoint)

    monkeypatch.setattr(runtime.training.loop, "save_checkpoint", counted)
    monkeypatch.setattr(runtime.training.loop, "_SHORT_EPOCH", 0.0)
    train(trainer, program, tmp_path / "a")
    assert seen == [0, 5, 10, 15, 20, 25, 30]
    seen.clear()
    monkeypatch.setattr(runtime.training.loop, "_SHORT_EPOCH", 1e9)
    train(trainer, program, tmp_path / "b")
    assert seen == [0, 30]
    seen.clear()
    monkeypatch.setattr(runtime.training.loop, "_LONG_EPOCH", 0.0)
    train(trainer, program, tmp_path / "c")
    assert seen == list(range(31))
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


def test_a_damaged_checkpoint(trainer: Callable[..., Trainer], program: TrainProgram, tmp_path: Path) -> None:
    train(trainer, program, tmp_path)
    path = tmp_path / FILES[1]
    write_bytes(path, path.read_bytes()[:-10])
    assert failure(lambda: train(trainer, program, tmp_path, resume=True)).startswith(
        f"error[E0805]: cannot read {path}: it is truncated, damaged or not a safetensors file"
    )
