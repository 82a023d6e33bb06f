"""The ONNX files of the examples, side by side with those that PyTorch and Keras export of the same networks.

``python -m benchmarks.exported`` prints two tables; ``--help`` tells how they are written as CSV and drawn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from benchmarks.examples import EXAMPLES
from benchmarks.latency import OPTIMISED, ROWS, File, best, measure, ratio
from benchmarks.race import ROOT, pythons
from benchmarks.tables import milliseconds, show, write_csv

# The exporter, the module that runs it, and the interpreter that may be set for it.
PEERS = {
    "torch": ("benchmarks.peers.export_torch", "torch"),
    "torchscript": ("benchmarks.peers.export_torch", "torch"),
    "keras": ("benchmarks.peers.export_keras", "keras"),
}
SETTINGS = [(optimised, rows) for optimised in OPTIMISED for rows in ROWS]
_SHORT = [f"{'on' if optimised else 'off'}, {rows}" for optimised, rows in SETTINGS]
HEAD = ("example", "exporter", "nodes", "KB", *(f"ms {words}" for words in _SHORT))
RATIOS = ("example", "nodes", "bytes", *_SHORT)
_NAMES = [f"{'optimised' if optimised else 'plain'}_{rows}" for optimised, rows in SETTINGS]
COLUMNS = (
    "example", "exporter", "nodes", "bytes", *(f"{name}_ms" for name in _NAMES), *(f"{name}_ratio" for name in _NAMES),
    "note",
)  # fmt: skip


@click.command()
@click.argument("examples", nargs=-1, metavar="[EXAMPLE.MODEL]...")
@click.option("--rounds", type=click.IntRange(1), default=31, show_default=True, help="Turns of each file.")
@click.option("--seconds", type=float, default=0.01, show_default=True, help="How long a turn is.")
@click.option(
    "--python", "interpreters", multiple=True, callback=pythons, metavar="NAME=PATH",
    help="An interpreter that has torch or keras. Default: this one.",
)  # fmt: skip
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the files of the peers here, and take those there.")
@click.option("--csv", "path", type=click.Path(path_type=Path), help="Where the figures are written.")
@click.option("--draw", "picture", type=click.Path(path_type=Path), help="Where the ratios are drawn, as PNG or SVG.")
def main(
    examples: tuple[str, ...], rounds: int, seconds: float, interpreters: dict[str, str], keep: Path | None,
    path: Path | None, picture: Path | None,
) -> None:  # fmt: skip
    """Count nodes and bytes of EXAMPLEs (default: all), and time them in ONNX Runtime on one thread, its optimisations
    off and on, at 1 and 64 rows, in turns."""
    if unknown := [name for name in examples if name not in EXAMPLES]:
        raise click.UsageError(f"there is no {unknown[0]}: there are {', '.join(EXAMPLES)}")
    chosen = examples or tuple(EXAMPLES)
    with tempfile.TemporaryDirectory() as temporary:
        found = export_all(chosen, keep or Path(temporary), interpreters)
        records: list[tuple[object, ...]] = []
        for example, files in found.items():
            click.echo(f"{example} …", err=True)
            measure(files, EXAMPLES[example], rounds, seconds)
            if path:  # after each, as all of them take long
                records += figures(example, files)
                write_csv(path, COLUMNS, records)
    sections = [lines(example, files) for example, files in found.items()]
    show("exported files in ONNX Runtime, its optimisations off and on, 1 and 64 rows", HEAD, sections)
    show("dlc of the best of the others", RATIOS, [list(ratios(found))], words=1)
    if picture:
        from benchmarks.draw import draw_ratios

        draw_ratios(picture, {line[0]: [*map(_number, line[1:])] for line in ratios(found)}, RATIOS[1:])


def export_all(examples: Sequence[str], folder: Path, interpreters: Mapping[str, str]) -> dict[str, list[File]]:
    """Each example as each exporter writes it, ours first."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {example: [_own(example, folder)] for example in examples}
    for exporter, (module, python) in PEERS.items():
        missing = [name for name in examples if not _notes(folder, name, exporter).exists()]
        if missing:
            click.echo(f"exporting with {exporter} …", err=True)
            _export(exporter, module, interpreters.get(python, sys.executable), missing, folder)
        for example in examples:
            notes = _notes(folder, example, exporter)
            found[example].append(_told(exporter, folder / f"{example}.{exporter}.onnx", notes))
    return found


def _own(example: str, folder: Path) -> File:
    import dlc

    name, _, model = example.partition(".")
    path = folder / f"{example}.dlc.onnx"
    dlc.load(ROOT / "examples" / f"{name}.dl", model=model).export(path)
    return File("dlc", path)


def _notes(folder: Path, example: str, exporter: str) -> Path:
    return folder / f"{example}.{exporter}.json"


def _export(exporter: str, module: str, python: str, examples: Sequence[str], folder: Path) -> None:
    """Has a process export the examples and notes how each went."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [python, "-m", module, str(folder), exporter, *examples]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        told = {answer["example"]: answer for answer in map(json.loads, done.stdout.splitlines())}
        ended = {"failed": (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]}
    except FileNotFoundError:
        told, ended = {}, {"failed": f"there is no {python}"}
    for example in examples:
        _notes(folder, example, exporter).write_text(json.dumps(told.get(example, ended)), encoding="utf-8")


def _told(exporter: str, path: Path, notes: Path) -> File:
    answer = json.loads(notes.read_text(encoding="utf-8"))
    if "absent" in answer:
        return File(exporter, problem=f"not installed: {answer['absent']}")
    if "failed" in answer:
        return File(exporter, problem=f"not exported: {answer['failed']}")
    return File(exporter, path, note="sizes fixed" if answer.get("fixed") else "")


def lines(example: str, files: Sequence[File]) -> list[tuple[str, ...]]:
    """A line of the first table for each file."""
    shown = []
    for place, file in enumerate(files):
        name = example if place == 0 else ""
        size = (str(file.nodes), f"{file.bytes / 1e3:.1f}") if file.nodes else ("", "")
        if file.problem:
            shown.append((name, f"{file.exporter}: {file.problem}"[:60], *size, *[""] * len(SETTINGS)))
            continue
        times = [milliseconds(file.time(*setting)) for setting in SETTINGS]
        shown.append((name, f"{file.exporter}{f' ({file.note})' if file.note else ''}", *size, *times))
    return shown


def ratios(found: Mapping[str, Sequence[File]]) -> Iterator[tuple[str, ...]]:
    """Our files in shares of the best of the others: nodes, bytes, times."""
    for example, files in found.items():
        own, peers = files[0], [file for file in files[1:] if file.seconds]
        if not peers or own.problem:
            yield (example, *[""] * (2 + len(SETTINGS)))
            continue
        sizes = (own.nodes / min(file.nodes for file in peers), own.bytes / min(file.bytes for file in peers))
        fastest = [(best(files, *setting), setting) for setting in SETTINGS]
        times = [ratio(own, peer, *setting) for peer, setting in fastest if peer]
        yield (example, *(f"{number:.3f}" for number in (*sizes, *times)))


def figures(example: str, files: Sequence[File]) -> Iterator[tuple[object, ...]]:
    """A line of the CSV file for each file, times in milliseconds, ratios to the best peer."""
    for file in files:
        size = (file.nodes, file.bytes) if file.nodes else ("", "")
        if file.problem:
            yield (example, file.exporter, *size, *[""] * 2 * len(SETTINGS), file.problem)
            continue
        times = [f"{1e3 * file.time(*setting):.5g}" for setting in SETTINGS]
        peers = [(best(files, *setting), setting) for setting in SETTINGS]
        against = [f"{ratio(file, peer, *setting):.4g}" if peer else "" for peer, setting in peers]
        yield (example, file.exporter, *size, *times, *against, file.note)


def _number(text: str) -> float:
    return float(text) if text else float("nan")


if __name__ == "__main__":
    main()
