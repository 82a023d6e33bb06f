"""``dlc deploy``: folders that other servers, and browsers, run a model from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import remark, tell

if TYPE_CHECKING:
    from runtime.inference.session import Device


@click.command(short_help="Write a folder that Triton or a browser runs a model from.")
@click.option("--to", "place", type=click.Choice(["triton"]), required=True, help="What the folder is for.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What the model is called. Default: as its file.")
@click.option("--replace", is_flag=True, help="Replace what an earlier dlc deploy wrote there.")
@click.option(
    "--max-batch", type=click.IntRange(1), default=64, show_default=True, metavar="N",
    help="Triton: rows of different requests that run together.",
)  # fmt: skip
@click.option(
    "--max-delay", type=click.FloatRange(0, 10_000), default=0.1, show_default=True, metavar="MS",
    help="Triton: milliseconds that a request waits for others to run with.",
)  # fmt: skip
@click.option(
    "--instances", type=click.IntRange(1), default=1, show_default=True, metavar="N",
    help="Triton: copies of the model that run at the same time.",
)  # fmt: skip
@options.THREADS
@options.DEVICE
def deploy(
    place: str, folder: Path, model: Path, name: str | None, replace: bool, max_batch: int, max_delay: float,
    instances: int, threads: int | None, device: Device,
) -> None:  # fmt: skip
    """Write an ONNX file, of dlc or any other tool, with all that is needed to run it elsewhere. The folder is there
    whole or not at all.

    --to triton writes FOLDER/NAME for a model repository of the Triton Inference Server: the model, its configuration
    and its labels.

    \b
    Examples:
      dlc deploy --to triton models runs/digits/digits.onnx
      tritonserver --model-repository models
    """
    from runtime.deploy.triton import Triton, deploy_triton, legal_name

    chosen = legal_name(name if name is not None else model.stem)
    if name is not None and chosen != name:
        raise click.BadParameter(f"{name!r} is no name for a model in Triton: write {chosen}", param_hint="--name")
    how = Triton(max_batch, max_delay / 1000, device, instances, threads)
    made = deploy_triton(model, folder, chosen, how, replace)
    if chosen != (name or model.stem):
        remark(f"{model.stem} is called {chosen}, as its name has characters that a URL can't have")
    batches = f"one request at a time: {made.alone}" if made.alone else f"batches of up to {made.batch}"
    tell(f"wrote {made.folder} ({batches})")
