"""Which element types hold all values of another one, so that an array may be converted unasked."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from compiler.ir.types import DType
from runtime.disk.tensors import Array

# NumPy arrays, what turns into one, or nested lists of numbers.
ArrayLike: TypeAlias = Any

# The bits of a whole number that a float holds exactly.
_EXACT_BITS = {DType.F16: 11, DType.BF16: 8, DType.F32: 24, DType.F64: 53}


def keeps_values(given: np.dtype[Any], wanted: DType) -> bool:
    """Whether every value of the one type is a value of the other."""
    found = DType.of(given)
    if found is not None and wanted.is_float and not found.is_float:
        bits = 1 if found is DType.BOOL else given.itemsize * 8 - (given.kind == "i")
        return bits <= _EXACT_BITS[wanted]
    if found is DType.BF16 or wanted is DType.BF16:
        return found is wanted or (found is DType.BF16 and wanted in (DType.F32, DType.F64))
    return np.can_cast(given, wanted.numpy, "safe") and given.kind in "biuf"


def as_array(value: ArrayLike, wanted: DType) -> Array:
    """``value`` as an array; numbers of Python have no element type of their own and take the wanted one."""
    array = np.asarray(value)
    if hasattr(value, "dtype") or hasattr(value, "__array__") or wanted is DType.BOOL:
        return array
    kinds = "biuf" if wanted.is_float else "biu"
    if array.dtype.kind in kinds:
        cast = array.astype(wanted.numpy)
        if wanted.is_float or (cast == array).all():
            return cast
    return array
