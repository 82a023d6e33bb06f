"""Options of the test suite."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    help = "write golden files anew instead of comparing with them"
    parser.addoption("--update-golden", action="store_true", help=help)
    help = "how many texts each test of test_fuzz.py draws"
    parser.addoption("--fuzz", type=int, default=300, help=help)


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def work() -> Callable[[Callable[[], object]], int]:
    """How much a function does: the calls made while it runs. Unlike seconds that is the same on every machine, so
    that a test may say how it grows."""

    def count(function: Callable[[], object]) -> int:
        calls = 0

        def note(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            function()
        finally:
            sys.setprofile(before)
        return calls

    return count
