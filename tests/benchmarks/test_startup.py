"""From the command to the first step, and what has to be installed."""

from __future__ import annotations

import sys

from benchmarks import startup
from benchmarks.footprint import footprint


def test_starts_are_told_and_so_is_what_is_absent():
    found = startup.starts("xor", ["dlc", "jax"], {"jax": sys.executable}, 1)
    own = found["dlc"]
    assert own.problem is None
    assert own.first[0] > own.imports[0] + own.compilation[0]
    assert own.peaks[0] > 1e7
    assert found["jax"].first or "not installed" in found["jax"].problem


def test_tables():
    found = {"dlc": startup.Start([1.0, 3.0], [0.5, 0.5], [0.25, 0.75], [1.0, 2.0], [10**8, 3 * 10**8])}
    found["jax"] = startup.Start(problem="not installed: No module named 'jax'")
    assert startup.lines("xor", found) == [
        ("XOR 2-4-1, batch 4", "dlc", "2.00 s", "0.50 s", "0.50 s", "1.50 s", "200 MB"),
        ("", "jax: not installed: No module named 'jax'", "", "", "", "", ""),
    ]
    assert all(len(line) == len(startup.COLUMNS) for line in startup.figures("xor", found))


def test_footprints_take_in_what_is_needed():
    packages, size = footprint(["onnx"])
    assert packages >= 3  # with NumPy and protobuf
    assert size > footprint(["numpy"])[1] > 1e7
    assert footprint(["no-such-package"]) == (0, 0)


def test_own_dependencies_are_those_of_the_project():
    assert any(text.startswith("numpy") for text in startup.own_dependencies())
    assert startup.own_bytes() > 1e6
