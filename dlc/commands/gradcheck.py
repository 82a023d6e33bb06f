"""``dlc gradcheck``: are the gradients right?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import table, tell, width_of

if TYPE_CHECKING:
    from runtime.inspect.gradcheck import WeightCheck


@click.command(short_help="Hold the gradients against central differences.")
@options.FILE
@click.argument("name", required=False)
@options.SET
@options.DATA
@options.WEIGHTS
@click.option(
    "--samples", type=click.IntRange(1), default=4, show_default=True, metavar="N", help="Samples in the batch."
)
@click.option(
    "--entries", type=click.IntRange(1), default=10, show_default=True, metavar="N",
    help="Numbers of each weight to check, drawn by the seed.",
)  # fmt: skip
def gradcheck(
    file: Path,
    name: str | None,
    constants: dict[str, str],
    data: Path | None,
    weights: Path | None,
    samples: int,
    entries: int,
) -> None:
    """Check the gradients of the train block NAME: move single numbers of every weight a little, and compare how the
    loss follows with the gradient that training uses. All in f64, on a batch of the block's own data, or of random
    samples where it names none.

    Exits with 1 where a gradient is wrong, which is a fault in dlc, or in an operation that was added to it.

    \b
    Examples:
      dlc gradcheck examples/digits.dl
      dlc gradcheck examples/digits.dl --entries 100 --weights runs/digits
    """
    from runtime.inspect.batch import first_batch
    from runtime.inspect.gradcheck import check_gradients
    from runtime.programs.project import open_project
    from runtime.training.job import Changes, make_job
    from runtime.training.weights import load_trained

    job = make_job(open_project(file, constants), name, Changes(data))
    trained = load_trained(job.program, weights)[1] if weights else {}
    batch = first_batch(job, samples)
    checks = list(check_gradients(job, batch, trained, entries))
    tell(f"{job.program.name}: gradients and central differences in f64, over {batch.source}\n")
    tell("\n".join(_table(checks)))
    tell(f"\n{_verdict(checks)}")
    if not all(check.right for check in checks):
        sys.exit(1)


def _table(checks: Sequence[WeightCheck]) -> list[str]:
    several = len({check.loss for check in checks}) > 1
    rows = []
    for check in checks:
        worst = check.worst
        figures = (f"{worst.gradient:.6e}", f"{worst.measured:.6e}", f"{check.excess:.2g}") if worst else ("", "", "")
        of = f" of loss {check.loss}" if several else ""
        verdict = "right" if check.right else "WRONG"
        rows.append((f"{check.name}{of}", f"{check.tried} of {check.size:,}", *figures, verdict))
    head = ("weight", "checked", "gradient", "difference", "of allowed", "")
    return table(head, rows, numbers=(1, 2, 3, 4), yields=0, width=width_of(sys.stdout))


def _verdict(checks: Sequence[WeightCheck]) -> str:
    tried, corners = sum(check.tried for check in checks), sum(check.corners for check in checks)
    left = f"; {corners} at a corner of the loss, where it has no slope, were left out" if corners else ""
    worst = max(checks, key=lambda check: check.excess, default=None)
    if worst is None or worst.worst is None:
        return f"nothing could be compared{left}"
    place = ", ".join(map(str, worst.worst.place))
    where = f"the largest difference is in {worst.name}[{place}], {worst.excess:.2g} of what is allowed"
    wrong = sum(not check.right for check in checks)
    judged = f"{wrong} of {len(checks)} weights have wrong gradients" if wrong else "all gradients are right"
    return f"{judged}: {tried:,} numbers checked, {where}{left}"
