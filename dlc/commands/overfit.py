"""``dlc overfit``: can it learn one batch?"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dlc.commands import options
from dlc.terminal import report, tell


@click.command(short_help="See whether the network can learn one batch by heart.")
@options.FILE
@click.argument("name", required=False)
@options.SET
@options.DATA
@click.option(
    "--samples", type=click.IntRange(1), default=16, show_default=True, metavar="N", help="Samples in the batch."
)
@click.option(
    "--steps", type=click.IntRange(1), default=300, show_default=True, metavar="N", help="Steps to train for."
)
def overfit(
    file: Path, name: str | None, constants: dict[str, str], data: Path | None, samples: int, steps: int
) -> None:
    """See whether the train block NAME can learn one batch by heart, the first thing to try with a new network.

    Trains on the same few samples again and again, from fresh weights, and says yes where every class is right then, or
    every number near; and no, with hints, where not. Writes nothing. Exits with 1 for no.

    \b
    Examples:
      dlc overfit examples/digits.dl
      dlc overfit examples/digits.dl --samples 4 --steps 1000
    """
    from runtime.inspect.batch import first_batch
    from runtime.inspect.overfit import overfit as try_it
    from runtime.programs.project import open_project
    from runtime.training.job import Changes, make_job

    job = make_job(open_project(file, constants), name, Changes(data))
    found = try_it(job, first_batch(job, samples), steps)
    tell(f"{job.program.name}: {len(found.losses):,} steps on {found.source}")
    if found.failure is not None:
        report(found.failure.diagnostics)
    else:
        tell(f"loss {found.before:.4g} before, {found.after:.4g} after; {found.reached}")
    tell("yes: it can learn a batch" if found.learned else "no: it has not learned the batch")
    for hint in found.hints:
        tell(f"  {hint}")
    if not found.learned:
        sys.exit(1)
