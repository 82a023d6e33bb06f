"""The training loop: deterministic, interruptible between any two steps, and resumable from there bit for
bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from compiler.diagnostics import Diagnostic, DiagnosticError, error
from compiler.ir.graph import Role
from compiler.passes.average import average_name
from compiler.program import TrainProgram, loss_names
from runtime.data.batches import Batches, DataSet
from runtime.data.split import Splits
from runtime.disk.files import write_text
from runtime.disk.tensors import Array
from runtime.programs import helpers
from runtime.programs.blas import single_threaded_blas
from runtime.programs.visible import visible
from runtime.training.calls import Calls, check_batches
from runtime.training.checkpoint import (
    Checkpoint,
    Origin,
    check_origin,
    check_same,
    fingerprint,
    load_checkpoint,
    save_checkpoint,
    save_weights,
    types_of,
    weight_types,
)
from runtime.training.evaluation import Measured, Totals, TrainingExecutor, evaluate, total_names
from runtime.training.failure import not_finite
from runtime.training.folder import RunFolder
from runtime.training.given import read_given
from runtime.training.history import History, Row
from runtime.training.interrupt import Interruption, deferred_interrupt
from runtime.training.keeping import drop_others, kept_file, kept_places
from runtime.training.pace import Pace
from runtime.training.pictures import Album
from runtime.training.position import Position
from runtime.training.progress import Observer, Outline, Progress, Silent, StopTraining
from runtime.training.replay import Snapshot, diagnose
from runtime.training.stopping import Watch

# Makes an engine around the weights and state it is to use: `partial(Engine, module_text)`.
MakeEngine = Callable[[dict[str, Array]], TrainingExecutor]

# A checkpoint is written after every epoch, except that epochs shorter than this many seconds share one; and
# within an epoch where the last one is older than the second figure.
_SHORT_EPOCH, _LONG_EPOCH = 0.25, 60.0


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped the training between two steps, after a checkpoint was written (where there is a run
    folder)."""

    def __init__(self, history: History, position: Position) -> None:
        super().__init__(f"stopped in epoch {position.epoch} after {position.batch} steps of it")
        self.history, self.position = history, position


class _Stop(BaseException):
    """Someone asked to stop, and this is a good place: no mistake that anyone else may catch."""


class Trainer:
    """One run of a program over its data.

    ``kept`` are the weights and state by name, current at any time between calls; ``history`` has a row for
    each finished epoch, and when the run ends for one that ``steps`` cut short; or for each so many steps, where
    the settings say so. ``observer`` may be set before it begins.
    """

    def __init__(
        self,
        program: TrainProgram,
        make_engine: MakeEngine,
        splits: Splits,
        *,
        run: RunFolder | None = None,
        resume: bool = False,
        weights: Mapping[str, Array] | None = None,
        progress: Progress | None = None,
        seconds: float | None = None,
    ) -> None:
        """Makes the initial weights, or takes ``weights``, or with ``resume`` the state in the folder of
        ``run``. After so many ``seconds`` of training the run ends between two steps, to be resumed.

        Raises DiagnosticError: E0613 where it is not said how long to train, E0614 where a layer can't take a
        batch of the sizes that there will be, E0804 to E0807 for a checkpoint that is missing, damaged, of
        another model or of another run.
        """
        if program.settings.epochs is None and program.settings.steps is None:
            advice = "add a line like `epochs 10` to the train block, or say it on the command line: --epochs 10"
            title = f"the train block `{program.name}` does not say for how long to train"
            raise DiagnosticError([error("E0613", title, None, help=advice)])
        self.program, self.splits, self.run = program, splits, run
        self.progress: Progress = progress or Silent()
        self.kept = initial_state(program, make_engine)
        self.history, self.position, self._totals = History(), Position(), Totals()
        self._watch, self._pace = Watch.of(program), Pace(program, validated=splits.validation is not None)
        self._seconds, self._deadline, self._begun = seconds, math.inf, 0
        self._batches = Batches(splits.train, program.settings.samples, program.settings.seed)
        self._album = Album(run.pictures, splits, program.settings.batch) if run and program.pictures else None
        self._notes = [_where_pictures_go(program, run)] if run and self._album else []
        self._fingerprint = fingerprint(program) if run else ""
        self._origin = Origin.of(program, splits) if run else None
        self._saved: tuple[Position, int] | None = None  # with the number of rows, as a cut epoch has one or not
        if weights is not None:
            check_same("the mapping of weights", weights, weight_types(program))
            self._take(weights)
            self._take_inference(weights)
        if resume and run:
            self._resume(run)
        self._calls = Calls(program)
        self.engine = make_engine({**self.kept, **self._calls.state})
        # What is judged are the averages where there are any.
        self._judge = make_engine({**self.kept, **self.weights}) if program.average else self.engine
        check_batches(program, self.engine, self._batches)
        self._losses, self._total_names = loss_names(len(program.steps)), total_names(program)
        self._interruption = Interruption()
        self._snapshot = Snapshot(self.kept, self.position)
        self._saved_at = 0.0
        self.observer: Observer | None = None

    @property
    def weights(self) -> dict[str, Array]:
        """The weights that inference needs, by name, averages where ``average`` says so: the arrays at work, which
        further training changes."""
        names = [name for name in weight_types(self.program) if name in self.kept]
        return {name: self.kept.get(average_name(name), self.kept[name]) for name in names}

    @property
    def epochs(self) -> int:
        """The epochs of the whole run, one that ``steps`` cuts short included."""
        left = self._last_step - (self.position.step - self.position.batch)
        return self.position.epoch - 1 - (-left // len(self._batches))

    @property
    def _last_step(self) -> int:
        """The step with which the run ends, if not early."""
        settings, position = self.program.settings, self.position
        if settings.epochs is None:
            assert settings.steps is not None, "the constructor checks that one of them is given"
            return settings.steps
        return position.step - position.batch + (settings.epochs - position.epoch + 1) * len(self._batches)

    def fit(self) -> History:
        """Trains for the epochs or steps that are left and gives the history, earlier epochs included.

        With early stopping the weights are those of the best epoch afterwards.
        Ctrl-C waits for the end of the step, writes a checkpoint and raises :class:`Interrupted`; a second
        one raises KeyboardInterrupt at once. Raises DiagnosticError: E0701 for a loss or weights that are NaN
        or infinite (``kept`` is then as it was before that step), E0702 for such a loss in validation, E0808
        where a checkpoint can't be written.
        """
        try:
            with deferred_interrupt() as self._interruption, single_threaded_blas():
                self._start()
                self._save()
                with suppress(StopTraining):
                    while not self._is_over():
                        self._round()
                self._save()
                self._end()
        except _Stop:
            self._save()
            raise Interrupted(self.history, self.position) from None
        finally:
            self._batches.close()
            helpers.rest()
            self.progress.stop()
        return self.history

    def evaluate(self, data: DataSet) -> Measured:
        """The loss and every measure over ``data`` with the weights as they are. Raises DiagnosticError
        E0702."""
        return evaluate(self.program, self._judge, data)

    def _start(self) -> None:
        position, validation = self.position, self.splits.validation
        before, validated, last = position.epoch - 1, len(validation) if validation else 0, self._last_step
        begun = before * len(self.splits.train)
        left = self._batches.samples(last - position.step + position.batch)
        interval = self.program.settings.interval
        rounds, done = -(-last // interval) if interval else self.epochs, len(self.history) - bool(self._cut)
        outline = Outline(
            self.epochs,
            position.epoch,
            begun + left + rounds * validated,
            begun + self._batches.samples(position.batch) + done * validated,
            last if interval else 0,
        )
        self.progress.start(outline)
        for note in self._notes:
            self.progress.note(note)
        self._saved_at = time.perf_counter()
        self._deadline = math.inf if self._seconds is None else self._saved_at + self._seconds
        self._begun = position.step

    def _resume(self, run: RunFolder) -> None:
        checkpoint = load_checkpoint(run.checkpoint)
        check_same(run.checkpoint, checkpoint.kept, types_of(self.kept))
        check_origin(run.checkpoint, checkpoint, self._known_origin)
        if checkpoint.watch.step:
            check_same(run.checkpoint, checkpoint.watch.weights, types_of(self.weights))
        self._take(checkpoint.kept)
        self.history, self.position, self._totals = checkpoint.history, checkpoint.position, checkpoint.totals
        self._watch = self._watch.resumed(checkpoint.watch)
        self._pace.restore(checkpoint.pace)
        self._mark_best()
        self._notes.append(self._how_it_goes_on())
        stop = self._watch.stop
        if stop and checkpoint.watch.measure != stop.measure:
            self._notes.append(f"only from here on the best {stop.measure} counts, as the run before did not watch it")
        if checkpoint.fingerprint != self._fingerprint:
            self._notes.append("the program has changed since the checkpoint; the new one goes on with its weights")

    def _how_it_goes_on(self) -> str:
        position = self.position
        if not self._is_over():
            return f"going on in epoch {position.epoch} after {position.step} steps"
        if self._watch.over:
            unit = self.program.settings.unit
            return f"nothing left to do after {position.epoch - 1 if unit == 'epoch' else position.step} {unit}s"
        if self.program.settings.epochs is None:
            return f"nothing left to do: {position.step} steps of {self._last_step} are done"
        return f"nothing left to do: {position.epoch - 1} epochs of {self.epochs} are done"

    def _take(self, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            np.copyto(self.kept[name], array)

    def _take_inference(self, arrays: Mapping[str, Array]) -> None:
        """Let these be the weights of inference."""
        weights = self.weights
        for name, array in arrays.items():
            np.copyto(weights[name], array)

    def _is_over(self) -> bool:
        """Whether no step is left, or no time, nor the figures of the steps made; or the best row was long ago."""
        measured = self.position.step == self._measured_step
        return self._watch.over or (measured and (self.position.step >= self._last_step or self._is_late()))

    def _is_late(self) -> bool:
        """Whether the time is up; one step at least is always made."""
        return self.position.step > self._begun and time.perf_counter() >= self._deadline

    @property
    def _measured_step(self) -> int:
        """The step after which figures were taken last; 0 before."""
        return self.history.rows[-1].step if self.history.rows else 0

    @property
    def _is_full(self) -> bool:
        """Whether the epoch at work is over or, where steps are counted, as many of them."""
        interval, position = self.program.settings.interval, self.position
        return position.step % interval == 0 if interval else position.batch in (0, len(self._batches))

    @property
    def _cut(self) -> Row | None:
        """The last row, where the end of the run cut it short. It is not for good: a resumed run may make more
        steps, and is then to be the same as one that was to make them from the start."""
        measured = self.position.step == self._measured_step
        return self.history.rows[-1] if self.history.rows and measured and not self._is_full else None

    def _outcome(self) -> Watch:
        """The watch if the run ends here, a cut epoch included."""
        return self._watch.after(self._cut, self.weights) if self._cut else self._watch

    def _mark_best(self) -> None:
        self.history.best_step = self._outcome().step or None
        self.history.keep_final_tables()

    def _round(self) -> None:
        """What is left of the epoch at work, or of the steps that are counted together: batches, validation, a row in
        the history."""
        if self._cut:
            self.history.rows.pop()
            self._mark_best()
        last_step = self._last_step
        while not self._is_due(last_step):
            self._pause()
            if self.observer:
                self.observer.before_step()
            self._step()
            self._snapshot.renew(self.kept, self.position)
            if self._is_late():
                break
        self._check_weights()
        found = self._measured()
        if self.splits.validation is not None:
            found |= evaluate(self.program, self._judge, self.splits.validation, each=self._validated).named("val.")
        found |= Measured(self._pace.figures(self.kept), {})
        row = Row(self.position.epoch, self.position.step, found.figures, found.tables, self.program.settings.unit)
        self.history.rows.append(row)
        if self._is_full:
            self._watch = self._watch.after(row, self.weights)
            self._pace.after(row)
            self.position, self._totals = self.position.wrapped(len(self._batches)), Totals()
        self._mark_best()
        if self.run and self._album:
            with self.run.writing():
                self._album.draw(self._judge, row.place)
        if self.observer:
            self.observer.take(row)
        self.progress.epoch(row)
        self._keep(row)
        if time.perf_counter() - self._saved_at >= _SHORT_EPOCH:
            self._save()

    def _is_due(self, last_step: int) -> bool:
        """Whether figures are to be taken now, as steps were made since the last ones."""
        position = self.position
        return position.step > self._measured_step and (self._is_full or position.step >= last_step)

    def _step(self) -> None:
        """One step: an update for each minimize statement."""
        position = self.position = self.position.wrapped(len(self._batches))
        inputs, rows = self._batches.at(position.epoch, position.batch), self._batches.count(position.batch)
        self._pace.prepare(self.kept, position, self._last_step)
        for index in self._pace.due(position):
            for call in self._calls.of(index, inputs, rows):
                outputs = self.engine.call(call.graph.name, call.inputs)
                if not call.rows:
                    continue
                loss = float(outputs["loss"])
                if not np.isfinite(loss):
                    raise DiagnosticError([self._diagnose()])
                self._totals.add_loss(self._losses[index], loss, call.rows)
                if index == 0:
                    self._totals.add(self._total_names, outputs)
        self._pace.settle(self.engine)
        self._totals.rows += rows
        self.position = Position(position.epoch, position.batch + 1, position.step + 1)
        self.progress.advance(rows, self._figures)

    def _pause(self) -> None:
        """Between two steps: stops where that was asked for, and saves in an epoch that takes long."""
        if self._interruption.requested:
            raise _Stop
        if time.perf_counter() - self._saved_at >= _LONG_EPOCH:
            self._save()

    def _validated(self, rows: int) -> None:
        if self._interruption.requested:
            raise _Stop
        self.progress.advance(rows, self._figures)

    def _measured(self) -> Measured:
        """The losses and measures of the epoch so far."""
        losses = {name: self._totals.mean(name) for name in self._losses if name in self._totals.sums}
        return Measured(losses, {}) | self._totals.finish(self.program.measures)

    def _figures(self) -> Mapping[str, float]:
        return self._measured().figures

    def _end(self) -> None:
        """Takes the best weights, once those of the last step are in the checkpoint."""
        outcome = self._outcome()
        self._take_inference(outcome.weights)
        if outcome.verdict:
            self.progress.note(outcome.verdict)
        if self._is_late() and self.position.step < self._last_step and not outcome.over:
            self.progress.note(f"the time is up after {self.position.step} of {self._last_step} steps")

    def _save(self) -> None:
        if self.run is None or self._saved == (self.position, len(self.history)):
            return
        self._check_weights()
        with self.run.writing():
            save_checkpoint(self.run.checkpoint, self._checkpoint())
            inference = {**self.weights, **self._outcome().weights}
            save_weights(self.run.weights, self.program, inference, self.splits.train.names)
            write_text(self.run.history, self.history.csv())
            if self.observer:
                self.observer.save()
        self._saved, self._saved_at = (self.position, len(self.history)), time.perf_counter()

    def _checkpoint(self) -> Checkpoint:
        origin, pace = self._known_origin, self._pace.as_json()
        return Checkpoint(
            self.kept, self.position, self._totals, self.history, origin, self._fingerprint, self._watch, pace
        )

    @property
    def _known_origin(self) -> Origin:
        assert self._origin is not None, "checkpoints are written and read where there is a run folder"
        return self._origin

    def _keep(self, row: Row) -> None:
        """Keeps the checkpoint that belongs to a row, where the statement ``keep`` says so, and drops others."""
        if self.run is None or self.program.settings.keep is None or self._cut:
            return
        places, folder = kept_places(self.program, self.history.rows), self.run.kept(row.unit)
        if row.place in places:
            self._check_weights()
            with self.run.writing():
                folder.mkdir(exist_ok=True)
                save_checkpoint(kept_file(folder, row.place), self._checkpoint())
                drop_others(folder, places)

    def _check_weights(self) -> None:
        """An update can spoil weights while the loss, worked out before it, still is finite."""
        if not_finite(self.kept):
            raise DiagnosticError([self._diagnose()])

    def _diagnose(self) -> Diagnostic:
        diagnostic = diagnose(
            self._calls, self.engine, self._batches, self._snapshot, self.position, self._pace, self._last_step
        )
        if self.run is None or self._saved is None:
            return diagnostic
        kept = f"{self.run.checkpoint} is as it was after step {self._saved[0].step}"
        return replace(diagnostic, notes=(*diagnostic.notes, kept))


def initial_state(program: TrainProgram, make_engine: MakeEngine) -> dict[str, Array]:
    """Every weight and state by name, made by the seed or given; where the processes that share work see them."""
    seed = np.array(program.settings.seed, np.int64)
    engine = make_engine({"seed": seed, **read_given(program.given)})
    state: dict[str, Array] = {"seed": seed, **engine.call("initial", {})}
    for graph in (*program.steps, *program.updates, program.evaluate):
        for value in graph.inputs_of(Role.STATE):
            if value.name == "step":
                state.setdefault("step", np.zeros((), np.int64))
    return visible(state, engine.neighbours)


def _where_pictures_go(program: TrainProgram, run: RunFolder) -> str:
    return f"pictures after every {'epoch' if program.settings.unit == 'epoch' else 'validation'} go to {run.pictures}"
