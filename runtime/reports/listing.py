"""The runs of a folder, side by side: how far they came, how good they are, and what they were given differently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal

from compiler.diagnostics import DiagnosticError, Sink
from compiler.front import tree
from compiler.front.parse import parse, source_from_bytes
from compiler.program import Unit
from runtime.training.folder import HISTORY, RECORD, SOURCE, holds_run, imported_texts, is_locked
from runtime.training.history import History, Row, is_rate, read_history
from runtime.training.record import Record, load_record

Better = Literal["higher", "lower"]
State = Literal["finished", "running", "unfinished", "empty"]
# Figures of which less is better, where a run has left no record that tells.
_ERRORS = ("loss", "mse", "mae", "rmse", "error", "perplexity", "divergence")


@dataclass(frozen=True)
class RunSummary:
    """One run. ``settings`` are the constants and statements of its model file, and the files that it imports, each as
    a text; ``state`` is "running" while a process trains there and "unfinished" where one was stopped."""

    path: Path
    state: State
    history: History
    record: Record | None
    settings: Mapping[str, str] = field(default_factory=dict)

    def better(self, name: str) -> Better:
        """Whether more or less of a figure is better."""
        bare = name.rpartition(".")[2] if name.startswith(("val.", "test.")) else name
        if self.record and bare in self.record.better:
            return "higher" if self.record.better[bare] == "higher" else "lower"
        return "lower" if any(word in bare.lower() for word in _ERRORS) else "higher"

    def best(self, name: str) -> Row | None:
        """The epoch with the best value of a figure; None where no epoch has a finite one."""
        rows = [row for row in self.history if isfinite(row.figures.get(name, float("nan")))]
        return History(rows).best(name, self.better(name)) if rows else None


def find_runs(places: Iterable[Path]) -> list[RunSummary]:
    """The runs in these folders, and the folders themselves where they hold one, by name; folders that hold none are
    left out. Whatever is wrong in a run folder, it is listed with what can be read."""
    found: dict[Path, RunSummary] = {}
    for place in places:
        inner = sorted(place.iterdir()) if place.is_dir() and not holds_run(place) else [place]
        for path in inner:
            if path.is_dir() and (holds_run(path) or (path / RECORD).exists()):
                found.setdefault(path.resolve(), summarise_run(path))
    return sorted(found.values(), key=lambda run: _natural(run.path))


def summarise_run(path: Path) -> RunSummary:
    """What can be read of the run in ``path``."""
    history, record = read_history(path / HISTORY), load_record(path / RECORD)
    state: State = "unfinished"
    if is_locked(path):
        state = "running"
    elif record and record.status == "finished":
        state = "finished"
    elif not history.rows:
        state = "empty"
    return RunSummary(path, state, history, record, _settings_of_run(path))


def _settings_of_run(path: Path) -> dict[str, str]:
    settings = settings_of(path / SOURCE)
    return settings and settings | {f"file {name}": text for name, text in imported_texts(path).items()}


def settings_of(path: Path) -> dict[str, str]:
    """The constants, statements and models of a model file as texts by name; empty where it can't be read."""
    try:
        source = source_from_bytes(str(path), path.read_bytes())
        sink = Sink()
        file = parse(source, sink)
        sink.finish()
    except (OSError, DiagnosticError):
        return {}
    found: dict[str, str] = {}
    for declaration in file.declarations:
        match declaration:
            case tree.Const():
                found[declaration.name.name] = _text(declaration.value)
            case tree.Train():
                for statement in declaration.statements:
                    word, _, rest = _text(statement).partition(" ")
                    rest = rest.removeprefix("= ")  # a name that is given
                    found[word] = f"{found[word]}; {rest}" if word in found else rest
            case _:
                found[f"{type(declaration).__name__.lower()} {declaration.name.name}"] = _text(declaration)
    return found


def differing(runs: Sequence[RunSummary]) -> dict[str, list[str]]:
    """The settings that are not the same in all runs whose model file can be read: the text of each run, "" where it
    has none. Models, blocks and imported files are told apart by letters."""
    known = [run for run in runs if run.settings]
    names = dict.fromkeys(name for run in known for name in run.settings)
    found = {}
    for name in names:
        texts = [run.settings.get(name, "") for run in runs]
        if len({run.settings.get(name, "") for run in known}) > 1:
            found[name] = _letters(texts) if name.startswith(("model ", "block ", "file ")) else texts
    return found


def main_figure(runs: Sequence[RunSummary]) -> str | None:
    """The figure that runs are compared by, unless another is asked for: the first measure over the validation samples,
    else the loss over them, else that over the training samples, of those that every run has."""
    names = [run.history.names for run in runs if run.history.rows]
    shared = [name for name in names[0] if all(name in other for other in names)] if names else []
    measured = [name for name in shared if name.startswith("val.") and not name.startswith("val.loss")]
    return next(iter([*measured, *(name for name in shared if name.startswith("val.")), *shared]), None)


def figure_names(runs: Sequence[RunSummary]) -> list[str]:
    """The figures for a table: those over validation samples, or where no run has any, all; then those of testing."""
    names = list(dict.fromkeys(name for run in runs for name in run.history.names))
    tested = dict.fromkeys(
        name for run in runs if run.record for name in run.record.results if name.startswith("test.")
    )
    shown = [name for name in names if name.startswith("val.")] or [name for name in names if not is_rate(name)]
    return [*shown, *tested]


def _letters(texts: Sequence[str]) -> list[str]:
    order = list(dict.fromkeys(filter(None, texts)))
    return [chr(ord("A") + order.index(text) % 26) if text else "" for text in texts]


def _text(node: tree.Node) -> str:
    return " ".join(node.span.text.split())


def _natural(path: Path) -> tuple[str, int, str]:
    """``digits-10`` behind ``digits-9``."""
    stem, _, number = path.name.rpartition("-")
    return (stem, int(number), str(path)) if stem and number.isdecimal() else (path.name, 1, str(path))


def curves(runs: Sequence[RunSummary], name: str) -> Iterator[tuple[RunSummary, list[int], list[float]]]:
    """For each run that has a figure its places, counted by :func:`common_unit`, and its values there."""
    unit = common_unit(runs)
    for run in runs:
        if name in run.history.names:
            yield run, run.history.places_by(unit), run.history[name]


def common_unit(runs: Iterable[RunSummary]) -> Unit:
    """What all the runs can be counted by: epochs, unless some have figures after so many steps."""
    return "step" if any(run.history.unit == "step" for run in runs) else "epoch"
