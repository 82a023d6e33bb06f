"""``dlc eval``: the loss and the measures of trained weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import tell

if TYPE_CHECKING:
    from runtime.training.job import Split

_TITLES = {
    "test": "test samples", "validate": "validation samples", "train": "training samples", "all": "samples",
}  # fmt: skip


@click.command("eval", short_help="Measure trained weights on data.")
@options.FILE
@click.argument("name", required=False)
@options.SET
@options.DATA
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="PATH",
    help="A run folder or a safetensors file. Default: the last run in runs.",
)  # fmt: skip
@click.option(
    "--split", type=click.Choice(["test", "validate", "train", "all"]),
    help="Which samples. Default: test, or validate where there is no test set; all with --data.",
)  # fmt: skip
@options.SKIP_BAD
def evaluate(
    file: Path,
    name: str | None,
    constants: dict[str, str],
    data: Path | None,
    weights: Path | None,
    split: Split | None,
    skip_bad: bool,
) -> None:
    """Evaluate trained weights: the loss and every measure of the train block NAME, dropout and augmentation off.

    \b
    Examples:
      dlc eval examples/digits.dl
      dlc eval examples/digits.dl --weights runs/digits-2 --split validate
      dlc eval examples/digits.dl --data more_digits.npz
    """
    from dlc.tables import table_lines
    from runtime.programs.project import open_project
    from runtime.training.job import Changes, make_job
    from runtime.training.progress import figures_line
    from runtime.training.weights import load_names, load_trained

    job = make_job(open_project(file, constants), name, Changes(data=data, skip_bad=skip_bad))
    path, trained = load_trained(job.program, weights)
    job = replace(job, names=load_names(path))
    chosen, samples = job.samples(split or ("all" if data else None))
    tell(f"{_TITLES[chosen]}: {len(samples):,} of {samples.source}, with {path}")
    found = job.evaluate(trained, samples)
    tell(figures_line(found.figures))
    for line in table_lines(found.tables):
        tell(line)
