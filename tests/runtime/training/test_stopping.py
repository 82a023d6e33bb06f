"""When a run ends: after a number of steps, or early; and that the best weights are what stays."""

import json
import math
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import DiagnosticError, Source
from compiler.program import Stop, TrainProgram
from runtime.data.split import Splits, prepare
from runtime.disk.tensors import read_tensors, write_tensors
from runtime.programs.engine import Engine
from runtime.programs.project import open_project
from runtime.training.checkpoint import load_checkpoint, load_weights
from runtime.training.folder import RunFolder, open_run
from runtime.training.history import Row
from runtime.training.job import Changes, make_job, results
from runtime.training.loop import Interrupted, Trainer
from runtime.training.progress import Outline, Silent
from runtime.training.stopping import Watch

FILES = ("weights.safetensors", "checkpoint.safetensors", "history.csv")
# With this rate the loss in validation goes up and down: it is best in epoch 2, and better only from epoch 7 on.
RATE = 0.15
STOP = Stop("val.loss", 3)


class Seen(Silent):
    """Keeps what it is told, and raises SIGINT after so many calls of `advance`, as a user does who watches the bar."""

    def __init__(self, interrupt: int = 0) -> None:
        self.notes: list[str] = []
        self.outline = Outline(0, 0, 0)
        self.samples, self.left = 0, interrupt

    def start(self, outline: Outline) -> None:
        self.outline = outline

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, samples: int, figures: object) -> None:
        self.samples += samples
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def train(line: Any) -> Callable[..., Trainer]:
    """Trains with these settings on 40 samples, an epoch having 5 batches of 8, and 10 to validate in 2 batches."""

    def run(
        folder: Path | None = None, *, resume: bool = False, progress: Seen | None = None, **settings: Any
    ) -> Trainer:
        program = line.line_program(RATE, **settings)
        splits = prepare(program, line.line_data(50), validate=0.2)
        make = partial(Trainer, program, partial(line.ReferenceEngine, program), splits, progress=progress)
        if folder is None:
            trainer: Trainer = make()
            trainer.fit()
        else:
            with RunFolder(folder, "line") as open_folder:
                trainer = make(run=open_folder, resume=resume)
                trainer.fit()
        return trainer

    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


def watched(figures: list[float], **settings: Any) -> Watch:
    """A watch of `f1` that has seen these figures, the weight in each epoch being the epoch's number."""
    watch = Watch(Stop("f1", 2), **{"better": "higher", **settings})
    for epoch, figure in enumerate(figures, 1):
        watch = watch.after(Row(epoch, epoch, {"f1": figure}), {"w": np.array(epoch)})
    return watch


@pytest.mark.parametrize(
    ("figures", "better", "epoch", "waited"),
    [
        ([], "higher", 0, 0),
        ([0.1, 0.3, 0.2], "higher", 2, 1),
        ([0.1, 0.3, 0.2], "lower", 1, 2),
        ([0.3, 0.3, 0.3], "higher", 1, 2),  # a tie is no improvement
        ([0.3, 0.3, 0.3], "lower", 1, 2),
        ([math.nan, math.nan], "lower", 0, 2),
        ([math.nan, 0.5, math.nan], "lower", 2, 1),
        ([math.inf, 0.5], "lower", 2, 0),
        ([-math.inf, -math.inf], "higher", 1, 1),
    ],
)
def test_the_best_epoch(figures: list[float], better: Any, epoch: int, waited: int) -> None:
    watch = watched(figures, better=better)
    assert (watch.place, watch.waited, watch.over) == (epoch, waited, waited >= 2)
    assert {name: int(array) for name, array in watch.weights.items()} == ({"w": epoch} if epoch else {})
    text = json.dumps(watch.as_json())
    again = Watch.from_json(json.loads(text), watch.weights)
    assert json.dumps(again.as_json()) == text
    assert (again.verdict, again.weights) == (watch.verdict, watch.weights)


def test_the_best_weights_are_copies() -> None:
    array = np.zeros(2)
    watch = Watch(STOP).after(Row(1, 1, {"val.loss": 1.0}), {"w": array})
    array += 1
    assert not watch.weights["w"].any()


def test_verdicts() -> None:
    assert (
        watched([0.3, 0.2, 0.1]).verdict == "stopped: f1 has not improved for 2 epochs; the weights of epoch 1 are kept"
    )
    assert watched([0.3, 0.4]).verdict == "the weights of epoch 2 are kept, the best by f1"
    assert watched([math.nan]).verdict == "the last weights are kept, as f1 never was a number"
    assert watched([math.nan] * 2).verdict == "stopped: f1 has not improved for 2 epochs; the last weights are kept"
    impatient = Watch(Stop("f1", 1), "higher", "epoch", 20, 4, 0.5, 1)
    assert impatient.verdict == "stopped: f1 has not improved for 1 epoch; the weights of epoch 4 are kept"
    assert Watch().after(Row(1, 1, {"loss": 1.0}), {}).verdict == ""


@pytest.mark.parametrize("measure", ["loss", "mae", "val.loss", "val.mae"])
@pytest.mark.parametrize("patience", [1, 2, 3, 5])
def test_training_ends_when_the_figure_no_longer_improves(
    train: Callable[..., Trainer], measure: str, patience: int
) -> None:
    whole = train(epochs=14).history
    best, waited, ended = 1, 0, 14
    for row in whole.rows[1:]:
        if row.figures[measure] < whole[measure][best - 1]:
            best, waited = row.epoch, 0
        else:
            waited += 1
        if waited == patience:
            ended = row.epoch
            break
    trainer = train(epochs=14, stop=Stop(measure, patience))
    assert trainer.history.rows == whole.rows[:ended]
    assert trainer.history.best_epoch == best
    assert same(trainer.weights, train(epochs=best).weights)


def test_the_best_weights_are_those_of_a_run_of_so_many_epochs(train: Callable[..., Trainer], tmp_path: Path) -> None:
    progress = Seen()
    trainer = train(tmp_path / "stopped", epochs=14, stop=STOP, progress=progress)
    assert progress.notes == ["stopped: val.loss has not improved for 3 epochs; the weights of epoch 2 are kept"]
    assert [row.epoch for row in trainer.history] == [1, 2, 3, 4, 5]
    short = train(tmp_path / "short", epochs=2)
    weights = (tmp_path / "stopped" / FILES[0]).read_bytes()
    assert weights == (tmp_path / "short" / FILES[0]).read_bytes()
    assert same(trainer.weights, short.weights)
    assert trainer.splits.validation is not None
    figures = trainer.evaluate(trainer.splits.validation).figures
    assert trainer.history.final == short.history.rows[-1]
    assert results(trainer).validation.figures == figures == results(short).validation.figures
    # The checkpoint still is that of the last step, from where training could go on.
    last = train(epochs=5)
    assert same(load_checkpoint(tmp_path / "stopped" / FILES[1]).kept, last.kept)
    table = (tmp_path / "stopped" / FILES[2]).read_text().splitlines()
    begun = [",".join(line.split(",")[:3]) for line in table]
    assert begun == ["epoch,step,best", "1,5,0", "2,10,1", "3,15,0", "4,20,0", "5,25,0"]


def test_the_best_weights_are_kept_at_the_end_of_all_epochs_too(train: Callable[..., Trainer]) -> None:
    progress = Seen()
    trainer = train(epochs=4, stop=STOP, progress=progress)
    assert progress.notes == ["the weights of epoch 2 are kept, the best by val.loss"]
    assert (len(trainer.history), trainer.history.best_epoch) == (4, 2)
    assert same(trainer.weights, train(epochs=2).weights)


# The run has 5 epochs, each of which advances 5 times in training and 2 times in validation.
@pytest.mark.parametrize("after", [1, 5, 6, 7, 8, 13, 14, 15, 20, 28, 30, 33, 34])
def test_ctrl_c_at_any_moment_and_resume_are_one_run(train: Callable[..., Trainer], tmp_path: Path, after: int) -> None:
    train(tmp_path / "whole", epochs=14, stop=STOP)
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", epochs=14, stop=STOP, progress=Seen(after))
    train(tmp_path / "parts", epochs=14, stop=STOP, resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_after_ctrl_c_the_weights_file_has_the_best_so_far(train: Callable[..., Trainer], tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, epochs=14, stop=STOP, progress=Seen(3 * 7 + 2))
    short = train(epochs=2)
    assert same(load_weights(tmp_path / FILES[0], short.program), short.weights)


@pytest.mark.parametrize(("first", "then"), [
    ({"epochs": 3, "stop": STOP}, {"epochs": 14, "stop": STOP}),
    ({"epochs": 14, "stop": STOP}, {"epochs": 14, "stop": Stop("val.loss", 6)}),
    ({"epochs": 14, "stop": STOP}, {"epochs": 7}),
    ({"steps": 7}, {"steps": 12}),
    ({"steps": 7}, {"epochs": 3}),
    ({"epochs": 1}, {"steps": 12}),
    ({"steps": 7, "stop": STOP}, {"steps": 12, "stop": STOP}),
    ({"steps": 12, "stop": STOP}, {"steps": 13, "stop": STOP}),
    ({"steps": 19, "stop": Stop("val.loss", 2)}, {"epochs": 14, "stop": Stop("val.loss", 2)}),
])  # fmt: skip
def test_a_run_made_longer_is_one_run(
    train: Callable[..., Trainer], tmp_path: Path, first: dict[str, Any], then: dict[str, Any]
) -> None:
    first, then = {"epochs": None, **first}, {"epochs": None, **then}
    train(tmp_path / "whole", **then)
    train(tmp_path / "parts", **first)
    train(tmp_path / "parts", **then, resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.mark.parametrize(("settings", "notes"), [
    ({"epochs": 14, "stop": STOP}, [
        "nothing left to do after 5 epochs",
        "stopped: val.loss has not improved for 3 epochs; the weights of epoch 2 are kept",
    ]),
    ({"epochs": None, "steps": 7}, ["nothing left to do: 7 steps of 7 are done"]),
    ({"epochs": None, "steps": 7, "stop": STOP}, [
        "nothing left to do: 7 steps of 7 are done", "the weights of epoch 2 are kept, the best by val.loss",
    ]),
])  # fmt: skip
def test_a_run_that_is_over_has_nothing_left_to_do(
    train: Callable[..., Trainer], tmp_path: Path, settings: dict[str, Any], notes: list[str]
) -> None:
    trained = train(tmp_path, **settings)
    before = contents(tmp_path)
    (tmp_path / FILES[0]).unlink()
    progress = Seen()
    resumed = train(tmp_path, **settings, resume=True, progress=progress)
    assert (progress.notes, progress.samples) == (notes, 0)
    assert contents(tmp_path) == before
    assert same(resumed.weights, trained.weights)
    assert resumed.history == trained.history
    resumed.fit()
    assert same(resumed.weights, trained.weights)


def test_exactly_so_many_steps(train: Callable[..., Trainer]) -> None:
    trainer, whole = train(epochs=None, steps=12), train(epochs=3)
    assert trainer.kept["step"] == 12
    assert [(row.epoch, row.step) for row in trainer.history] == [(1, 5), (2, 10), (3, 12)]
    assert trainer.history.rows[:2] == whole.history.rows[:2]
    # The cut epoch has its figures: those in training are over 16 samples, those in validation over all of them.
    assert trainer.history.names == whole.history.names
    assert trainer.splits.validation is not None
    cut = trainer.history.rows[2].figures
    assert trainer.evaluate(trainer.splits.validation).figures == {"loss": cut["val.loss"], "mae": cut["val.mae"]}
    begun = train(epochs=2)
    figures = []
    for index in (0, 1):
        batch = begun._batches.at(3, index)
        figures.append(float(begun.engine.call("step0", batch)["loss"]))
    assert cut["loss"] == sum(8 * figure for figure in figures) / 16
    assert same(begun.kept, trainer.kept)


def test_steps_that_fill_their_epochs_are_those_epochs(train: Callable[..., Trainer], tmp_path: Path) -> None:
    train(tmp_path / "steps", epochs=None, steps=15)
    train(tmp_path / "epochs", epochs=3)
    assert contents(tmp_path / "steps") == contents(tmp_path / "epochs")


# One epoch and two steps of the next: 7 calls, 2 calls, and 2 in validation, of which the last is the end.
@pytest.mark.parametrize("after", range(1, 11))
@pytest.mark.parametrize("stop", [None, STOP])
def test_ctrl_c_in_a_run_of_steps(train: Callable[..., Trainer], tmp_path: Path, after: int, stop: Stop | None) -> None:
    settings = {"epochs": None, "steps": 7, "stop": stop}
    train(tmp_path / "whole", **settings)
    with pytest.raises(Interrupted) as caught:
        train(tmp_path / "parts", **settings, progress=Seen(after))
    assert len(caught.value.history) == after // 7
    train(tmp_path / "parts", **settings, resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_ctrl_c_in_the_validation_of_a_cut_epoch_and_going_on_at_once(
    line: Any, train: Callable[..., Trainer], tmp_path: Path
) -> None:
    program = line.line_program(RATE, epochs=None, steps=7)
    splits = prepare(program, line.line_data(50), validate=0.2)
    engine = partial(line.ReferenceEngine, program)
    with RunFolder(tmp_path / "parts", "line") as run:
        trainer = Trainer(program, engine, splits, run=run, progress=Seen(10))
        with pytest.raises(Interrupted):
            trainer.fit()
        trainer.fit()
    train(tmp_path / "whole", epochs=None, steps=7)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_cut_epoch_can_be_the_best(train: Callable[..., Trainer], tmp_path: Path) -> None:
    # The loss of epoch 1 is high, so two steps more are better; those after epoch 2 are not.
    better = train(tmp_path / "a", epochs=None, steps=7, stop=STOP)
    assert better.history.best_epoch == 2
    assert same(better.weights, train(epochs=None, steps=7).weights)
    assert same(load_weights(tmp_path / "a" / FILES[0], better.program), better.weights)
    worse = train(tmp_path / "b", epochs=None, steps=12, stop=STOP)
    assert worse.history.best_epoch == 2
    assert same(worse.weights, train(epochs=2).weights)
    assert same(load_weights(tmp_path / "b" / FILES[0], worse.program), worse.weights)


def test_fewer_epochs_than_are_begun(train: Callable[..., Trainer], tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, epochs=6, progress=Seen(4 * 7 + 3))
    resumed = train(tmp_path, epochs=2, resume=True)
    assert [(row.epoch, row.step) for row in resumed.history] == [(1, 5), (2, 10), (3, 15), (4, 20), (5, 23)]
    train(tmp_path, epochs=6, resume=True)
    train(tmp_path / "whole", epochs=6)
    assert contents(tmp_path) == contents(tmp_path / "whole")


def test_another_measure_counts_from_there_on(train: Callable[..., Trainer], tmp_path: Path) -> None:
    train(tmp_path, epochs=3)
    progress = Seen()
    trainer = train(tmp_path, epochs=5, stop=STOP, resume=True, progress=progress)
    assert progress.notes == [
        "going on in epoch 4 after 15 steps",
        "only from here on the best val.loss counts, as the run before did not watch it",
        "the weights of epoch 5 are kept, the best by val.loss",
    ]
    assert trainer.history.best_epoch == 5


@pytest.mark.parametrize(("first", "settings"), [
    (None, {"epochs": 3}),
    (None, {"epochs": None, "steps": 12}),
    (None, {"epochs": None, "steps": 2}),
    (9, {"epochs": 3}),
    (9, {"epochs": None, "steps": 12}),
    (6, {"epochs": None, "steps": 20}),
])  # fmt: skip
def test_the_bar_knows_how_many_samples_go_through(
    train: Callable[..., Trainer], tmp_path: Path, first: int | None, settings: dict[str, Any]
) -> None:
    if first is not None:
        with pytest.raises(Interrupted):
            train(tmp_path, **settings, progress=Seen(first))
    progress = Seen()
    trainer = train(tmp_path, **settings, progress=progress, resume=first is not None)
    assert progress.outline.done + progress.samples == progress.outline.samples
    assert progress.outline.epochs == trainer.epochs == len(trainer.history)


def test_epochs_go_before_steps(train: Callable[..., Trainer]) -> None:
    assert train(epochs=2, steps=3).kept["step"] == 10


@pytest.mark.parametrize("damage", [{"watch": None}, {"watch": {"stop": {"measure": "loss"}}}, {"watch": {}}])
def test_a_checkpoint_with_a_damaged_watch(train: Callable[..., Trainer], tmp_path: Path, damage: Any) -> None:
    train(tmp_path, epochs=2, stop=STOP)
    path = tmp_path / FILES[1]
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {**metadata, **damage})
    with pytest.raises(DiagnosticError, match="E0805"):
        load_checkpoint(path)


def test_a_checkpoint_that_lacks_a_best_weight(train: Callable[..., Trainer], tmp_path: Path) -> None:
    train(tmp_path, epochs=2, stop=STOP)
    path = tmp_path / FILES[1]
    tensors, metadata = read_tensors(path)
    del tensors["best:Line.dense.bias"]
    write_tensors(path, tensors, metadata)
    with pytest.raises(DiagnosticError, match=r"(?s)E0806.*`Line\.dense\.bias` is f32\[1\] .* missing from the file"):
        train(tmp_path, epochs=3, stop=STOP, resume=True)


BLOBS = """\
model Blobs(x: f32[N, 8]) -> f32[N, 3] {
    dense(16) -> relu -> dropout(0.3)
    dense(3)
}

train blobs(x: f32[N, 8], label: i64[N]) {
    logits = Blobs(x)
    minimize cross_entropy(logits, label) with adam(0.01)
    measure  accuracy(logits, label)
    validate 20%
    batch    16
    steps    300   # about
    stop     val.accuracy patience 4
    seed     3
}
"""


def blobs() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 3, 300)
    x = rng.normal(size=(3, 8))[label] + rng.normal(size=(300, 8))
    return {"x": x.astype(np.float32), "label": label}


def test_a_compiled_program_by_its_accuracy(tmp_path: Path) -> None:
    program = compiler.compile_train(compiler.check(Source("blobs.dl", BLOBS)), "blobs")
    make_engine = partial(Engine, compiler.train_module(program))

    def run(out: Path, settings: Any, *, resume: bool = False, interrupt: int = 0) -> Trainer:
        changed: TrainProgram = replace(program, settings=settings)
        splits: Splits = prepare(changed, blobs())
        with open_run("blobs", out=out, resume=resume) as folder:
            trainer = Trainer(changed, make_engine, splits, run=folder, resume=resume, progress=Seen(interrupt))
            trainer.fit()
        return trainer

    whole = run(tmp_path / "whole", program.settings)
    accuracies = whole.history["val.accuracy"]
    best = accuracies.index(max(accuracies)) + 1
    assert whole.history.best_epoch == best == len(whole.history) - 4
    short = run(tmp_path / "short", replace(program.settings, steps=None, stop=None, epochs=best))
    assert same(whole.weights, short.weights)
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", program.settings, interrupt=19 * best + 7)
    run(tmp_path / "parts", program.settings, resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_epochs_asked_for_go_in_the_place_of_steps(tmp_path: Path) -> None:
    path = tmp_path / "blobs.dl"
    path.write_text(BLOBS)
    job = make_job(open_project(path), None, Changes(data=blobs(), epochs=2))
    with open_run("blobs", out=tmp_path / "run") as run:
        trainer = job.trainer(job.prepare(), run=run)
        trainer.fit()
    assert len(trainer.history) == 2
    assert run.source.read_text() == BLOBS.replace("steps    300", "epochs 2")
    again = compiler.compile_train(compiler.check(Source("source.dl", run.source.read_text())), "blobs")
    assert (again.settings.epochs, again.settings.steps) == (2, None)
