"""``dlc dump``: a graph on its way through the compiler."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dlc.commands import options
from dlc.terminal import table, tell, width_of

if TYPE_CHECKING:
    from compiler.passes.dump import Stage


@click.command(short_help="Show a graph after each compiler pass.")
@options.FILE
@options.SET
@click.option("--graph", metavar="NAME", help="Which graph: a model, or BLOCK.step0, BLOCK.evaluate, BLOCK.initial.")
@click.option("--after", metavar="PASS", help="The pass to look behind: a name, or a number of --list.")
@click.option("--diff/--no-diff", help="Show what the pass changed instead of the whole graph.")
@click.option(
    "--target", type=click.Choice(["numpy", "onnx"]), default="numpy", show_default=True,
    help="Where the graph of a model goes.",
)  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="List the graphs of the file, or the passes of a --graph.")
def dump(
    file: Path,
    constants: dict[str, str],
    graph: str | None,
    after: str | None,
    diff: bool,
    target: Literal["numpy", "onnx"],
    listing: bool,
) -> None:
    """Show a graph in its text form: as the targets get it, or after one of the passes that make it so.

    \b
    Examples:
      dlc dump digits.dl --list
      dlc dump digits.dl --graph Digits
      dlc dump digits.dl --graph digits.step0 --list
      dlc dump digits.dl --graph digits.step0 --after gradient
      dlc dump digits.dl --graph Digits --after fuse --diff
    """
    from runtime.programs.project import open_project
    from runtime.programs.stages import graph_names, stage_after, stages

    project = open_project(file, constants)
    if graph is None and listing:
        tell("\n".join(graph_names(project)))
        return
    found = stages(project, graph, target)
    if listing:
        tell("\n".join(_passes(found)))
        return
    stage = stage_after(found, after)
    tell((stage.diff() or f"{stage.name} changed nothing") if diff else stage.text)


def _passes(found: Sequence[Stage]) -> list[str]:
    rows = []
    for number, stage in enumerate(found, 1):
        changed, size = "yes" if stage.changed else "no", str(len(stage.after.nodes))
        rows.append((str(number), stage.name, changed, size, f"{1e3 * stage.seconds:.1f}"))
    return table(("", "pass", "changed", "nodes after", "ms"), rows, numbers=(0, 3, 4), width=width_of(sys.stdout))
