"""Waiting for model files to be saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from compiler.front.imports import files_of

_SECONDS = 0.25  # between two looks: few enough to feel immediate, too many to be seen in a list of busy processes

_Stamp: TypeAlias = tuple[int, int, int]


def watch(main: Path, changed: Callable[[int], None], pause: Callable[[], None] | None = None) -> None:
    """Calls ``changed`` at once, and whenever ``main`` or a file that it imports was written; with the number of them.

    Looks at their times and sizes after each ``pause``, by default a quarter of a second. While ``main`` is away, as
    it is for a moment when an editor replaces it, there is nothing to look at. Never returns: an exception ends it.
    """
    before: dict[Path, _Stamp | None] = {}
    while True:
        if _stamps(before) != before or not before:
            files = files_of(main)
            stamps = _stamps(files)
            if stamps[main] is not None:
                before = stamps
                changed(len(files))
        if pause is None:
            time.sleep(_SECONDS)
        else:
            pause()


def _stamps(paths: Iterable[Path]) -> dict[Path, _Stamp | None]:
    return {path: _stamp(path) for path in paths}


def _stamp(path: Path) -> _Stamp | None:
    """What differs when a file was written anew; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
