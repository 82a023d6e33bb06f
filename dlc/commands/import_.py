"""``dlc import``: an ONNX file as a model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import tell

if TYPE_CHECKING:
    from runtime.inference.session import Device


@click.command("import", short_help="Write an ONNX file as a model file that can be read and changed.")
@options.FILE
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="OUT",
    help="The model file to write; its weights go beside it. Default: the name of the file, in the current folder.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@options.DEVICE
def import_command(file: Path, output: Path | None, overwrite: bool, device: Device) -> None:
    """Write an ONNX file, of dlc or any other tool, as a model file (.dl) and its weights (.safetensors).

    Small operations become layers again, what is repeated becomes blocks and repetitions, and labels come from the
    names in the file. What is written is compiled and run against the ONNX file in ONNX Runtime, and kept only if both
    agree.

    \b
    Examples:
      dlc import resnet.onnx -o resnet.dl
      dlc import resnet.onnx && dlc check resnet.dl
    """
    from runtime.inference.decompile import WEIGHTS, decompile_file

    target = output or Path(f"{file.stem}.dl")
    if target.suffix != ".dl":
        raise click.UsageError("the model file to write ends in .dl")
    there = [path for path in (target, target.with_suffix(WEIGHTS)) if path.exists()]
    if there and not overwrite:
        raise click.UsageError(f"{there[0]} is there already: name another file with -o, or give --overwrite")
    written = decompile_file(file, target, device)
    lines = written.text.count("\n")
    tell(f"wrote {target}, {lines:,} lines, and {target.with_suffix(WEIGHTS)}; {written.certificate.summary()}")
