"""Memory that the processes which share a program's work can all see: they are forked, and find it where it was."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from runtime.amounts import bytes_text
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
# The process of which this is the memory.
process = os.getpid()


def _begin_anew() -> None:
    """What is left of a piece belongs to the process that this one was forked from, which goes on to fill it."""
    global _memory, process
    _memory, process = _Memory(), os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def elsewhere() -> DiagnosticError:
    """What to raise where a process works on memory that became visible in another one, which does so too."""
    title = "this process was forked in the middle of a training, which only the other one can go on with"
    advice = "end it where its own work is done, with os._exit(0), or begin a training of its own in it"
    return DiagnosticError([error("E0821", title, None, help=advice)])


def memory(size: int) -> Array:
    """So many bytes, u8[size], that begin at a multiple of 64 and are 0. Raises MemoryError."""
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
    try:
        pages = mmap.mmap(-1, size)
    except OSError as failure:
        raise MemoryError(f"Unable to allocate {bytes_text(size)}") from failure
    if size >= _PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a system may know of huge pages and have none
            pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint8)


def _owner(array: Array) -> object:
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner.obj if isinstance(owner, memoryview) else owner
