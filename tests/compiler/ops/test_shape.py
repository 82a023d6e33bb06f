"""How shapes are written for ONNX."""

from __future__ import annotations

import pytest

from compiler.ir.dims import Dim, symbol
from compiler.ops.shape import constant_shape

N, T = symbol("N"), symbol("T")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((N, 6), (N, 2, 3), [0, 2, 3]),
        ((N, 6), (6 * N,), [-1]),
        ((N, T, 4), (N * T, 4), [-1, 4]),
        ((N, T, 4), (N, 2 * T, 2), [0, -1, 2]),
        ((2, 3), (6,), [6]),
        ((), (1, 1), [1, 1]),
        # Two sizes would have to be worked out.
        ((N, T, 4), (T, N, 4), None),
        # ONNX's Reshape would take a 0 for "as before".
        ((3, 0), (0, 5), None),
    ],
)
def test_reshapes_without_computed_sizes(
    before: tuple[Dim, ...], after: tuple[Dim, ...], expected: list[int] | None
) -> None:
    assert constant_shape(before, after) == expected
