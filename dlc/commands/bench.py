"""``dlc bench``: how fast ONNX files run, and what they take."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import table, tell, width_of

if TYPE_CHECKING:
    from runtime.inference.bench import Measured, Plan
    from runtime.inference.session import Device


def _numbers(_context: click.Context, _parameter: click.Parameter, given: str | None) -> tuple[int, ...]:
    """``1,8,64`` as numbers from 1 on."""
    words = [word.strip() for word in given.split(",")] if given is not None else []
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise click.BadParameter(f"{given!r} are no numbers from 1 on: write 1,8,64")
    return tuple(dict.fromkeys(map(int, words)))


def _sizes(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, int]:
    found = options.pairs(context, parameter, given)
    wrong = next((text for text in found.values() if not text.isdecimal() or int(text) < 1), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r} is no number from 1 on")
    return {name: int(text) for name, text in found.items()}


@click.command(short_help="Measure how fast one or two ONNX files run.")
@click.argument("files", nargs=-1, required=True, metavar="FILE [OTHER]", type=click.Path(path_type=Path))
@click.option(
    "--batch", default="1,16,128", show_default=True, metavar="N,N", callback=_numbers, help="Rows that run together."
)
@click.option(
    "--threads",
    metavar="N,N",
    callback=_numbers,
    help="Threads that ONNX Runtime works on. Default: one for each core.",
)
@click.option("--runs", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="Runs for each line.")
@click.option(
    "--input", "inputs", metavar="NAME=FILE", multiple=True, callback=options.pairs,
    help="Take rows of this file for an input, as dlc run does. Default: random numbers.",
)  # fmt: skip
@click.option(
    "--size", "sizes", metavar="NAME=N", multiple=True, callback=_sizes,
    help="The size of a free dimension other than the batch, such as T=32. Default: 16, or what its bound allows.",
)  # fmt: skip
@click.option(
    "--profile", "as_profile", is_flag=True,
    help="Show where the time of a run goes instead, by lines of the model file.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything, with the time of every run, as JSON.")
@options.DEVICE
def bench(
    files: tuple[Path, ...], batch: tuple[int, ...], threads: tuple[int, ...], runs: int, inputs: dict[str, str],
    sizes: dict[str, int], as_profile: bool, as_json: bool, device: Device,
) -> None:  # fmt: skip
    """Measure an ONNX file, of dlc or any other, in ONNX Runtime: the time of a run, rows a second, start-up and
    memory. Two files take turns, run by run, and the second is given as a multiple of the first.

    With --profile, ONNX Runtime's kernels on the last number of rows are added up by the lines of the model file that
    they come from; what it has joined is told by the operations that it joined.

    \b
    Examples:
      dlc bench digits.onnx
      dlc bench digits.onnx --batch 1,32 --threads 1,2,4
      dlc bench digits.onnx --profile --batch 64
      dlc bench digits.onnx other.onnx --input image=x.npy --json
    """
    from runtime.inference.arrays import read_array
    from runtime.inference.bench import Plan, check_names, measure

    if len(files) > 2 or len(set(files)) < len(files):
        raise click.UsageError("give one file, or two different ones")
    holders = check_names(files, list(inputs), list(sizes), device)
    data = {
        name: read_array(Path(inputs[name]), next(port for port in session.inputs if port.name == name))
        for name, session in holders.items()
    }
    plan = Plan(batch, threads or (None,), runs, device, sizes, data)
    if as_profile:
        if len(files) > 1:
            raise click.UsageError("--profile looks at one file")
        _tell_profile(files[0], plan, as_json)
        return
    found = measure(files, plan)
    if as_json:
        tell(json.dumps([_record(measured) for measured in found], indent=2, ensure_ascii=False))
        return
    for line in [*_files(found), "", *_speeds(found)]:
        tell(line)


def _tell_profile(file: Path, plan: Plan, as_json: bool) -> None:
    from runtime.inference.profile import profile

    found = profile(file, plan)
    if as_json:
        tell(json.dumps({"file": str(file), **asdict(found), "between": found.between}, indent=2, ensure_ascii=False))
        return
    whole = found.total or 1.0
    rows = [
        (
            line.place,
            line.text,
            f"{1e6 * line.seconds:.1f}",
            f"{100 * line.seconds / whole:.1f}%",
            ", ".join(sorted(line.kernels, key=lambda kernel: -line.kernels[kernel])),
        )
        for line in found.lines
    ]
    rows.append(("between the kernels", "", f"{1e6 * found.between:.1f}", f"{100 * found.between / whole:.1f}%", ""))
    head = ("line", "source", "µs", "share", "kernels")
    cells = ("total", f"{found.rows} rows, mean of {found.runs} runs", f"{1e6 * found.total:.1f}", "100.0%", "")
    for text in table(head, rows, total=cells, numbers=(2, 3), yields=4, width=width_of(sys.stdout)):
        tell(text)


def _files(found: Sequence[Measured]) -> list[str]:
    from runtime.amounts import bytes_text

    rows = [
        (
            measured.file,
            bytes_text(measured.bytes),
            f"{1e3 * measured.start:.1f} ms",
            "unknown" if measured.memory is None else bytes_text(measured.memory),
        )
        for measured in found
    ]
    head = ("file", "size", "start-up", "memory")
    return table(head, rows, numbers=(1, 2, 3), yields=0, width=width_of(sys.stdout))


def _speeds(found: Sequence[Measured]) -> list[str]:
    rows = []
    for group in zip(*(measured.speeds for measured in found), strict=True):
        for measured, speed in zip(found, group, strict=True):
            times = [f"{1e3 * speed.percentile(share):.3f}" for share in (50, 90, 99)]
            cells = [
                measured.file,
                str(speed.rows),
                str(speed.threads or "default"),
                *times,
                f"{speed.throughput:,.0f}",
            ]
            rows.append([*cells, f"{speed.ratio:.2f}x"] if len(found) > 1 else cells)
    head = ["file", "rows", "threads", "p50 ms", "p90 ms", "p99 ms", "rows/s", *["time"] * (len(found) > 1)]
    return table(head, rows, numbers=range(1, len(head)), yields=0, width=width_of(sys.stdout))


def _record(measured: Measured) -> dict[str, object]:
    return {
        "file": measured.file,
        "bytes": measured.bytes,
        "start_seconds": measured.start,
        "memory_bytes": measured.memory,
        "speeds": [
            {
                "rows": speed.rows,
                "threads": speed.threads,
                **{f"p{share}_seconds": speed.percentile(share) for share in (50, 90, 99)},
                "rows_per_second": speed.throughput,
                "ratio_to_first": speed.ratio,
                "seconds": list(speed.seconds),
            }
            for speed in measured.speeds
        ],
    }
