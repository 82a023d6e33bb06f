"""ORT files: ONNX files as small builds of ONNX Runtime read them, on phones, and what such a build needs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.tolerance import by_largest, excess, tolerance
from compiler.ir.types import DType
from runtime.disk.output import save_output
from runtime.disk.tensors import Array
from runtime.inference.session import Device, InferenceSession

SUFFIX = ".ort"
_CONFIG = ".required_operators.config"


@dataclass(frozen=True)
class OrtFile:
    """The file, and the operators that a build of ONNX Runtime for it alone has to have."""

    content: bytes
    operators: str


def to_ort(content: bytes) -> OrtFile:
    """The ORT file of an ONNX file, by ONNX Runtime's own converter: optimised, for any processor; the same bytes
    each time. Raises DiagnosticError E0918 where the converter fails."""
    from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

    from runtime.inference.mobile_order import in_order

    with TemporaryDirectory() as folder:
        Path(folder, "model.onnx").write_bytes(content)
        try:
            with redirect_stdout(StringIO()), _without_log(), warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # it leaves a file open
                convert_onnx_models_to_ort(Path(folder, "model.onnx"), None, [OptimizationStyle.Fixed])
        except Exception as failure:  # of many classes, ONNX Runtime's among them
            help = "write an .onnx file instead, and convert that with the ONNX Runtime that will run it"
            title = "the file can't be converted to the ORT format"
            raise DiagnosticError([error("E0918", title, None, notes=str(failure), help=help)]) from failure
        operators = Path(folder, f"model{_CONFIG}").read_text()
        # Without the lines that name the folder in which this was done.
        listed = "".join(f"{line}\n" for line in operators.splitlines() if not line.startswith("#"))
        return OrtFile(in_order(Path(folder, f"model{SUFFIX}").read_bytes()), listed)


@contextmanager
def _without_log() -> Iterator[None]:
    """The converter tells the log of the whole process what it does."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def save_ort(path: Path, content: bytes, trials: Iterable[Mapping[str, Array]] = (), device: Device = "cpu") -> None:
    """Writes the ORT file of the ONNX file ``content`` to ``path``, and beside it the operators that it needs, once it
    gives what the ONNX file does for the inputs ``trials``.

    Raises DiagnosticError where it can't be converted (E0918), where it differs (E0914) or can't be written (E0801).
    """
    made = to_ort(content)
    _prove(made.content, content, trials, device)
    save_output(path, made.content)
    save_output(path.with_suffix(_CONFIG), made.operators.encode())


def _prove(made: bytes, content: bytes, trials: Iterable[Mapping[str, Array]], device: Device) -> None:
    session, original = InferenceSession(made, device, threads=1), InferenceSession(content, device, threads=1)
    for inputs in trials:
        found, expected = session.run(inputs), original.run(inputs)
        for name, array in expected.items():
            dtype = DType.of(array.dtype)
            assert dtype is not None
            other = found[name]
            if other.dtype != array.dtype or excess(other, array, tolerance(dtype), by_largest) > 1:
                worst = f"output `{name}` differs from that of the ONNX file"
                help = "write an .onnx file instead, and report this as a fault in ONNX Runtime's converter"
                title = "the ORT file and the ONNX file that it was made of differ"
                raise DiagnosticError([error("E0914", title, None, notes=worst, help=help)])
