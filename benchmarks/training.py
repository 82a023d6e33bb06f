"""A training step, side by side with each peer that is installed: forward, loss, backward and update.

``python -m benchmarks.training`` prints a table and writes it as CSV; ``--help`` tells the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from benchmarks.contenders import CONTENDERS
from benchmarks.race import Result, best_peer, pythons, race, ratio
from benchmarks.tables import milliseconds, show, write_csv
from benchmarks.workloads import WORKLOADS

HEAD = ("workload", "contender", "ms/step", "quartiles", "CPU ms/step", "of best peer", "CPU of best peer")
TIMES = ("wall_ms", "quartile1_ms", "quartile3_ms", "cpu_ms", "wall_ratio", "cpu_ratio")
COLUMNS = ("workload", "contender", *TIMES, "problem")


@click.command()
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD]...")
@click.option("--only", "names", metavar="A,B", help=f"Contenders, of {', '.join(CONTENDERS)}. Default: all.")
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True, help="Turns of each contender.")
@click.option("--seconds", type=float, default=0.3, show_default=True, help="How long a turn is.")
@click.option(
    "--python", "interpreters", multiple=True, callback=pythons, metavar="NAME=PATH",
    help="An interpreter that has torch, jax or keras. Default: this one.",
)  # fmt: skip
@click.option("--csv", "path", type=click.Path(path_type=Path), help="Where the figures are written.")
@click.option("--draw", "picture", type=click.Path(path_type=Path), help="Where the ratios are drawn, as PNG or SVG.")
def main(
    workloads: tuple[str, ...], names: str | None, rounds: int, seconds: float, interpreters: dict[str, str],
    path: Path | None, picture: Path | None,
) -> None:  # fmt: skip
    """Time training steps of WORKLOADs (default: all) in turns, each contender in a process of its own."""
    chosen = names.split(",") if names else list(CONTENDERS)
    unknown = [name for name in chosen if name not in CONTENDERS] + [
        name for name in workloads if name not in WORKLOADS
    ]
    if unknown:
        raise click.UsageError(f"there is no {unknown[0]}: workloads are {', '.join(WORKLOADS)}")
    found = {}
    for workload in workloads or tuple(WORKLOADS):
        click.echo(f"{workload} …", err=True)
        found[workload] = race(workload, chosen, interpreters, rounds, seconds)
        if path:  # after each, as all of them take long
            write_csv(path, COLUMNS, [line for name, results in found.items() for line in figures(name, results)])
    show("a training step", HEAD, [list(lines(workload, results)) for workload, results in found.items()])
    if picture:
        from benchmarks.draw import draw_ratios

        draw_ratios(picture, own_ratios(found), ("time", "processor time"))


def lines(workload: str, results: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    """A line of the table for each contender."""
    best, title = best_peer(results), WORKLOADS[workload].title
    for place, result in enumerate(results):
        name = title if place == 0 else ""
        if not result.turns:
            yield (name, f"{result.name}: {result.problem}", *[""] * (len(HEAD) - 2))
            continue
        spread = " to ".join(map(milliseconds, result.spread))
        against = [f"{ratio(result, best, what):.2f}" if best else "" for what in ("wall", "cpu")]
        yield (name, result.name, milliseconds(result.wall), spread, milliseconds(result.cpu), *against)


def own_ratios(found: Mapping[str, Sequence[Result]]) -> dict[str, list[float]]:
    """What dlc takes of what the best peer takes, time and processor time, by title; NaN without a peer."""
    ratios = {}
    for workload, results in found.items():
        own, best = next((result for result in results if result.name == "dlc"), None), best_peer(results)
        known = own is not None and own.turns and best is not None
        ratios[WORKLOADS[workload].title] = [
            ratio(own, best, what) if known and own and best else math.nan for what in ("wall", "cpu")
        ]
    return ratios


def figures(workload: str, results: Sequence[Result]) -> Iterator[tuple[object, ...]]:
    """A line of the CSV file for each contender, times in milliseconds."""
    best = best_peer(results)
    for result in results:
        if not result.turns:
            yield (workload, result.name, *[""] * len(TIMES), result.problem)
            continue
        times = [f"{1e3 * seconds:.5g}" for seconds in (result.wall, *result.spread, result.cpu)]
        against = [f"{ratio(result, best, what):.4g}" if best else "" for what in ("wall", "cpu")]
        yield (workload, result.name, *times, *against, "")


if __name__ == "__main__":
    main()
