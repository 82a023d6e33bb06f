"""``dlc data``: what is in a data file, or in what a model file trains on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import report, table, tell, width_of

if TYPE_CHECKING:
    from runtime.data.facts import ArrayFacts
    from runtime.data.split import Splits
    from runtime.training.job import Job

_BAR = 24  # characters of the longest bar of a class


@click.command("data", short_help="Show what is in data: arrays, ranges, classes.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("name", required=False)
@options.SET
@options.DATA
@options.SKIP_BAD
@click.option(
    "--augmented", type=click.Path(path_type=Path), metavar="PNG",
    help="Save a sheet of samples to look at, each beside what augmentation makes of it in training.",
)  # fmt: skip
def data_command(
    file: Path, name: str | None, constants: dict[str, str], data: Path | None, skip_bad: bool, augmented: Path | None
) -> None:
    """Show what is in a data file (.npz, .npy, .csv, IDX, a folder of pictures, a text): arrays, their types and
    ranges, NaNs and infinities, how many there are of each class.

    Of a model file, show the data of its train block NAME: how its arrays go to the inputs, how the samples are split,
    and the classes in each part.

    \b
    Examples:
      dlc data examples/data/digits.npz
      dlc data examples/digits.dl
      dlc data examples/digits_conv.dl --augmented sheet.png
    """
    if file.suffix.lower() != ".dl":
        if augmented is not None:
            raise click.UsageError("--augmented takes a model file: augmentation stands in its train block")
        tell("\n".join(_of_file(file)))
        return
    from runtime.programs.project import open_project
    from runtime.training.job import Changes, make_job

    job = make_job(open_project(file, constants), name, Changes(data=data, skip_bad=skip_bad))
    splits = job.prepare()
    if splits.warnings:
        report(splits.warnings)
    tell("\n".join(_of_job(job, splits)))
    if augmented is not None:
        from runtime.inspect.sheet import save_sheet

        tell(f"wrote {augmented}: {save_sheet(job, splits.train, augmented)}")


def _of_file(file: Path) -> Iterator[str]:
    from runtime.data.facts import array_facts
    from runtime.data.readers.text_facts import text_facts
    from runtime.data.sources import kind_of, load_arrays

    about = text_facts(file) if file.is_file() and kind_of(file) is None else None
    if about is not None:
        yield from about
        return
    arrays = load_arrays(file)
    facts_of = [array_facts(name, arrays[name], arrays.names.get(name, ())) for name in arrays]
    yield f"{file}: {_count(len(facts_of), 'array')}"
    yield ""
    yield from _arrays(facts_of)
    for note in arrays.content.notes:
        yield f"note: {note}"


def _of_job(job: Job, splits: Splits) -> Iterator[str]:
    from runtime.data.facts import set_facts

    program, names = job.program, splits.train.names
    inputs = {value.name: str(value.type) for value in program.inputs}
    yield f"train {program.name}: {splits.train.source}"
    yield ""
    facts = set_facts(splits.train, names)
    rows = [(inputs[fact.name], *row) for fact, row in zip(facts, map(_row, facts), strict=True)]
    yield from table(("input", "takes", "is given", "values", ""), [(row[1], row[0], *row[2:]) for row in rows])
    yield ""
    parts = [("train on", splits.train, None), ("validate", splits.validation, splits.validation_share)]
    parts.append(("test", splits.test, splits.test_share))
    found = [(use, part, f"{share or ('of ' + part.source)}") for use, part, share in parts if part is not None]
    yield from table(
        ("samples to", "number", ""), [(use, f"{len(part):,}", how) for use, part, how in found], numbers=(1,)
    )
    for fact in facts:
        if fact.classes:
            yield ""
            counts = [_counts(set_facts(part, names), fact.name) for _, part, _ in found]
            yield from _class_table(fact.name, [use for use, _, _ in found], counts)
    for note in splits.notes:
        yield f"note: {note}"


def _counts(facts: Sequence[ArrayFacts], name: str) -> dict[str, int]:
    return next(dict(fact.classes) for fact in facts if fact.name == name)


def _arrays(facts: Sequence[ArrayFacts]) -> Iterator[str]:
    yield from table(
        ("array", "type", "values", ""), [_row(fact) for fact in facts], yields=2, width=width_of(sys.stdout)
    )
    for fact in facts:
        if fact.classes:
            yield ""
            yield from _class_table(fact.name, ["samples"], [dict(fact.classes)])


def _row(fact: ArrayFacts) -> tuple[str, str, str, str]:
    from runtime.data.facts import balance

    told = [*fact.problems, *([balance(fact.classes)] if fact.classes else [])]
    return fact.name, fact.type, fact.values, "; ".join(told)


def _class_table(name: str, uses: Sequence[str], counts: Sequence[dict[str, int]]) -> Iterator[str]:
    labels = list(dict.fromkeys(label for part in counts for label in part))
    most = max(counts[0].values(), default=1)
    rows = [
        (label, *(f"{part.get(label, 0):,}" for part in counts), "█" * round(_BAR * counts[0].get(label, 0) / most))
        for label in labels
    ]
    yield from table((name, *uses, ""), rows, numbers=range(1, len(uses) + 1))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
