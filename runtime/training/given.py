"""The first content of weights that come from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler.program import Given
from runtime.disk.tensors import Array


def read_given(given: Mapping[str, Given]) -> dict[str, Array]:
    """The arrays by the names of the weights, read now. Raises DiagnosticError where one can't be read any more."""
    return {name: np.ascontiguousarray(content.read()) for name, content in given.items()}
