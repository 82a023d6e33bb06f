"""Memory that the processes which share a program's work can all see: they are forked, and find it where it was."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from runtime.disk.tensors import Array

# Large arrays have pages of their own, which the system is asked to make huge: a step goes through all of its memory.
_PAGE = 1 << 21
# Small ones share a piece of so many bytes.
_PIECE = 1 << 20
_ALIGNMENT = 64


class _Memory(threading.local):
    """What is left of the piece that this thread's small arrays are taken from."""

    def __init__(self) -> None:
        self._rest = np.empty(0, np.uint8)

    def take(self, size: int) -> Array:
        if size > _PIECE // 4:
            return _mapped(size)
        taken = -(-max(size, 1) // _ALIGNMENT) * _ALIGNMENT
        if taken > self._rest.size:
            self._rest = _mapped(_PIECE)
        found, self._rest = self._rest[:size], self._rest[taken:]
        return found


_memory = _Memory()


def memory(size: int) -> Array:
    """So many bytes, u8[size], that begin at a multiple of 64 and are 0."""
    return _memory.take(size)


def is_visible(arrays: Iterable[Array]) -> bool:
    """Whether all of them lie in such memory."""
    return all(isinstance(_owner(array), mmap.mmap) for array in arrays)


def visible(arrays: Mapping[str, Array], neighbours: Iterable[Sequence[str]] = ()) -> dict[str, Array]:
    """Copies, contiguous, that lie in such memory: those of which the names are ``neighbours`` one behind the other."""
    pieces: dict[str, Array] = {}
    for names in neighbours:
        if all(name in arrays and name not in pieces for name in names):
            rest = memory(sum(arrays[name].nbytes for name in names))
            for name in names:
                pieces[name], rest = np.split(rest, [arrays[name].nbytes])
    found = {}
    for name, array in arrays.items():
        found[name] = np.ndarray(array.shape, array.dtype, pieces[name] if name in pieces else memory(array.nbytes))
        np.copyto(found[name], array)
    return found


def _mapped(size: int) -> Array:
    pages = mmap.mmap(-1, size)
    if size >= _PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint8)


def _owner(array: Array) -> object:
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner.obj if isinstance(owner, memoryview) else owner
