"""What a text is like, for those who have to say how it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runtime.data.readers.characters import code_points, read_text, vocabulary_of
from runtime.data.readers.content import ReadError


def text_facts(path: Path) -> list[str] | None:
    """Lines about a text in UTF-8, with the readers that take it; None for a file that is none."""
    try:
        text = read_text(path)
    except ReadError:
        return None
    if not text or "\0" in text:
        return None
    vocabulary = vocabulary_of(code_points(text))
    lengths = np.array([len(line.removesuffix("\r")) for line in text.split("\n")])
    filled = lengths[lengths > 0]
    shown = repr("".join(vocabulary))[1:-1]
    return [
        f"{path}: a text of {len(text):,} characters",
        "",
        f"characters  {len(vocabulary)} different: {shown if len(shown) <= 100 else shown[:100] + '…'}",
        f"lines       {len(filled):,} with anything in them, {filled.min()} to {filled.max()} characters, "
        f"mean {filled.mean():.1f}",
        "",
        f'text("{path.name}", window=64)  gives {max(0, len(text) - 64):,} windows of 64; numbers from 0 to '
        f"{len(vocabulary) - 1}",
        f'lines("{path.name}")  gives {len(filled):,} sequences of up to {filled.max() + 1} steps; numbers from 0 to '
        f"{len(vocabulary) - (chr(10) in vocabulary) - (chr(13) in vocabulary)}",
    ]
