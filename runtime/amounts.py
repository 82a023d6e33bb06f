"""Amounts of memory, as people read and write them: in powers of 1,000."""

from __future__ import annotations

import math

_UNITS = ("bytes", "kB", "MB", "GB")


def bytes_text(size: int) -> str:
    """``26.3 kB``."""
    amount = float(size)
    for unit in _UNITS:
        if amount < 1000 or unit == _UNITS[-1]:
            return f"{size} bytes" if unit == "bytes" else f"{amount:.3g} {unit}"
        amount /= 1000
    raise AssertionError("the loop ends with the largest unit")


def parse_bytes(text: str) -> int | None:
    """The bytes that ``2GB``, ``1.5 GB``, ``500M`` or ``800_000`` stand for; None for what is no amount above 0."""
    plain = text.strip().lower().removesuffix("bytes").removesuffix("b").strip()
    power = "kmgt".find(plain[-1:]) + 1 if plain[-1:] else 0
    try:
        size = float(plain[:-1] if power else plain) * 1000**power
    except ValueError:
        return None
    return int(size) if 1 <= size < math.inf else None
