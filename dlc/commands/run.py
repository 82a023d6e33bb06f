"""``dlc run``: an ONNX file in ONNX Runtime, on arrays from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dlc.commands import options
from dlc.terminal import tell

if TYPE_CHECKING:
    from runtime.session import Device
    from runtime.tensors import Array


@click.command(short_help="Run an ONNX file on arrays.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--input", "inputs", metavar="NAME=FILE", multiple=True, callback=options.pairs,
    help="The array for an input: a .npy file, or an .npz file that holds an array of that name. Once for each input.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="Save the outputs, by name, in this .npz file (one alone also as .npy) instead of printing them.",
)  # fmt: skip
@options.DEVICE
def run(model: Path, inputs: dict[str, str], output: Path | None, device: Device) -> None:
    """Run an ONNX file, of dlc or any other, in ONNX Runtime.

    \b
    Examples:
      dlc run runs/digits/digits.onnx --input image=examples/data/digits.npz
      dlc run digits.onnx --input image=x.npy -o scores.npz
      dlc run digits.onnx --input image=x.npy --device cuda
    """
    import numpy as np

    from runtime.arrays import read_array, save_arrays
    from runtime.session import Session

    session = Session(model, device)
    known = {port.name for port in session.inputs}
    # For an unknown name any array does: the session refuses the name.
    arrays = {name: read_array(Path(file), name) if name in known else np.empty(0) for name, file in inputs.items()}
    results = session.run(arrays, inputs)
    if output is not None:
        save_arrays(output, results)
        tell(f"wrote {', '.join(results)} to {output}")
        return
    tell("\n\n".join(_shown(results)))


def _shown(results: Mapping[str, Array]) -> list[str]:
    import numpy as np

    from runtime.checkpoint import types_of

    texts = []
    for name, type in types_of(results).items():
        values = np.array2string(results[name], precision=4, suppress_small=True, threshold=60, edgeitems=3)
        texts.append(f"{name}: {type}\n{values}")
    return texts
