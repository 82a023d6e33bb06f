"""Whether rows of different requests may run together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler.diagnostics import DiagnosticError
from compiler.ir.tolerance import by_largest, excess, tolerance
from compiler.ir.types import DType
from compiler.targets.onnx.metadata import bounds
from runtime.disk.tensors import Array
from runtime.inference.bench import Plan, inputs_for
from runtime.inference.feed import rows_symbol
from runtime.inference.session import InferenceSession

_ROWS = 5  # whose results are compared together and alone


def why_alone(session: InferenceSession) -> str:
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
