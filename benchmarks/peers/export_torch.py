"""The examples exported by PyTorch: ``python -m benchmarks.peers.export_torch FOLDER EXPORTER [EXAMPLE]…``.

EXPORTER is ``torch`` (by torch.export) or ``torchscript`` (the older one). Each file is followed by a line of JSON that
tells how it went.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from benchmarks.examples import EXAMPLES, Input
from benchmarks.peers.telling import tell_each


def export(example: str, path: Path, exporter: str, free: bool) -> None:
    """Write one file; ``free`` leaves all sizes open that are to be, and not only that of the rows."""
    import torch

    from benchmarks.peers import torch_networks

    torch.manual_seed(0)
    network, inputs = torch_networks.EXAMPLES[example]().eval(), EXAMPLES[example]
    rows = tuple(torch.from_numpy(item.rows(3)) for item in inputs)
    names = [item.name for item in inputs]
    with torch.no_grad():
        for parameter in network.parameters():
            # As if trained: the shifts of batch norms begin as zeros, which would be left out of the file.
            parameter.add_(torch.empty_like(parameter).uniform_(0.01, 0.02))
        if exporter == "torch":
            shapes = tuple(dict.fromkeys(_axes(item, free), torch.export.Dim.DYNAMIC) for item in inputs)
            torch.onnx.export(network, rows, path, dynamo=True, input_names=names, dynamic_shapes=shapes,
                              external_data=False, verbose=False)  # fmt: skip
        else:
            axes = {item.name: {axis: f"{item.name}{axis}" for axis in _axes(item, free)} for item in inputs}
            torch.onnx.export(network, rows, path, dynamo=False, input_names=names, output_names=["output"],
                              dynamic_axes=axes | {"output": {0: "rows"}})  # fmt: skip


def _axes(item: Input, free: bool) -> tuple[int, ...]:
    return (0, *(item.free if free else ()))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    tell_each(Path(sys.argv[1]), sys.argv[2], sys.argv[3:], export)
