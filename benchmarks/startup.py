"""From the command to the first step: time, memory, compile time, and the size of what has to be installed.

``python -m benchmarks.startup`` prints a table and writes it as CSV; ``--help`` tells the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click

from benchmarks.contenders import CONTENDERS
from benchmarks.race import ROOT, Failed, Runner, pythons
from benchmarks.tables import show, write_csv
from benchmarks.workloads import WORKLOADS

HEAD = ("workload", "contender", "first step after", "of it imports", "compilation", "CPU time", "most memory")
COLUMNS = ("workload", "contender", "first_step_s", "import_s", "compile_s", "cpu_s", "peak_mb", "problem")
INSTALLED = {
    # Whose interpreter, and what has to be installed to train and to export an ONNX file.
    "dlc": ("dlc", ()),
    "torch": ("torch", ("torch", "onnxscript")),
    "jax": ("jax", ("jax",)),
    "keras-tensorflow": ("keras", ("keras", "tensorflow-cpu", "tensorflow", "tf2onnx")),
    "keras-jax": ("jax", ("keras", "jax")),
}


@dataclass
class Start:
    """One contender's starts, in seconds: from the command to the first finished step, importing, and what it took to
    make ready and make that step; the processor time of all that; the most memory in bytes. Without any, ``problem``
    says why."""

    first: list[float] = field(default_factory=list)
    imports: list[float] = field(default_factory=list)
    compilation: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    problem: str | None = None


def starts(workload: str, names: Sequence[str], interpreters: Mapping[str, str], rounds: int) -> dict[str, Start]:
    """What each contender takes to its first step, started in turns."""
    found = {name: Start() for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, start in found.items():
                if start.problem is None:
                    _start(start, name, workload, interpreters, Path(folder))
    return found


def _start(start: Start, name: str, workload: str, interpreters: Mapping[str, str], folder: Path) -> None:
    python = interpreters.get(CONTENDERS[name].python, sys.executable)
    begun = time.perf_counter()
    runner = Runner(name, workload, python, folder / name)
    try:
        told = runner.ready()
        start.first.append(time.perf_counter() - begun)
        start.imports.append(told["imported"])
        start.compilation.append(told["made"] + told["stepped"])
        start.cpu.append(told["cpu"])
        start.peaks.append(told["peak"] or 0)
    except Failed as failure:
        start.problem = str(failure)
    finally:
        runner.close()


def installations(interpreters: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """How many packages each needs, and the bytes of all of them; without those that are not installed."""
    found = {}
    for name, (python, packages) in INSTALLED.items():
        asked = packages or tuple(own_dependencies())
        command = [interpreters.get(python, sys.executable), "-m", "benchmarks.footprint", *asked]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        count, size = json.loads(done.stdout) if done.returncode == 0 else (0, 0)
        if count >= len(packages[:1]) and count:
            found[name] = (count + 1, size + own_bytes()) if name == "dlc" else (count, size)
    return found


def own_dependencies() -> list[str]:
    """What dlc itself needs."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed: list[str] = settings["project"]["dependencies"]
    return needed


def own_bytes() -> int:
    """The bytes of dlc's own files."""
    packages = ("grammar", "compiler", "runtime", "dlc")
    files = [path for package in packages for path in (ROOT / package).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files if "__pycache__" not in path.parts)


@click.command()
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD]...")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Starts of each contender.")
@click.option(
    "--python", "interpreters", multiple=True, callback=pythons, metavar="NAME=PATH",
    help="An interpreter that has torch, jax or keras. Default: this one.",
)  # fmt: skip
@click.option("--csv", "path", type=click.Path(path_type=Path), help="Where the figures are written.")
def main(workloads: tuple[str, ...], rounds: int, interpreters: dict[str, str], path: Path | None) -> None:
    """Start WORKLOADs (default: xor, conv28 and gpt) with each contender in turns, up to the first finished step."""
    if unknown := [name for name in workloads if name not in WORKLOADS]:
        raise click.UsageError(f"there is no workload {unknown[0]}: there are {', '.join(WORKLOADS)}")
    names = [name for name in CONTENDERS if not name.endswith("-1-thread")]
    found = {
        workload: starts(workload, names, interpreters, rounds) for workload in workloads or ("xor", "conv28", "gpt")
    }
    show("to the first step, medians", HEAD, [lines(workload, each) for workload, each in found.items()])
    sizes = [(name, str(count), f"{size / 1e6:,.0f} MB") for name, (count, size) in installations(interpreters).items()]
    show("what has to be installed, to train and to export", ("", "packages", "size"), [sizes], words=1)
    if path:
        write_csv(path, COLUMNS, [line for workload, each in found.items() for line in figures(workload, each)])


def lines(workload: str, found: Mapping[str, Start]) -> list[tuple[str, ...]]:
    """A line of the table for each contender."""
    shown = []
    for place, (name, start) in enumerate(found.items()):
        title = WORKLOADS[workload].title if place == 0 else ""
        if start.problem:
            shown.append((title, f"{name}: {start.problem}"[:60], *[""] * 5))
            continue
        times = [f"{median(times):.2f} s" for times in (start.first, start.imports, start.compilation, start.cpu)]
        shown.append((title, name, *times, f"{median(start.peaks) / 1e6:,.0f} MB"))
    return shown


def figures(workload: str, found: Mapping[str, Start]) -> list[tuple[object, ...]]:
    """A line of the CSV file for each contender: seconds, and megabytes."""
    return [
        (workload, name, *[""] * 5, start.problem)
        if start.problem
        else (
            workload,
            name,
            *(f"{median(times):.3f}" for times in (start.first, start.imports, start.compilation, start.cpu)),
            f"{median(start.peaks) / 1e6:.1f}",
            "",
        )
        for name, start in found.items()
    ]


if __name__ == "__main__":
    main()
