"""What a file says of itself, also where another program garbled it."""

from __future__ import annotations

import pytest

from compiler.ir.dims import Symbol
from compiler.targets.onnx.metadata import Description, bounds, describe

DEEP = "[" * 100_000


def test_what_is_written_is_read() -> None:
    told = Description(labels=("a", "b"), metrics={"loss": 0.5}, names={"x": ("p", "q")}, ranges={"x": (0, 1)})
    assert describe(told.as_metadata()) == told


@pytest.mark.parametrize("key", ["labels", "names", "metrics", "ranges"])
@pytest.mark.parametrize("text", ["", "[", "null", "7", DEEP, '{"x": [[]]}', f'{{"x": {10**400}}}', '{"x": {}}'])
def test_what_is_garbled_counts_as_absent(key: str, text: str) -> None:
    found = describe({f"dlc.{key}": text})
    assert (found.labels, found.metrics, found.ranges) == ((), {}, {})


def test_bounds_that_make_no_sense_are_none() -> None:
    assert bounds({"dlc.bounds": f"T <= 64, N, <= 3, {'9' * 9999} <= K, 2 <= S <= 8"}) == {
        "T": Symbol("T", 64, 1), "S": Symbol("S", 8, 2)
    }  # fmt: skip
