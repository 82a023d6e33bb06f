"""Benchmarks belong to the repository and are not installed: they are imported from there, everything else is not."""

import sys
from pathlib import Path

import pytest

from runtime.programs import helpers
from runtime.programs.blas import single_threaded_blas

sys.path.append(str(Path(__file__).parents[2]))


@pytest.fixture(autouse=True)
def as_before():
    """A process of a benchmark makes steps for as long as it lives: that of the tests has others to run after them."""
    yield
    context = single_threaded_blas()
    while context.depth:
        context.__exit__()
    helpers.rest()
