"""A model as it is served: opened with care, tried, and told in the words of the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from compiler.diagnostics import Diagnostic, DiagnosticError
from runtime.disk.tensors import Array
from runtime.inference.careful import careful_session
from runtime.inference.session import Device, InferenceSession
from runtime.programs.signature import Port
from runtime.serving.independence import why_alone
from runtime.serving.limits import RequestError
from runtime.serving.protocol import DATATYPES

VERSION = "1"


class ServedModel:
    """An ONNX file that is ready to run: ``most_rows`` of it run together, which is 1 where rows can't, for the reason
    ``alone``: their results would depend on each other, or the file fixes their number."""

    def __init__(self, name: str, session: InferenceSession, batch: int) -> None:
        self.name, self.session = name, session
        self.alone = why_alone(session)
        self.most_rows = 1 if self.alone else max(1, session.most_rows(batch))

    def check(self, arrays: Mapping[str, Array]) -> None:
        """Raises RequestError with everything that does not fit the inputs."""
        try:
            self.session.check(arrays, described=dict.fromkeys(arrays, "the request"))
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
    return ServedModel(name, careful_session(path, device, threads), batch)


def _tensor(port: Port) -> dict[str, Any]:
    # The protocol has no word for a number of dimensions that is not told.
    sizes: Sequence[int | str | None] = (None,) if port.shape is None else port.shape
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
