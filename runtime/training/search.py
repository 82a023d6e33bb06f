"""The search for good constants: trainings with other values of those that have a range, chosen by Optuna."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from compiler.diagnostics import DiagnosticError, error
from compiler.program import SearchSpace
from runtime.extras import needs
from runtime.programs.project import constant_text, open_project
from runtime.reports.listing import Better, main_figure, summarise_run
from runtime.reports.report.write import write_report
from runtime.training.folder import open_run
from runtime.training.job import Changes, make_job, results
from runtime.training.progress import Silent

# What is of no use once a better trial is known, and large.
_HEAVY = ("weights.safetensors", "checkpoint.safetensors", "report.html")
_DIVERGED = "E0701"


@dataclass(frozen=True)
class Trial:
    """One training: its constants as texts, the figure that was reached, None where it got out of hand, and its run
    folder."""

    number: int
    constants: Mapping[str, str]
    figure: float | None
    folder: Path


@dataclass(frozen=True)
class Search:
    """What to search through: a model file, the train block in it, its constants ``fixed`` from outside, and how many
    ``trials`` to make in the folder ``out``; ``figure`` is what is to become better."""

    file: Path
    block: str | None
    fixed: Mapping[str, str]
    changes: Changes
    trials: int
    out: Path
    figure: str | None = None


def search(wanted: Search) -> Iterator[tuple[Trial, str, bool]]:
    """Makes the trials one after the other; gives each, the name of the figure that counts, and whether it is the best
    so far.

    The first trial has the constants of the file, within their ranges; the others are Optuna's, drawn by the seed of
    the training, so that the same search makes the same trials. All run folders stay in ``out``; weights, checkpoint
    and report are kept of the best one. Raises DiagnosticError: E0810 without Optuna, E0811 where no constant has a
    range, E0803 where ``out`` holds something already, E0509 where the runs do not have the figure, and what is wrong
    with the model file.
    """
    project = open_project(wanted.file, wanted.fixed)
    job = make_job(project, wanted.block, wanted.changes)
    elaborated = project.checked.elaborated
    spaces = {name: space for name, space in elaborated.spaces.items() if name not in wanted.fixed}
    if not spaces:
        title = f"{wanted.file} has no constant to search through"
        advice = "give one a range, as in const rate = 1e-3 in 1e-4 .. 1e-2 log, or choices, as in [16, 32, 64]"
        raise DiagnosticError([error("E0811", title, None, help=advice)])
    if wanted.out.exists() and any(wanted.out.iterdir()):
        advice = "name another folder with --out, or remove this one"
        raise DiagnosticError([error("E0803", f"{wanted.out} holds something already", None, help=advice)])
    searching = _Searching(wanted, spaces, job.program.settings.seed)
    searching.begin_with({name: elaborated.constants[name] for name in spaces})
    for number in range(1, wanted.trials + 1):
        yield searching.next(number)


class _Searching:
    """A search at work: Optuna's study, and the best trial so far."""

    def __init__(self, wanted: Search, spaces: Mapping[str, SearchSpace], seed: int) -> None:
        with needs("optuna", "search", "a search"):
            import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        self._failed = optuna.trial.TrialState.FAIL
        self._wanted, self._spaces = wanted, spaces
        self._figure = wanted.figure
        self._best: Trial | None = None

    def begin_with(self, constants: Mapping[str, Any]) -> None:
        """Has the next trial made with these values."""
        self._study.enqueue_trial({name: _parameter(self._spaces[name], value) for name, value in constants.items()})

    def next(self, number: int) -> tuple[Trial, str, bool]:
        """Makes one more trial."""
        asked = self._study.ask()
        constants = {name: constant_text(_suggested(asked, name, space)) for name, space in self._spaces.items()}
        folder = self._wanted.out / f"trial-{number}"
        diverged = _train(self._wanted, constants, folder)
        run = summarise_run(folder)
        self._figure = self._figure or main_figure([run])
        figure = self._figure or ""
        if not diverged and figure not in run.history.names:
            title = f"{run.path} has no figure {figure}"
            raise DiagnosticError([error("E0509", title, None, help=f"it has {', '.join(run.history.names)}")])
        trial = Trial(number, constants, None if diverged else _reached(run.history.final, figure), folder)
        better = run.better(figure)
        if trial.figure is None:
            self._study.tell(asked, state=self._failed)
        else:
            self._study.tell(asked, trial.figure if better == "lower" else -trial.figure)
        ahead = _beats(trial, self._best, better)
        _lighten(self._best if ahead else trial)
        self._best = trial if ahead else self._best
        return trial, figure, ahead


def _train(wanted: Search, constants: Mapping[str, str], folder: Path) -> bool:
    """Trains with these constants, into ``folder``; gives whether the numbers got out of hand."""
    project = open_project(wanted.file, {**wanted.fixed, **constants})
    job = make_job(project, wanted.block, wanted.changes)
    splits = job.prepare()
    with open_run(job.program.name, out=folder) as run:
        with job.recording(run, splits, Silent()) as recording:
            trainer = job.trainer(splits, run=run, progress=recording)
            try:
                trainer.fit()
            except DiagnosticError as problem:
                if [found.code for found in problem.diagnostics] != [_DIVERGED]:
                    raise
                return True
            recording.note_results(results(trainer).metrics)
        write_report(run.path, job, trainer.weights, splits, trainer.history, recording.record)
    return False


def _suggested(asked: Any, name: str, space: SearchSpace) -> Any:
    if space.choices:
        return space.choices[asked.suggest_categorical(name, list(range(len(space.choices))))]
    if space.whole:
        return asked.suggest_int(name, int(space.low), int(space.high), log=space.logarithmic)
    exact = asked.suggest_float(name, space.low, space.high, log=space.logarithmic)
    # More digits would say nothing, and nobody would like to read them.
    return min(max(float(f"{exact:.4g}"), float(space.low)), float(space.high))


def _parameter(space: SearchSpace, value: Any) -> Any:
    """A constant's own value as Optuna has it: kept within the space, so that it can stand for it."""
    if space.choices:
        return space.choices.index(value) if value in space.choices else 0
    return min(max(value, space.low), space.high)


def _reached(row: Any, figure: str) -> float | None:
    value = row.figures.get(figure) if row else None
    return value if value is not None and isfinite(value) else None


def _beats(trial: Trial, best: Trial | None, better: Better) -> bool:
    if trial.figure is None:
        return False
    if best is None or best.figure is None:
        return True
    return trial.figure > best.figure if better == "higher" else trial.figure < best.figure


def _lighten(trial: Trial | None) -> None:
    """Removes what is large, and of use only for the best run."""
    if trial is not None:
        for path in (*(trial.folder / name for name in _HEAVY), *trial.folder.glob("*.onnx")):
            path.unlink(missing_ok=True)
