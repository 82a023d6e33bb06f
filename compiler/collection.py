"""Memory while much is made that stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """A time in which Python looks for no garbage in cycles: graphs have none, and looking through them again and again
    as they grow takes a third of the time of making them. Where several threads are inside, it ends with the first."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
