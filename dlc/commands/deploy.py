"""``dlc deploy``: folders that other servers, and browsers, run a model from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from dlc.commands import options
from dlc.terminal import remark, tell

if TYPE_CHECKING:
    from runtime.deploy.triton import Triton
    from runtime.inference.session import Device

# The options that only one kind of folder has.
_ONLY = {"triton": ("max_batch", "max_delay", "instances", "threads", "device"), "web": ("runtime", "values")}


def _values(_context: click.Context, _parameter: click.Parameter, given: str | None) -> tuple[float, float] | None:
    """``0,16`` as two numbers that differ."""
    if given is None:
        return None
    try:
        low, high = (float(word) for word in given.split(","))
    except ValueError:
        low = high = 0.0
    if low == high or not (math.isfinite(low) and math.isfinite(high)):
        raise click.BadParameter(f"{given!r} are not two different numbers: write 0,255")
    return low, high


@click.command(short_help="Write a folder that Triton or a browser runs a model from.")
@click.option("--to", "place", type=click.Choice(["triton", "web"]), required=True, help="What the folder is for.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("model", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What the model is called. Default: as its file.")
@click.option("--replace", is_flag=True, help="Replace what an earlier dlc deploy wrote there.")
@options.MAX_BATCH
@options.MAX_DELAY
@click.option(
    "--instances", type=click.IntRange(1), default=1, show_default=True, metavar="N",
    help="Copies of the model that run at the same time.",
)  # fmt: skip
@click.option(
    "--runtime", type=click.Path(path_type=Path), metavar="PATH",
    help="The npm package onnxruntime-web, its folder or what npm pack wrote. Default: the one in node_modules.",
)  # fmt: skip
@click.option(
    "--values", metavar="LOW,HIGH", callback=_values,
    help="What pixels of pictures are, from paper to ink. Default: 0,255, or 0,1 for floats.",
)  # fmt: skip
@options.THREADS
@options.DEVICE
@click.pass_context
def deploy(
    context: click.Context, place: str, folder: Path, model: Path, name: str | None, replace: bool, max_batch: int,
    max_delay: float, instances: int, runtime: Path | None, values: tuple[float, float] | None, threads: int | None,
    device: Device,
) -> None:  # fmt: skip
    """Write an ONNX file, of dlc or any other tool, with all that is needed to run it elsewhere. The folder is there
    whole or not at all.

    --to triton writes FOLDER/NAME for a model repository of the Triton Inference Server: the model, its configuration
    and its labels. --to web writes FOLDER, a page that runs the model in the browser, with a board to draw on for
    pictures and a form for everything else; it needs a web server for files, and no network.

    --max-batch, --max-delay, --instances, --threads and --device are for Triton and mean what they do in dlc serve;
    --runtime and --values are for pages.

    \b
    Examples:
      dlc deploy --to triton models runs/digits/digits.onnx
      tritonserver --model-repository models
      npm install onnxruntime-web
      dlc deploy --to web page runs/digits/digits.onnx --values 0,16
      python3 -m http.server 8080 -d page
    """
    from runtime.deploy.triton import Triton

    for option in _ONLY["web" if place == "triton" else "triton"]:
        if context.get_parameter_source(option) is not ParameterSource.DEFAULT:
            other = "pages" if place == "triton" else "Triton"
            raise click.UsageError(f"--{option.replace('_', '-')} is for {other}: leave it out with --to {place}")
    if folder.suffix == ".onnx" and folder.is_file():
        raise click.UsageError(f"the folder comes first: dlc deploy --to {place} {model} {folder}")
    if place == "triton":
        _triton(model, folder, name, Triton(max_batch, max_delay / 1000, device, instances, threads), replace)
    else:
        _web(model, folder, name, runtime, values, replace)


def _triton(model: Path, folder: Path, name: str | None, how: Triton, replace: bool) -> None:
    from runtime.deploy.triton import deploy_triton, legal_name

    chosen = legal_name(name if name is not None else model.stem)
    if name is not None and chosen != name:
        raise click.BadParameter(f"{name!r} is no name for a model in Triton: write {chosen}", param_hint="--name")
    made = deploy_triton(model, folder, chosen, how, replace)
    if chosen != (name or model.stem):
        remark(f"{model.stem} is called {chosen}, as its name has characters that a URL can't have")
    batches = f"one request at a time: {made.alone}" if made.alone else f"batches of up to {made.batch}"
    tell(f"wrote {made.folder} ({batches})")


def _web(
    model: Path, folder: Path, name: str | None, runtime: Path | None, values: tuple[float, float] | None, replace: bool
) -> None:
    from runtime.deploy.web import deploy_web

    made = deploy_web(model, folder, name or model.stem, runtime, values, replace)
    form = f"a form for {', '.join(made.inputs)}" if made.inputs else "a form without fields"
    kind = "a board for pictures" if made.pictures else form
    tell(f"wrote {made.folder} ({kind}, onnxruntime-web {made.runtime}): python3 -m http.server 8080 -d {made.folder}")
