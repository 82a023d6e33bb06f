"""``dlc run``: an ONNX file in ONNX Runtime, on arrays from files or on lines of JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from dlc.commands import options
from dlc.terminal import tell

if TYPE_CHECKING:
    from runtime.data.readers.images import Resize
    from runtime.disk.tensors import Array
    from runtime.inference.results import Writer
    from runtime.inference.session import Device, InferenceSession

_STANDARD = "-"


@click.command(short_help="Run an ONNX file on arrays, tables, pictures or lines of JSON.")
@click.argument("model", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--input", "inputs", metavar="NAME=FILE", multiple=True, callback=options.pairs,
    help="The file for an input: .npy, .npz with an array of that name, .csv, a picture or a folder of them. Once for "
    "each input.",
)  # fmt: skip
@click.option(
    "--columns", metavar="NAME=A,B", multiple=True, callback=options.pairs,
    help="The columns of a .csv file that an input takes, * for any text. Default: the one of its name, or all.",
)  # fmt: skip
@click.option("--resize", type=click.Choice(["stretch", "crop"]), help="Bring pictures to the size of the input.")
@click.option(
    "--jsonl", metavar="FILE",
    help='Lines of JSON instead, one sample each: {"x": [0.5, 1.0]}. With - they come from standard input.',
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
    help="Write the outputs to this .npz, .npy, .csv, .json or .jsonl file, or with - as lines of JSON to standard "
    "output.",
)  # fmt: skip
@click.option(
    "--batch", type=click.IntRange(1), default=256, show_default=True, metavar="N", help="Rows that run together."
)
@options.THREADS
@options.DEVICE
def run(
    model: Path, inputs: dict[str, str], columns: dict[str, str], resize: Resize, jsonl: str | None,
    output: Path | None, batch: int, threads: int | None, device: Device,
) -> None:  # fmt: skip
    """Run an ONNX file, of dlc or any other, in ONNX Runtime. Rows of text come with the label of the largest score
    and its probability, where the file names its classes.

    \b
    Examples:
      dlc run runs/digits/digits.onnx --input image=examples/data/digits.npz
      dlc run digits.onnx --input image=x.npy -o scores.npz
      dlc run iris.onnx --input x=iris.csv --columns 'x=sepal*,petal*' -o classes.csv
      dlc run flowers.onnx --input image=pictures --resize crop -o classes.jsonl
      dlc run iris.onnx --jsonl - --batch 1 < samples.jsonl
    """
    from runtime.inference.session import InferenceSession

    if jsonl is not None and (inputs or columns):
        raise click.UsageError("--jsonl gives all inputs: leave --input and --columns out")
    session = InferenceSession(model, device, threads=threads)
    if jsonl is not None:
        batches = _from_lines(session, jsonl, batch)
    else:
        batches = _from_files(session, inputs, columns, resize, batch)
    if output is None and jsonl is None:
        tell("\n\n".join(_shown(_joined(list(batches)))))
        return
    with _writer(output, session) as writer:
        for results in batches:
            writer.add(results)
    if output is not None and str(output) != _STANDARD:
        tell(f"wrote {', '.join(port.name for port in session.outputs)} to {output}")


def _from_files(
    session: InferenceSession, inputs: Mapping[str, str], columns: Mapping[str, str], resize: Resize, batch: int
) -> Iterator[dict[str, Array]]:
    import numpy as np

    from compiler.diagnostics import DiagnosticError, error
    from runtime.inference.arrays import Reading, read_array

    ports = {port.name: port for port in session.inputs}
    stray = next((name for name in columns if name not in inputs), None)
    if stray is not None:
        raise click.UsageError(f"--columns names {stray}, for which there is no --input")
    missing = [port for port in session.inputs if port.name not in inputs]
    if missing and all(name in ports for name in inputs):
        raise DiagnosticError(
            error("E0910", f"input `{port.name}` is missing", None, notes=f"it is {port}",
                  help=f"name a file for it: --input {port.name}=FILE, or give lines of JSON with --jsonl")
            for port in missing
        )  # fmt: skip
    chosen = {name: tuple(part.strip() for part in text.split(",")) for name, text in columns.items()}
    # For an unknown name any array does: the session refuses the name.
    arrays = {
        name: read_array(Path(file), ports[name], Reading(chosen.get(name, ()), resize)) if name in ports
        else np.empty(0) for name, file in inputs.items()
    }  # fmt: skip
    return session.batches(arrays, batch, described=inputs)


def _from_lines(session: InferenceSession, file: str, batch: int) -> Iterator[dict[str, Array]]:
    from compiler.diagnostics import DiagnosticError
    from runtime.inference.feed import in_rows, json_lines

    source = "standard input" if file == _STANDARD else file
    with _opened(file) as stream:
        for lines in json_lines(stream, source, session.inputs, session.most_rows(batch)):
            try:
                yield session.run(lines.arrays, described=dict.fromkeys(lines.arrays, str(lines)))
            except DiagnosticError as failure:
                raise in_rows(failure, f"in {lines} of {source}") from failure


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    from compiler.diagnostics import DiagnosticError, error
    from runtime.disk.files import reason

    if file == _STANDARD:
        yield sys.stdin.buffer
        return
    try:
        stream = open(file, "rb")  # noqa: SIM115 - closed below; what happens inside is not about this file
    except OSError as failure:
        title = f"cannot read {file}: {reason(failure)}"
        raise DiagnosticError([error("E0602", title, None, help="check the path and the permissions")]) from failure
    with stream:
        yield stream


@contextmanager
def _writer(output: Path | None, session: InferenceSession) -> Iterator[Writer]:
    from runtime.inference.results import JsonLines, writing

    if output is None or str(output) == _STANDARD:
        yield JsonLines(sys.stdout.buffer, session.labels)
        return
    with writing(output, [port.name for port in session.outputs], session.labels) as writer:
        yield writer


def _joined(batches: list[dict[str, Array]]) -> dict[str, Array]:
    import numpy as np

    if len(batches) == 1:
        return batches[0]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _shown(results: Mapping[str, Array]) -> list[str]:
    import numpy as np

    from runtime.training.checkpoint import types_of

    texts = []
    for name, type in types_of(results).items():
        values = np.array2string(results[name], precision=4, suppress_small=True, threshold=60, edgeitems=3)
        texts.append(f"{name}: {type}\n{values}")
    return texts
