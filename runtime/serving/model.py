"""A model as it is served: opened with care, tried, and told in the words of the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from compiler.diagnostics import Diagnostic, DiagnosticError
from compiler.ir.tolerance import by_largest, excess, tolerance
from compiler.ir.types import DType
from compiler.targets.onnx.metadata import bounds
from runtime.disk.tensors import Array
from runtime.inference.bench import Plan, inputs_for
from runtime.inference.feed import rows_symbol
from runtime.inference.session import Device, Session
from runtime.programs.signature import Port
from runtime.serving.limits import RequestError
from runtime.serving.protocol import DATATYPES

VERSION = "1"
_ROWS = 5  # rows whose results are compared together and alone


class ServedModel:
    """An ONNX file that is ready to run: ``most_rows`` of it run together, which is 1 where rows can't, for the reason
    ``alone``: their results would depend on each other, or the file fixes their number."""

    def __init__(self, name: str, session: Session, batch: int) -> None:
        self.name, self.session = name, session
        self.alone = _why_alone(session)
        self.most_rows = 1 if self.alone else max(1, session.most_rows(batch))

    def check(self, arrays: Mapping[str, Array]) -> None:
        """Raises RequestError with everything that does not fit the inputs."""
        try:
            self.session.check(arrays, dict.fromkeys(arrays, "the request"))
        except DiagnosticError as failure:
            raise _refused(failure) from failure

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs. Raises RequestError with what does not fit, or with what ONNX Runtime says."""
        try:
            return self.session.run(arrays)
        except DiagnosticError as failure:
            raise _refused(failure) from failure

    def metadata(self) -> dict[str, Any]:
        """The answer to a request for the model's metadata. A size that is free is -1."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": "onnx_onnxv1",
            "inputs": [_tensor(port) for port in self.session.inputs],
            "outputs": [_tensor(port) for port in self.session.outputs],
        }


def open_model(name: str, path: Path, device: Device, threads: int | None, batch: int) -> ServedModel:
    """The model in ``path``, of whatever origin, as ``name``. Raises DiagnosticError for a file that can't be read,
    that breaks a rule of ONNX or a limit, or that ONNX Runtime can't run here (E0905 to E0909, E0920, E0921)."""
    # Late, as onnx is needed only here.
    from compiler.targets.onnx.read.load import load

    session = Session(load(path).SerializeToString(), device, threads=threads)
    session.name = str(path)
    return ServedModel(name, session, batch)


def _why_alone(session: Session) -> str:
    """Why rows of different requests can't run together; empty where they can. It is tried, on random numbers: a model
    may take any number of rows and still mix them, as one that normalises over its batch does, or one with scales of
    integers that are worked out from all rows."""
    free, symbol = rows_symbol(session.inputs, session.outputs)
    known = bounds(session.metadata)
    if not free or session.most_rows(_ROWS) < 2 or (symbol in known and known[symbol].lower > 1):
        return "its inputs and outputs do not share a free first dimension"
    try:
        arrays = inputs_for(session, session.most_rows(_ROWS), Plan())
        together = session.run(arrays)
        alone = [session.run({name: x[row : row + 1] for name, x in arrays.items()}) for row in range(_rows(arrays))]
    except DiagnosticError:
        return "it could not be tried on random numbers"
    for name, array in together.items():
        joined = np.concatenate([results[name] for results in alone])
        dtype = DType.of(array.dtype)
        if dtype is None or excess(array, joined, tolerance(dtype), by_largest) > 1:
            return "its rows depend on each other"
    return ""


def _rows(arrays: Mapping[str, Array]) -> int:
    return len(next(iter(arrays.values())))


def _tensor(port: Port) -> dict[str, Any]:
    sizes: Sequence[int | str | None] = port.shape or ()
    shape = [size if isinstance(size, int) else -1 for size in sizes]
    return {"name": port.name, "datatype": DATATYPES[port.dtype], "shape": shape}


def _refused(failure: DiagnosticError) -> RequestError:
    text = "; ".join(_sentence(found) for found in failure.diagnostics)
    if "allocate" in text:
        return RequestError(f"there is not enough memory for it: {text}", 503, retry=1)
    return RequestError(text)


def _sentence(found: Diagnostic) -> str:
    found = replace(found, notes=found.notes[:1]) if found.code == "E0913" else replace(found, notes=())
    return ": ".join([found.title, *found.notes])
