"""Helpers for tests of the front end."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

import pytest

import compiler
from compiler import Checked
from compiler.diagnostics import Source


@pytest.fixture
def check() -> Callable[..., Checked]:
    """Checks a text; keyword arguments set constants."""

    def run(text: str, **overrides: str) -> Checked:
        return compiler.check(Source("test.dl", dedent(text)), overrides)

    return run
