"""``dlc serve``: ONNX files behind the Open Inference Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import remark, tell

if TYPE_CHECKING:
    from runtime.inference.session import Device

_MEGABYTE = 2**20


def _named(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Path]:
    """``digits.onnx``, ``NAME=digits.onnx``, and folders for all files in them, as files by the name of their model."""
    found: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        path = Path(file if equals else text)
        if equals and (not name.strip() or not file or "/" in name):
            raise click.BadParameter(f"{text!r} is not of the form NAME=FILE")
        named = {name.strip(): path} if equals else _in_folder(path) if path.is_dir() else {path.stem: path}
        twice = next((name for name in named if name in found), None)
        if twice is not None:
            raise click.BadParameter(f"two models are called {twice}: write OTHER={named[twice]}")
        found |= named
    return found


def _in_folder(folder: Path) -> dict[str, Path]:
    found = {path.stem: path for path in sorted(folder.glob("*.onnx"))}
    if not found:
        raise click.BadParameter(f"there is no .onnx file in the folder {folder}")
    return found


@click.command(short_help="Serve ONNX files over HTTP.")
@click.argument("files", nargs=-1, required=True, metavar="[NAME=]FILE|FOLDER...", callback=_named)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address; 0.0.0.0 is every network.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="The port; 0: any free one."
)
@options.MAX_BATCH
@options.MAX_DELAY
@click.option(
    "--max-queue", type=click.IntRange(1), default=256, show_default=True, metavar="N",
    help="Requests that wait for a model; more are told to come again later (503).",
)  # fmt: skip
@click.option(
    "--max-body", type=click.FloatRange(0, 2047, min_open=True), default=32, show_default=True, metavar="MB",
    help="The largest body of a request, in megabytes (413).",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(0.1, 86_400), default=60, show_default=True, metavar="SECONDS",
    help="How long a client may take to send a request or to take the answer, and a request to wait.",
)  # fmt: skip
@click.option("--log/--no-log", default=True, show_default=True, help="Print a line of JSON for each request.")
@options.THREADS
@options.DEVICE
def serve(
    files: dict[str, Path], host: str, port: int, max_batch: int, max_delay: float, max_queue: int, max_body: float,
    timeout: float, log: bool, threads: int | None, device: Device,
) -> int:  # fmt: skip
    """Serve ONNX files, of dlc or any other tool, over HTTP: the Open Inference Protocol, version 2, with JSON and
    binary tensors, and figures for Prometheus at /metrics. Requests that wait at the same time run together.
    SIGTERM ends the server when what it has begun is finished.

    \b
    Examples:
      dlc serve runs/digits/digits.onnx
      dlc serve digits=runs/digits/digits.onnx iris.onnx --port 8080 --max-delay 2
      dlc serve models --device cuda --no-log
      curl -s localhost:8000/v2/models/digits
    """
    from runtime.serving.limits import Limits
    from runtime.serving.process import Serving, serve

    body = round(max_body * _MEGABYTE)
    limits = Limits(
        batch=max_batch,
        delay=max_delay / 1000,
        queue=max_queue,
        patience=timeout,
        body=body,
        memory=max(16 * body, 2**29),
    )
    return 0 if serve(files, Serving(host, port, device, threads, limits, remark, tell if log else None)) else 1
