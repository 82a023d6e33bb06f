"""Training, validation and test sets: from one source of data that is split, or from several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from compiler.diagnostics import Diagnostic, DiagnosticError, Span, error
from compiler.program import TrainProgram
from compiler.sources import DataSetting, DataSource, SetAsideSetting, Share, SplitKind
from runtime.data.batches import DataSet
from runtime.data.bind import bind
from runtime.data.choose import split
from runtime.data.classes import Keys, unseen
from runtime.data.readers import Request
from runtime.data.readers.content import Names
from runtime.data.sources import like, load_arrays
from runtime.data.widening import ArrayLike

Arrays: TypeAlias = Mapping[str, ArrayLike]
# What may be given in place of a statement; samples that come one after another are gathered before.
Given: TypeAlias = float | str | Path | Arrays | Iterable[Any]


@dataclass(frozen=True)
class Splits:
    """The three sets of a run. ``validation_share`` and ``test_share`` say how they were split off, and are None for
    sets that came by themselves. ``notes`` and ``warnings`` are for the user."""

    train: DataSet
    validation: DataSet | None = None
    test: DataSet | None = None
    validation_share: Share | None = None
    test_share: Share | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What the sets are, as it is kept in a run folder."""
        sets = {
            "train": (self.train, None),
            "validate": (self.validation, self.validation_share),
            "test": (self.test, self.test_share),
        }
        found: dict[str, Any] = {
            use: {"samples": len(part), "source": part.source} | ({"split": str(share)} if share else {})
            for use, (part, share) in sets.items()
            if part is not None
        }
        return found | {"names": {name: list(words) for name, words in self.train.names.items()}}

    @property
    def sizes(self) -> dict[str, int]:
        """The number of samples of each set that there is, by the word that a train block has for it."""
        sets = {"train": self.train, "validate": self.validation, "test": self.test}
        return {name: len(data) for name, data in sets.items() if data is not None}


def prepare(
    program: TrainProgram,
    data: Given | None = None,
    *,
    validate: Given | None = None,
    test: Given | None = None,
    folder: str | Path = ".",
    names: Names | None = None,
    skip_bad: bool = False,
) -> Splits:
    """Loads, checks and splits what ``program`` trains on.

    An argument goes before the statement of the same name in the ``train`` block: a share of the samples, a
    file or arrays by name. Paths in the block start at ``folder``, the one of the model file; paths given
    here at the current one. Rows are shuffled by the seed before they are split, and which row goes where
    depends on the number of rows, the seed and the shares only. ``names`` are those of classes and characters that the
    program learned before; with ``skip_bad`` samples that can't be read are left out. Raises DiagnosticError: what
    :func:`bind` and :func:`load_arrays` raise, E0612 where a split leaves nothing, E0613 where there is no data.
    """
    loader = _Loader(program, Path(folder), names or {}, skip_bad)
    settings, spans = program.settings, program.settings.spans
    whole = loader.load(data, settings.data, spans.get("data"))
    if whole is None:
        advice = 'add a line like data "digits.npz" to the train block, or give the data on the command line'
        title = f"the train block `{program.name}` does not say what to learn from"
        raise DiagnosticError([error("E0613", title, None, help=advice)])
    loader.names = {**whole.names, **loader.names}
    plain: SplitKind = "last" if whole.window else "shuffled"
    validated, kept = _share(validate, settings.validate, plain), _share(test, settings.test, plain)
    train, validation, tested = split(whole, validated, kept, settings.seed, spans, Keys(program, loader.arrays, whole))
    if validated is None:
        validation = loader.load_apart(validate, settings.validate, spans.get("validate"), settings.data)
    if kept is None:
        tested = loader.load_apart(test, settings.test, spans.get("test"), settings.data)
    apart = (("validate", validation), ("test", tested))
    warnings = [warning for use, part in apart if part for warning in unseen(program, train, part, use, spans.get(use))]
    return Splits(
        train,
        validation,
        tested,
        validated,
        kept,
        notes=tuple(loader.notes),
        warnings=tuple(warnings),
    )


class _Loader:
    """Reads what the statements and the arguments name; sets read later keep the numbers of earlier ones' names."""

    def __init__(self, program: TrainProgram, folder: Path, names: Names, skip_bad: bool) -> None:
        self.program, self.folder, self.names, self.skip_bad = program, folder, names, skip_bad
        self.notes: list[str] = []
        self.arrays: Arrays = {}

    def load_apart(
        self, given: Given | None, stated: SetAsideSetting | None, at: Span | None, like_this: DataSetting | None
    ) -> DataSet | None:
        """Data to evaluate on: :meth:`load`, without windows that overlap."""
        data = self.load(given, stated, at, like_this)
        return None if data is None else data.apart()

    def load(
        self,
        given: Given | None,
        stated: SetAsideSetting | None,
        at: Span | None,
        like_this: DataSetting | None = None,
    ) -> DataSet | None:
        """The data given, or what the statement at ``at`` names; a file that does not tell how it is read is read as
        ``like_this`` is."""
        if isinstance(given, Mapping):
            self.arrays = given
            return bind(self.program, given)
        if isinstance(given, int | float) or (given is None and not isinstance(stated, str | DataSource)):
            return None
        folder = self.folder if given is None else Path(".")
        setting: DataSetting
        if isinstance(stated, DataSource) and given is None:
            setting = stated
        else:
            setting = like(like_this if like_this is not None else stated, str(stated if given is None else given))
        inputs = {value.name: value.type for value in self.program.inputs}
        request = Request(folder, inputs, self.names, self.skip_bad)
        self.arrays = arrays = load_arrays(setting, folder=folder, at=None if given else at, request=request)
        self.notes += [f"{arrays.path}: {note}" for note in arrays.content.notes]
        return bind(self.program, arrays, at=None if given else at)


def _share(given: Given | None, stated: SetAsideSetting | None, plain: SplitKind) -> Share | None:
    chosen = stated if given is None else given
    if isinstance(chosen, int | float):
        return Share(plain, float(chosen)) if chosen else None
    return chosen if isinstance(chosen, Share) else None
