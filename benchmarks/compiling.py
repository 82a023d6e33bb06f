"""How long it takes to compile a training program, and whether that grows with the layers and no faster.

``python -m benchmarks.compiling`` prints a table; ``--help`` tells the rest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import click

from benchmarks.tables import show, write_csv
from runtime.programs.project import project_of_text
from runtime.training.job import make_job

# How many layers a body has for each of LAYERS, its input, and the body. A dense layer and its ReLU are one.
NETWORKS = {
    "dense": (1, "f32[N, 64]", "repeat LAYERS { dense(64) -> relu } -> dense(10)"),
    "residual": (
        3,
        "f32[N, 16, 8, 8]",
        "repeat LAYERS { residual { conv(16, 3, pad=same) -> batch_norm -> relu } } -> flatten -> dense(10)",
    ),
}
HEAD = ("network", "layers", "check", "compile", "load", "all", "per layer, as a share of the first")
COLUMNS = ("network", "layers", "check_s", "compile_s", "load_s")


def text_of(network: str, layers: int) -> str:
    """A model file with a network of about so many layers and the training of it."""
    each, type, body = NETWORKS[network]
    body = body.replace("LAYERS", str(max(1, layers // each)))
    return f"""
model Net(x: {type}) -> f32[N, 10] {{ {body} }}
train net(x: {type}, label: i64[N]) {{ minimize cross_entropy(Net(x), label) with adam(0.01) }}
"""


def seconds(text: str) -> tuple[float, float, float]:
    """The processor time of checking the text, of making the program's module, and of loading that."""
    times = [time.process_time()]
    project = project_of_text(text, Path())
    times.append(time.process_time())
    job = make_job(project)
    times.append(time.process_time())
    job.make_engine({})
    times.append(time.process_time())
    first, second, third = (end - start for start, end in pairwise(times))
    return first, second, third


@click.command()
@click.option("--layers", "counts", multiple=True, type=click.IntRange(1), default=(100, 300, 1000), show_default=True)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="How often each is compiled.")
@click.option("--csv", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the seconds here.")
def main(counts: Sequence[int], rounds: int, path: Path | None) -> None:
    """Seconds of processor time, medians of rounds in which every network is compiled in turn."""
    cases = [(network, count) for network in NETWORKS for count in counts]
    for network in NETWORKS:
        seconds(text_of(network, 10))  # so that everything is imported
    turns = [[seconds(text_of(*case)) for case in cases] for _ in range(rounds)]
    found = {
        case: [median(part) for part in zip(*each, strict=True)] for case, *each in zip(cases, *turns, strict=True)
    }
    sections = [[_row(network, count, found, counts[0]) for count in counts] for network in NETWORKS]
    show("Compiling a training program", HEAD, sections, words=1)
    if path is not None:
        write_csv(path, COLUMNS, [(*case, *(f"{part:.4f}" for part in parts)) for case, parts in found.items()])


def _row(network: str, count: int, found: dict[tuple[str, int], list[float]], first: int) -> list[str]:
    each, whole = found[network, count], sum(found[network, count])
    share = whole / count / (sum(found[network, first]) / first)
    return [network, f"{count:,}", *(f"{part:.2f} s" for part in (*each, whole)), f"{share:.2f}"]


if __name__ == "__main__":
    main()
