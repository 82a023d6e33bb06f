"""How far two computations of the same thing may differ: the one place with tolerances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.ir.types import DType


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A difference is allowed up to ``absolute + relative * size``, the size being that of what is expected."""

    absolute: float
    relative: float


EXACT = Tolerance(0.0, 0.0)
# Between two correct programs for one graph, which may order their sums differently.
TOLERANCE = {
    DType.F16: Tolerance(2e-3, 5e-3),
    DType.BF16: Tolerance(1e-2, 2e-2),
    DType.F32: Tolerance(1e-5, 1e-5),
    DType.F64: Tolerance(1e-12, 1e-10),
}
# Between a gradient and central differences in f64.
GRADIENT = Tolerance(1e-8, 1e-6)


def tolerance(dtype: DType) -> Tolerance:
    """The tolerance for results of ``dtype``; integers and truth values have to be equal."""
    return TOLERANCE.get(dtype, EXACT)


def by_element(expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sizes that a relative difference refers to: those of the elements themselves, as single operations allow."""
    return np.abs(expected)


def by_largest(expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sizes that a relative difference refers to: that of the largest finite element, for results of many
    operations. The rounding of a sum is relative to its terms, which may cancel, and not to what is left of them."""
    sizes = np.abs(expected)
    return np.asarray(np.max(sizes, where=np.isfinite(sizes), initial=0.0))


def excess(
    actual: npt.NDArray[Any],
    expected: npt.NDArray[Any],
    allowed: Tolerance,
    sizes: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]] = by_element,
) -> float:
    """The largest difference in units of what is allowed: up to 1 is close. ``sizes`` gives what the relative part
    refers to. Infinite where shapes, NaNs or infinities differ, or where an exact comparison fails."""
    if actual.shape != expected.shape:
        return float("inf")
    if actual.size == 0:
        return 0.0
    with np.errstate(all="ignore"):
        # Before any conversion: f64 does not tell all i64 apart.
        same = (actual == expected) | ((actual != actual) & (expected != expected))
        a, b = actual.astype(np.float64), expected.astype(np.float64)
        limit = allowed.absolute + allowed.relative * sizes(b)
        comparable = np.isfinite(a) & np.isfinite(b) & (limit > 0)
        share = np.where(comparable, np.abs(a - b) / limit, np.inf)
    return float(np.max(np.where(same, 0.0, share)))
