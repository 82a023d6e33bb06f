"""Numbers, arrays and element types as Python text."""

from __future__ import annotations

import base64
import math
import textwrap
from functools import cache

import numpy as np

from compiler.ir.types import DType
from compiler.ops.base import Array

# The most elements of an array that is written as numbers; larger ones are written as their bytes.
SHOWN_ELEMENTS = 48


def quoted(text: str) -> str:
    """A string literal."""
    literal = repr(text)
    return f'"{literal[1:-1]}"' if literal.startswith("'") and '"' not in literal else literal


@cache
def dtype_text(dtype: DType) -> str:
    """The element type in a generated program, such as ``np.float32``."""
    match dtype:
        case DType.BF16:
            return "bfloat16"
        case DType.BOOL:
            return "np.bool_"
    return f"np.{dtype.numpy.name}"


def number_text(value: float, dtype: DType) -> str:
    """A Python expression that gives exactly ``value`` once converted to ``dtype``."""
    if dtype is DType.BOOL:
        return str(bool(value))
    if dtype.is_integer:
        return str(int(value))
    value = float(value)
    if not math.isfinite(value):
        return "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf"
    # The shortest digits are chosen for a direct reading, but NumPy reads a double first and rounds that.
    exact = np.float64(value).astype(dtype.numpy)
    short = float(str(exact))
    return repr(short if np.float64(short).astype(dtype.numpy) == exact else float(exact))


def scalar_text(value: float, dtype: DType) -> str:
    """A 0-d array. As an operand of a ufunc it is much faster than a NumPy scalar, and as exact in its type."""
    return f"np.array({number_text(value, dtype)}, {dtype_text(dtype)})"


def array_text(array: Array) -> str:
    """An expression that makes ``array``: its numbers where they are few, else its bytes in base64."""
    dtype = DType.of(array.dtype)
    if dtype is None:
        raise TypeError(f"a constant can't be an array of {array.dtype}")
    if array.size > SHOWN_ELEMENTS:
        return _encoded(array, dtype)
    if array.size == 0:
        return f"np.zeros({array.shape}, {dtype_text(dtype)})"
    return f"np.array({_nested(array, dtype)}, {dtype_text(dtype)})"


def _nested(array: Array, dtype: DType) -> str:
    if array.ndim == 0:
        return number_text(array.item(), dtype)
    return f"[{', '.join(_nested(part, dtype) for part in array)}]"


def _encoded(array: Array, dtype: DType) -> str:
    text = textwrap.fill(base64.b64encode(array.tobytes()).decode(), 100)
    return f'_decode({dtype_text(dtype)}, {array.shape}, """\n{text}\n""")'
