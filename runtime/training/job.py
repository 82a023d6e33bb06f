"""A training run made ready: the program with what the command line changed of it, its NumPy module, its data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

import compiler
from compiler.collection import uncollected
from compiler.diagnostics import DiagnosticError, error
from compiler.front.resolve import moved_imports, resolve
from compiler.program import Settings, TrainProgram
from compiler.sources import DataSource, Share, shown
from runtime.data.batches import DataSet
from runtime.data.readers.content import Names
from runtime.data.sources import like
from runtime.data.split import Given, Splits, prepare
from runtime.disk.tensors import Array
from runtime.programs.engine import Engine
from runtime.programs.project import Project
from runtime.training.evaluation import Measured, evaluate
from runtime.training.folder import IMPORTS, RunFolder
from runtime.training.loop import MakeEngine, Trainer, initial_state
from runtime.training.progress import Progress
from runtime.training.record import Recording

Split: TypeAlias = Literal["train", "validate", "test", "all"]


@dataclass(frozen=True)
class Changes:
    """What goes before the statements of the train block; None leaves them. Paths start at the current folder."""

    data: Given | None = None
    validate: Given | None = None
    test: Given | None = None
    epochs: int | None = None
    steps: int | None = None
    batch: int | None = None
    seed: int | None = None
    skip_bad: bool = False
    accumulate: int | None = None

    def gathered(self, program: TrainProgram) -> Changes:
        """The changes with arrays in place of what gives its samples once, one after another. Raises DiagnosticError,
        see :func:`runtime.data.spool.gathered`."""
        found = {name: getattr(self, name) for name in ("data", "validate", "test")}
        streams = {name: given for name, given in found.items() if not isinstance(given, _READY)}
        if not streams:
            return self
        from runtime.data.spool import gathered

        arrays: dict[str, Any] = {name: gathered(program, given) for name, given in streams.items()}
        return replace(self, **arrays)

    def applied(self, settings: Settings) -> Settings:
        """``settings`` with the changed counts. Raises DiagnosticError E0404 for counts and shares out of range, and
        where both epochs and steps are given."""
        least = {"epochs": 1, "steps": 1, "batch": 1, "accumulate": 1, "seed": 0}
        wrong = [
            f"{name} is {f'at least {least[name]}' if isinstance(n, Integral) else 'a whole number'}, not {n!r}"
            for name, n in self._counts().items()
            if not isinstance(n, Integral) or n < least[name]
        ]
        if isinstance(self.data, int | float):
            wrong.append(f"data is a data file, arrays by name, or samples one after another, not {self.data!r}")
        for name, share in (("validate", self.validate), ("test", self.test)):
            if isinstance(share, int | float) and not 0.0 < share < 1.0:
                wrong.append(f"{name} takes a share above 0 and below 1, not {share}")
        if self.epochs is not None and self.steps is not None:
            wrong.append("epochs and steps both say when training ends: give one of them")
        if wrong:
            raise DiagnosticError([error("E0404", title, None) for title in wrong])
        changed = self._counts()
        if "epochs" in changed or "steps" in changed:
            changed = {"epochs": None, "steps": None, **changed}
        return replace(settings, **changed)

    def statements(self, stated: Settings, origin: Path, folder: Path) -> dict[str, str]:
        """The changes as whole statements, by their first word, and with them those whose paths start at ``origin``
        and have to be written anew from ``folder``. Arrays have no statement."""
        texts = {name: f"{name} {count}" for name, count in self._counts().items()}
        for given, other in (("epochs", "steps"), ("steps", "epochs")):
            if given in texts and other in stated.spans:
                texts[other] = texts.pop(given)  # in its place: a block has one of them
        for name in ("data", "validate", "test"):
            given, before = getattr(self, name), getattr(stated, name)
            if isinstance(given, float):
                texts[name] = f"{name} {given!r}"
            elif isinstance(given, str | Path):
                setting = like(stated.data if before is None or isinstance(before, float | Share) else before, given)
                texts[name] = f"{name} {shown(setting, partial(_moved, Path('.'), folder))}"
            elif given is None and isinstance(before, str | DataSource):
                texts[name] = f"{name} {shown(before, partial(_moved, origin, folder))}"
        if "validate" in texts and stated.interval:
            texts["validate"] += f" every {stated.interval}"
        return texts

    def _counts(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("epochs", "steps", "batch", "accumulate", "seed")}
        return {name: count for name, count in counts.items() if count is not None}


_UNCHANGED = Changes()
_READY = (type(None), int, float, str, Path, Mapping)


@dataclass(frozen=True)
class Job:
    """A train block with the changes to it. ``make_engine`` puts its module to work on weights and state; ``names`` are
    those of the classes and characters that the weights learned before, if they did."""

    project: Project
    program: TrainProgram
    changes: Changes
    make_engine: MakeEngine
    names: Names = field(default_factory=dict)

    def prepare(self) -> Splits:
        """The data: loaded, checked and split. Raises DiagnosticError, see :func:`runtime.data.split.prepare`."""
        return self._prepared(self.program, validate=self.changes.validate, test=self.changes.test)

    def _prepared(self, program: TrainProgram, **apart: Given | None) -> Splits:
        folder, skip_bad = self.project.folder, self.changes.skip_bad
        return prepare(program, self.changes.data, folder=folder, names=self.names, skip_bad=skip_bad, **apart)

    def samples(self, split: Split | None = None) -> tuple[Split, DataSet]:
        """The samples of one split with its name, by default those for testing, or else those for validation. Raises
        DiagnosticError as :meth:`prepare` does, E0404 for a split that is none and E0613 for one without samples."""
        if split is not None and split not in get_args(Split):
            advice = f"it is one of {', '.join(get_args(Split))}"
            raise DiagnosticError([error("E0404", f"there is no split {split!r}", None, help=advice)])
        if split == "all":
            unsplit = replace(self.program.settings, validate=None, test=None)
            program = replace(self.program, settings=unsplit)
            whole = self._prepared(program).train
            return split, replace(whole, rows=np.sort(whole.rows)).apart()
        splits = self.prepare()
        split = split or ("test" if splits.test else "validate" if splits.validation else "train")
        chosen = {"train": splits.train, "validate": splits.validation, "test": splits.test}[split]
        if chosen is None:
            title = f"the train block `{self.program.name}` sets no samples apart to {split}"
            advice = f"add a line like `{split} 20%` to it, or take other samples: --split all"
            raise DiagnosticError([error("E0613", title, None, help=advice)])
        return split, chosen

    def trainer(
        self,
        splits: Splits,
        *,
        run: RunFolder | None = None,
        resume: bool = False,
        weights: Mapping[str, Array] | None = None,
        progress: Progress | None = None,
        seconds: float | None = None,
    ) -> Trainer:
        """A :class:`Trainer` for the job, which trains for so many ``seconds`` at most; the model file as it is
        trained, and those that it imports, go to the folder ``run``."""
        trainer = Trainer(
            self.program,
            self.make_engine,
            splits,
            run=run,
            resume=resume,
            weights=weights,
            progress=progress,
            seconds=seconds,
        )
        if run is not None:
            self._save_source(run)
            run.save_data(splits.as_json())
        return trainer

    def _save_source(self, run: RunFolder) -> None:
        checked = self.project.checked
        statements = self.changes.statements(self.program.settings, self.project.folder, run.path)
        paths, contents = moved_imports(checked.elaborated.imported, IMPORTS)
        run.save_source(resolve(checked.source, checked.overrides, self.program.name, statements, paths), contents)

    def recording(self, run: RunFolder, splits: Splits, shown: Progress, *, resume: bool = False) -> Recording:
        """The progress that keeps the record of a run in ``run`` and tells ``shown``."""
        better = {measure.name: measure.better for measure in self.program.measures if measure.better}
        return Recording(run, splits.sizes, shown, better=better, resume=resume)

    def evaluate(self, weights: Mapping[str, Array], data: DataSet) -> Measured:
        """The loss and every measure over ``data`` with these weights. Raises DiagnosticError E0702."""
        kept = initial_state(self.program, self.make_engine) | dict(weights)
        return evaluate(self.program, self.make_engine(kept), data)


@uncollected()
def make_job(project: Project, name: str | None = None, changes: Changes = _UNCHANGED) -> Job:
    """The train block ``name`` of ``project``, or the only one, compiled. Raises DiagnosticError E0203 where the block
    is not clear, and what compiling raises."""
    compiled = project.train(name, accumulates=True if (changes.accumulate or 1) > 1 else None)
    changes = changes.gathered(compiled)
    program = replace(compiled, settings=changes.applied(compiled.settings))
    _check_bound(program)
    return Job(project, program, changes, partial(Engine, compiler.train_module(program), name=program.name))


def _check_bound(program: TrainProgram) -> None:
    """Raises DiagnosticError E0506 for a batch with more samples than its symbol may stand for."""
    bounds = {found.name: found.upper for value in program.inputs for found in value.type.symbols}
    most, batch = bounds[program.batch_symbol], program.settings.batch
    if most is not None and batch > most:
        title = f"a batch has {batch} samples, but {program.batch_symbol} is at most {most} in `{program.name}`"
        raise DiagnosticError([error("E0506", title, None, help=f"take smaller ones: {most} samples at most")])


@dataclass(frozen=True)
class Results:
    """What a trained program gives on samples that it was not trained on; empty where none were set apart."""

    validation: Measured
    test: Measured

    @property
    def metrics(self) -> dict[str, float]:
        """All figures, as ``val.loss``, ``test.accuracy`` and so on."""
        return dict((self.validation.named("val.") | self.test.named("test.")).figures)


def results(trainer: Trainer) -> Results:
    """How well the weights of a finished training do. Raises DiagnosticError E0702."""
    row, nothing = trainer.history.final, Measured({}, {})
    validation = Measured(row.figures, row.tables).behind("val.") if row else nothing
    return Results(validation, trainer.evaluate(trainer.splits.test) if trainer.splits.test else nothing)


def _moved(origin: Path, folder: Path, path: str) -> str:
    """``path``, which starts at ``origin``, as it is written where paths start at ``folder``."""
    try:
        return Path(os.path.relpath(origin / path, folder)).as_posix()
    except ValueError:  # another drive
        return (origin / path).absolute().as_posix()
