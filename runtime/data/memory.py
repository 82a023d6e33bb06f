"""How much memory this process may take: what decides whether data is held or read piece by piece."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Data that takes a smaller part of the memory than this is held in it.
_HELD = 1 / 8
# Where the system tells nothing, as Windows does not through this door.
_ASSUMED = 4 << 30
_CONTROL_GROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def allowance() -> int:
    """The bytes that this process may take at most: of the machine, of its own limits (``ulimit``), and of the control
    group that a container is."""
    return min(_limits(), default=_ASSUMED)


def holds(size: int) -> bool:
    """Whether an array of ``size`` bytes is to be held in memory."""
    return size <= allowance() * _HELD


def _limits() -> Iterator[int]:
    with suppress(AttributeError, ValueError, OSError):
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(ImportError):
        import resource

        for which in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            soft, _ = resource.getrlimit(which)
            if soft != resource.RLIM_INFINITY:
                yield soft
    for path in _CONTROL_GROUPS:
        with suppress(OSError, ValueError):  # "max" is no number
            yield int(path.read_text())
