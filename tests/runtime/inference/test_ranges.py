"""Values that the file rules out."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.diagnostics import DiagnosticError
from runtime.inference.ranges import check_ranges


def refused(**arrays: object) -> str:
    given = {name: np.asarray(array) for name, array in arrays.items()}
    with pytest.raises(DiagnosticError) as found:
        check_ranges(given, {"a": (0, 4), "b": (0, 1)}, {"b": ("no", "yes")}, {"b": "b.npy"})
    assert {diagnostic.code for diagnostic in found.value.diagnostics} == {"E0917"}
    return str(found.value)


def test_what_is_inside_passes() -> None:
    check_ranges({"a": np.array([[0, 4]]), "c": np.array([9])}, {"a": (0, 4), "x": (0, 1)}, {}, {})
    check_ranges({"a": np.empty((0, 3), np.int64)}, {"a": (0, 4)}, {}, {})


def test_the_first_value_outside_is_named() -> None:
    assert refused(a=[[1, 2], [5, -1]]) == (
        "error[E0917]: input `a` takes 0 to 4, and the array holds 5 at [1, 0]\n"
        "  = note: 2 of 4 values lie outside\n"
        "  = help: number the entries as the training data did, from 0 on"
    )
    assert "input `a` takes 0 to 4, and the array holds -1\n" in refused(a=-1)


def test_names_and_the_holder_are_told_and_every_input_is_looked_at() -> None:
    text = refused(a=[7], b=[0, 1, 2])
    assert "input `b` takes 0 to 1, and b.npy holds 2 at [2]" in text
    assert "the numbers stand for 2 names: 0 is 'no', 1 is 'yes'" in text
    assert "input `a`" in text
