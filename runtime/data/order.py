"""The order of rows: every shuffle of a run, each a function of the seed and of what it is for.

Keys come straight from a PCG-64 bit stream, which NumPy promises never to change (NEP 19), and are sorted:
the methods of its generators give no such promise, and a checkpoint has to find the same batches under a
later NumPy.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Rows: TypeAlias = npt.NDArray[np.intp]


class Stream(IntEnum):
    """What a shuffle is for: shuffles for different things are independent."""

    SPLIT = 0
    EPOCH = 1


def shuffled(count: int, seed: int, stream: Stream, number: int = 0) -> Rows:
    """The rows 0 to ``count - 1`` in random order, always the same for the same arguments. ``seed`` is any
    integer."""
    sequence = np.random.SeedSequence(seed % 2**64, spawn_key=(int(stream), number))
    keys = np.random.PCG64(sequence).random_raw(count)
    return np.argsort(keys, kind="stable")
