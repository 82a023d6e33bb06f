"""Arguments and options that several commands share."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FILE = click.argument("file", type=click.Path(path_type=Path))


def pairs(_context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping; a name that stands twice, or a text without ``=``, is wrong usage."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name or not value:
            raise click.BadParameter(f"{text!r} is not of the form {parameter.metavar}")
        if name in found:
            raise click.BadParameter(f"{name} is given twice")
        found[name] = value
    return found


def duration(_context: click.Context, _parameter: click.Parameter, given: str | None) -> float | None:
    """``90``, ``90s``, ``10m`` or ``1.5h`` in seconds."""
    if given is None:
        return None
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (given[:-1], units[given[-1]]) if given[-1:] in units else (given, 1.0)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < math.inf:
        raise click.BadParameter(f"{given!r} is no time above 0: write 90s, 10m or 1.5h")
    return seconds


def amount(_context: click.Context, _parameter: click.Parameter, given: str | None) -> int | None:
    """``2GB``, ``500MB`` or a number of bytes."""
    from runtime.amounts import parse_bytes

    size = None if given is None else parse_bytes(given)
    if given is not None and size is None:
        raise click.BadParameter(f"{given!r} is no amount of memory: write 2GB or 500MB")
    return size


def _check_passes(_context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked:
        os.environ["DLC_CHECK"] = "1"  # every pipeline looks at it


SET = click.option(
    "--set", "constants", metavar="NAME=VALUE", multiple=True, callback=pairs,
    help="Give a constant of the file another value. May be repeated.",
)  # fmt: skip
DEVICE = click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True,
    help="Where ONNX Runtime works. With cuda, it has to be the GPU or the command fails.",
)  # fmt: skip
THREADS = click.option(
    "--threads", type=click.IntRange(1), metavar="N",
    help="Threads that ONNX Runtime works on. Default: one for each core.",
)  # fmt: skip
MAX_BATCH = click.option(
    "--max-batch", type=click.IntRange(1), default=64, show_default=True, metavar="N",
    help="Rows of different requests that run together at most.",
)  # fmt: skip
MAX_DELAY = click.option(
    "--max-delay", type=click.FloatRange(0, 10_000), default=0, show_default=True, metavar="MS",
    help="Milliseconds that a request waits for others to run with. With 0, those run together that wait anyway.",
)  # fmt: skip


def opset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--opset`` and ``--for``, which give a command the one argument ``opset``."""

    @click.option("--opset", type=int, metavar="N", help="The version of the ONNX operations, 17 to 23. Default: 21.")
    @click.option(
        "--for", "release", metavar="RELEASE",
        help="Write what a release of ONNX Runtime reads: onnxruntime==1.17, or >= for it and later ones.",
    )  # fmt: skip
    @functools.wraps(command)
    def with_opset(*arguments: Any, opset: int | None, release: str | None, **others: Any) -> Any:
        from compiler.targets.onnx.releases import chosen_opset

        if opset is not None and release is not None:
            raise click.UsageError("--opset and --for both say which operations the file has: give one of them")
        return command(*arguments, opset=chosen_opset(opset, release), **others)

    return with_opset


CHECK_PASSES = click.option(
    "--check-passes", is_flag=True, expose_value=False, callback=_check_passes,
    help="Try every compiler pass on random numbers; one that changes a result is named. Slow.",
)  # fmt: skip
DATA = click.option(
    "--data", type=click.Path(path_type=Path), metavar="FILE",
    help="Read this file, or folder, instead of the one that the train block names.",
)  # fmt: skip
WEIGHTS = click.option(
    "--weights", type=click.Path(path_type=Path), metavar="PATH",
    help="Trained weights, a run folder or a safetensors file. Default: fresh ones.",
)  # fmt: skip
SKIP_BAD = click.option(
    "--skip-bad", is_flag=True,
    help="Leave samples that can't be read out, and say how many, instead of refusing the data.",
)  # fmt: skip
