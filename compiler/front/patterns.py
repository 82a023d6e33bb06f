"""Patterns of names of weights, as `freeze` and `over` have them."""

from __future__ import annotations

import re
from functools import cache


def belongs(name: str, pattern: str) -> bool:
    """Whether the weight or the place ``name`` is, or lies in, what a pattern such as ``Net.block*.conv`` speaks of. A
    star stands for any characters but the point."""
    return _compiled(pattern).match(name) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", "[^.]*") + r"(?:\.|$)")
