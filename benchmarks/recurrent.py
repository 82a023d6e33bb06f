"""Plain recurrent layers in ONNX Runtime: how long a Scan over their steps takes, as a share of what RNN takes.

``python -m benchmarks.recurrent`` prints a table; ``--help`` tells the rest. ``compiler/ops/rnn_onnx.py`` goes by it.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
import numpy as np

from benchmarks.latency import OPTIMISED, SESSIONS, File, session_of, turns
from benchmarks.tables import show, write_csv
from compiler.ir.dims import symbol
from compiler.ir.graph import Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.base import Device
from compiler.ops.rnn import Rnn
from compiler.ops.rnn_onnx import Activation
from compiler.targets.onnx import export

ACTIVATIONS: tuple[Activation, ...] = ("relu", "tanh")
UNITS = (8, 32, 50, 128, 256)
ROWS = (1, 2, 4, 8, 16, 32, 64)
STEPS, FEATURES = 50, 8
# A GPU has RNN, and what always has many sequences has a Scan.
FORMS: dict[str, tuple[Device, int]] = {"rnn": ("cuda", 1), "scan": ("cpu", 10_000)}
COLUMNS = ("activation", "units", "optimised", *(f"rows_{rows}" for rows in ROWS))


def content_of(form: str, activation: Activation, units: int) -> bytes:
    """An ONNX file of the layer in one form, with weights as PyTorch draws them."""
    device, fewest = FORMS[form]
    b, generator, end = Emit("Net"), np.random.default_rng(0), units**-0.5
    x = b.input("x", TensorType(DType.F32, (symbol("T"), symbol("N", None, fewest), FEATURES)))
    shapes = {"w": (units, FEATURES), "r": (units, units), "p": (units,), "q": (units,)}
    weights = {name: generator.uniform(-end, end, shape).astype(np.float32) for name, shape in shapes.items()}
    values = [b.input(name, TensorType(DType.F32, shape), Role.WEIGHT) for name, shape in shapes.items()]
    b.output("y", b.add_node(Rnn(activation=activation), (x, *values))[1])
    return export(b.finish(), weights, device=device)


def shares(activation: Activation, units: int, optimised: bool, rounds: int, seconds: float) -> list[float]:
    """What the Scan takes of what RNN takes, for each number of rows: medians over pairs of turns."""
    found = []
    with TemporaryDirectory() as folder:
        files = [File(form, Path(folder, f"{form}.onnx")) for form in FORMS]
        for file in files:
            assert file.path is not None
            file.path.write_bytes(content_of(file.exporter, activation, units))
        sessions = [{file.exporter: session_of(file, optimised) for file in files} for _ in range(SESSIONS)]
        for rows in ROWS:
            x = np.random.default_rng(rows).normal(size=(STEPS, rows, FEATURES)).astype(np.float32)
            timed = turns(sessions, {form: {"x": x} for form in FORMS}, rounds, seconds)
            found.append(median(a / b for a, b in zip(timed["scan"], timed["rnn"], strict=True)))
    return found


@click.command()
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(1), help="Turns of each form.")
@click.option("--seconds", default=0.01, show_default=True, help="How long a turn is.")
@click.option("--csv", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the shares here.")
def main(rounds: int, seconds: float, path: Path | None) -> None:
    """Time plain recurrent layers as a Scan and as an RNN, on one thread, with ONNX Runtime's optimisations off and
    on."""
    table: list[tuple[str, int, str, list[float]]] = []
    for activation in ACTIVATIONS:
        for units in UNITS:
            for optimised in OPTIMISED:
                found = shares(activation, units, optimised, rounds, seconds)
                table.append((activation, units, "on" if optimised else "off", found))
    title = f"a Scan as a share of RNN: {STEPS} steps, by the number of sequences"
    rows = [(kind, str(units), state, *(f"{share:.2f}" for share in found)) for kind, units, state, found in table]
    show(title, ("activation", "units", "optimisations", *map(str, ROWS)), [rows], words=3)
    if path is not None:
        write_csv(path, COLUMNS, [(*words, *(f"{share:.4g}" for share in found)) for *words, found in table])


if __name__ == "__main__":
    main()
