"""Memory that the processes which share work see, and only they."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.programs import helpers, visible

ROOT = Path(__file__).parents[3]


def test_memory_is_visible_aligned_and_of_the_size_asked_for() -> None:
    for size in (0, 1, 64, 100, 1 << 18, (1 << 18) + 1, 3 << 20):
        found = visible.memory(size)
        assert found.size == size
        assert visible.is_visible([found, found[size // 2 :].view(np.uint8)])
        assert found.ctypes.data % 64 == 0 or not size
    assert not visible.is_visible([np.zeros(3)])


def test_neighbours_lie_one_behind_the_other() -> None:
    arrays = {name: np.full(size, size, np.float32) for name, size in (("a", 3), ("b", 5), ("c", 2), ("d", 4))}
    # A name that is in a row already, or that there is not, leaves the others of its row where they are.
    found = visible.visible(arrays, [("a", "c"), ("c", "b"), ("d", "e")])
    assert all((found[name] == array).all() for name, array in arrays.items())
    assert found["a"].ctypes.data + found["a"].nbytes == found["c"].ctypes.data
    assert visible.is_visible(found.values())
    assert found["b"].ctypes.data % 64 == found["d"].ctypes.data % 64 == 0


def test_a_system_may_have_no_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pages(mmap.mmap):
        def madvise(self, *_: int) -> None:  # type: ignore[override]
            raise OSError("Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Pages)
    assert visible.is_visible([visible.memory(3 << 20)])


def test_memory_that_there_is_not_is_told_as_such() -> None:
    with pytest.raises(MemoryError, match="Unable to allocate"):
        visible.memory(1 << 60)


FORKED = """
import os
import numpy as np
from runtime.programs import visible
visible.memory(8)
child = os.fork()
mine = visible.memory(8)
mine[:] = 1 if child else 2
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert mine.tolist() == [1] * 8
"""


@pytest.mark.skipif(not helpers.can_help(), reason="this system forks no helpers")
def test_what_two_processes_take_after_a_fork_lies_apart() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", FORKED], env=environment, check=True, timeout=300)
