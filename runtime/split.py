"""Training, validation and test sets: from one file that is split, or from several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from compiler.diagnostics import DiagnosticError, Span, error
from compiler.program import TrainProgram
from runtime.batches import DataSet
from runtime.bind import ArrayLike, bind
from runtime.data import load_arrays
from runtime.order import Stream, shuffled

Arrays: TypeAlias = Mapping[str, ArrayLike]


@dataclass(frozen=True)
class Splits:
    """The three sets of a run. ``share_*`` are the shares that were split off, None for sets that came by
    themselves."""

    train: DataSet
    validation: DataSet | None = None
    test: DataSet | None = None
    share_validation: float | None = None
    share_test: float | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """The number of samples of each set that there is, by the word that a train block has for it."""
        sets = {"train": self.train, "validate": self.validation, "test": self.test}
        return {name: len(data) for name, data in sets.items() if data is not None}


def prepare(
    program: TrainProgram,
    data: str | Path | Arrays | None = None,
    *,
    validate: float | str | Path | Arrays | None = None,
    test: float | str | Path | Arrays | None = None,
    folder: str | Path = ".",
) -> Splits:
    """Loads, checks and splits what ``program`` trains on.

    An argument goes before the statement of the same name in the ``train`` block: a share of the samples, a
    file or arrays by name. Paths in the block start at ``folder``, the one of the model file; paths given
    here at the current one. Rows are shuffled by the seed before they are split, and which row goes where
    depends on the number of rows, the seed and the shares only. Raises DiagnosticError: what :func:`bind` and
    :func:`load_arrays` raise, E0612 where a split leaves nothing, E0613 where there is no data.
    """
    settings, spans = program.settings, program.settings.spans
    whole = _load(program, data, settings.data, folder, spans.get("data"))
    if whole is None:
        advice = 'add a line like data "digits.npz" to the train block, or give the data on the command line'
        title = f"the train block `{program.name}` does not say what to learn from"
        raise DiagnosticError([error("E0613", title, None, help=advice)])
    shares = {
        "validate": _share(validate, settings.validate),
        "test": _share(test, settings.test),
    }
    train, validation, tested = split(whole, shares["validate"], shares["test"], settings.seed, spans)
    if shares["validate"] is None:
        validation = _load(program, _no_share(validate), settings.validate, folder, spans.get("validate"))
    if shares["test"] is None:
        tested = _load(program, _no_share(test), settings.test, folder, spans.get("test"))
    return Splits(train, validation, tested, shares["validate"], shares["test"])


def split(
    data: DataSet,
    validate: float | None,
    test: float | None,
    seed: int,
    spans: Mapping[str, Span] | None = None,
) -> tuple[DataSet, DataSet | None, DataSet | None]:
    """``data`` in three: for training, validation and test; None where no share is taken.

    A share of n samples is rounded to the nearest whole number, and up to one sample. The test rows are drawn
    first, so that they stay the same whether or not there is a validation share. Raises DiagnosticError E0612
    where nothing is left.
    """
    count, places = len(data), spans or {}
    tests, validations = (max(1, round(share * count)) if share else 0 for share in (test, validate))
    left = count - tests - validations
    if left < 1:
        at = places.get("validate" if validate is not None else "test")
        parts = [f"{number} for {use}" for number, use in ((validations, "validation"), (tests, "testing")) if number]
        title = f"the split leaves no sample to train on: of {count}, {' and '.join(parts)}"
        advice = "take smaller shares or more data; a validation or test set can also be a file of its own"
        raise DiagnosticError([error("E0612", title, at, help=advice)])
    rows = shuffled(count, seed, Stream.SPLIT)
    rows[:tests].sort()
    rows[tests : tests + validations].sort()
    return (
        data.take(rows[tests + validations :]),
        data.take(rows[tests : tests + validations]) if validations else None,
        data.take(rows[:tests]) if tests else None,
    )


def _load(
    program: TrainProgram,
    given: str | Path | Arrays | None,
    stated: float | str | None,
    folder: str | Path,
    at: Span | None,
) -> DataSet | None:
    """The data given, or the file that the statement at ``at`` names."""
    if isinstance(given, Mapping):
        return bind(program, given)
    if given is not None:
        return bind(program, load_arrays(given))
    if isinstance(stated, str):
        return bind(program, load_arrays(stated, folder=folder, at=at), at=at)
    return None


def _share(given: float | str | Path | Arrays | None, stated: float | str | None) -> float | None:
    chosen = stated if given is None else given
    return float(chosen) if isinstance(chosen, int | float) else None


def _no_share(given: float | str | Path | Arrays | None) -> str | Path | Arrays | None:
    return None if isinstance(given, int | float) else given
