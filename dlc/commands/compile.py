"""``dlc compile``: a model as an ONNX file, or a training program as a Python file that needs only NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dlc.commands import options
from dlc.commands.precision import Smaller, precision_options
from dlc.terminal import remark, report, tell

if TYPE_CHECKING:
    from runtime.inference.session import Device
    from runtime.programs.project import Project


@click.command("compile", short_help="Write an ONNX file, or NumPy code to read and run.")
@options.FILE
@options.SET
@click.option(
    "--target", type=click.Choice(["onnx", "numpy"]), default="onnx", show_default=True, help="What to write."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="The file to write, .onnx, or .ort for phones.",
)
@click.option("--model", metavar="NAME", help="Which model; needed where the file has several.")
@click.option(
    "--train", metavar="NAME",
    help="Which train block, for NumPy code and for --precision; needed where the file has several.",
)  # fmt: skip
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="PATH",
    help="A run folder or a safetensors file with the weights for the ONNX file.",
)  # fmt: skip
@options.DEVICE
@click.option("--no-certify", is_flag=True, help="Do not run the ONNX file to compare it with the NumPy program.")
@options.opset_options
@precision_options
@options.CHECK_PASSES
def compile_command(
    file: Path,
    constants: dict[str, str],
    target: Literal["onnx", "numpy"],
    output: Path | None,
    model: str | None,
    train: str | None,
    weights: Path | None,
    device: Device,
    no_certify: bool,
    opset: int,
    smaller: Smaller,
) -> None:
    """Compile a model file to an ONNX file or to NumPy code, or an ONNX file to a better one.

    The ONNX file holds one model with its weights and is certified: run in ONNX Runtime and compared with the NumPy
    program. The NumPy code is one Python file, with the lines of the model file as comments, that holds what dlc itself
    trains with: the first weights, every step, evaluation, and inference of each model. An ONNX file from elsewhere
    goes through the same passes; what comes out is certified against that file.

    With --precision the file is made smaller, and often faster: fp16; int8, with ranges found on training samples; or
    int8-dynamic, with ranges found in each run. It is written only if the measures of the train block, on samples for
    validation, get no worse than --max-drop and --max-rise allow; layers that lose too much stay in f32.

    \b
    Examples:
      dlc compile digits.dl --weights runs/digits -o digits.onnx
      dlc compile digits.dl --weights runs/digits -o digits.ort
      dlc compile digits.dl --target numpy -o digits_net.py
      dlc compile gan.dl --model Generator --weights runs/gan
      dlc compile digits.dl --weights runs/digits --for onnxruntime==1.17
      dlc compile digits.dl --weights runs/digits --precision int8
      dlc compile digits.dl --weights runs/digits --compare-precisions
      dlc compile resnet.onnx -o smaller.onnx
    """
    smaller.check(file, target, weights, no_certify, output)
    if file.suffix == ".onnx":
        if constants or model or train or weights or target == "numpy":
            raise click.UsageError("--set, --model, --train, --weights and --target are for model files (.dl)")
        if output is None:
            raise click.UsageError("give the file to write with -o")
        _onnx_again(file, output, device, not no_certify, opset)
        return
    from runtime.programs.project import open_project

    project = open_project(file, constants)
    if project.checked.warnings:
        report(project.checked.warnings)
    if target == "numpy":
        _numpy(project, model, train, output or Path(f"{file.stem}_net.py"))
    elif smaller.asked:
        smaller.make(project, model, train, weights, output, device, opset)
    else:
        _onnx(project, model, weights, output or Path(f"{file.stem}.onnx"), device, not no_certify, opset)


def _onnx_again(file: Path, output: Path, device: Device, certify: bool, opset: int) -> None:
    from runtime.inference.again import compile_again
    from runtime.inference.saving import sizes

    certificate = compile_again(file, output, device, certify, opset)
    said = certificate.summary() if certificate else "not certified"
    tell(f"wrote {sizes(output)}; {said}")


def _numpy(project: Project, model: str | None, train: str | None, output: Path) -> None:
    from runtime.disk.output import save_output
    from runtime.programs.standalone import standalone

    text = standalone(project, model, train)
    save_output(output, text.encode())
    tell(f"wrote {output}, {text.count(chr(10)):,} lines that need only NumPy")


def _onnx(
    project: Project,
    model: str | None,
    weights: Path | None,
    output: Path,
    device: Device,
    certify: bool,
    opset: int,
) -> None:
    from runtime.inference.saving import sizes
    from runtime.inference.ship import Shipping, export_unproved, ship
    from runtime.training.weights import fresh_weights, load_model_weights, load_names

    program = project.model(model)
    drawn = [weight for weight in program.weights if weight.name not in program.given]
    if weights is None and drawn:
        those = "weights" if len(drawn) == len(program.weights) else f"{drawn[0].name} and the like"
        remark(f"note: no --weights: the file gets fresh {those}, as at the start of a training")
    loaded = load_model_weights(weights, program) if weights else fresh_weights(project, program)
    how = Shipping(device, opset, names=load_names(weights) if weights else {})
    if certify:
        said = ship(project, program, loaded, output, how).summary()
    else:
        export_unproved(project, program, loaded, output, how)
        said = "not certified"
    tell(f"wrote {sizes(output)}; {said}")
