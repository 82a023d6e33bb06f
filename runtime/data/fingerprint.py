"""Whether data is what it was: a hash of what is in it, made in a moment however much there is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from runtime.data.columns import ArrayOrColumn, Column
from runtime.data.split import Splits

# Of arrays with more bytes than this, pieces are looked at that lie evenly in them.
_WHOLE = 64 << 20
_PIECES = 1024


def fingerprint_of(splits: Splits) -> str:
    """A hash of the arrays that a run trains on and validates with: of all of those in memory, as long as they are not
    very large, and of some rows of those that stay in their files; of pictures, the names and sizes of the files."""
    digest = hashlib.blake2b(digest_size=8)
    seen: list[ArrayOrColumn] = []
    for data in (splits.train, splits.validation):
        for name, array in data.arrays.items() if data else ():
            if not any(array is other for other in seen):
                seen.append(array)
                digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
                for part in _parts(array):
                    digest.update(part)
    return digest.hexdigest()


def _parts(array: ArrayOrColumn) -> Iterator[bytes | memoryview]:
    if isinstance(array, Column):
        yield from array.traits()
        return
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if len(content) <= _WHOLE:
        yield content.data
        return
    size = _WHOLE // _PIECES
    for start in np.linspace(0, len(content) - size, _PIECES, dtype=np.int64).tolist():
        yield content[start : start + size].data
