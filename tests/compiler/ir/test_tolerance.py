from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np
import pytest

from compiler.ir.tolerance import EXACT, TOLERANCE, Tolerance, by_largest, excess, tolerance
from compiler.ir.types import DType

ALLOWED = Tolerance(absolute=0.5, relative=0.1)


@pytest.mark.parametrize(
    ("actual", "expected", "share"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([10.75], [10.0], 0.5),  # allowed: 0.5 + 0.1 * 10
        ([10.0], [11.6], 1.6 / 1.66),
        ([-10.75, 10.0], [-10.0, 10.0], 0.5),
        ([0.25, 3.0], [0.0, 0.0], 6.0),
        ([], [], 0.0),
        ([inf, -inf, nan], [inf, -inf, nan], 0.0),
        ([inf], [-inf], inf),
        ([nan], [1.0], inf),
        ([1.0], [nan], inf),
        ([inf], [1.0], inf),
        ([8e307], [-8e307], 20.0),
    ],
)
def test_excess(actual: list[float], expected: list[float], share: float) -> None:
    assert excess(np.array(actual), np.array(expected), ALLOWED) == pytest.approx(share)


def test_excess_of_the_worst_element_counts() -> None:
    expected = np.zeros((3, 4))
    actual = expected.copy()
    actual[2, 1], actual[0, 0] = 1.0, 0.25
    assert excess(actual, expected, ALLOWED) == 2.0


@pytest.mark.parametrize(
    ("actual", "expected", "share"),
    [
        ([[0.75, -10.0]], [[0.0, -10.0]], 0.5),  # allowed: 0.5 + 0.1 * 10 everywhere
        ([[0.75], [10.0]], [[0.0], [10.0]], 0.5),
        ([3.0, inf], [0.0, inf], 6.0),
        ([3.0, nan], [0.0, nan], 6.0),
        ([], [], 0.0),
        (3.0, 0.0, 6.0),
    ],
)
def test_excess_by_the_largest(actual: Any, expected: Any, share: float) -> None:
    assert excess(np.array(actual), np.array(expected), ALLOWED, by_largest) == pytest.approx(share)


def test_other_shapes_are_never_close() -> None:
    assert excess(np.zeros((2, 1)), np.zeros((1, 2)), ALLOWED) == inf
    assert excess(np.zeros((0, 1)), np.zeros((1, 0)), ALLOWED) == inf


@pytest.mark.parametrize(
    ("actual", "expected", "share"),
    [
        (np.array([2**53 + 1]), np.array([2**53]), inf),
        (np.array([3, 4]), np.array([3, 4]), 0.0),
        (np.array([True, False]), np.array([True, False]), 0.0),
        (np.array([True, False]), np.array([True, True]), inf),
        (np.array([255], np.uint8), np.array([254], np.uint8), inf),
    ],
)
def test_integers_are_compared_exactly(actual: Any, expected: Any, share: float) -> None:
    assert excess(actual, expected, EXACT) == share


@pytest.mark.parametrize("dtype", DType)
def test_each_dtype_has_a_tolerance_above_its_rounding(dtype: DType) -> None:
    assert (tolerance(dtype) != EXACT) == dtype.is_float
    if dtype.is_float:
        one = np.ones((), dtype.numpy)
        step = (
            np.nextafter(one.astype(np.float32), np.float32(2)) if dtype is DType.BF16 else np.nextafter(one, one + one)
        )
        assert excess(np.asarray(step), np.asarray(one), TOLERANCE[dtype]) < 1
