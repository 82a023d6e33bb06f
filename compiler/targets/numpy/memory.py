"""Handing out memory: which blocks, each needed for a stretch of the program, may lie in the same slot."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf

from compiler.ir.dims import Dim, evaluate, less_equal, symbols

# Every slot begins at a multiple of this many bytes, so that no array shares a cache line with another slot's.
ALIGNMENT = 64
# A block takes a free slot only if one is at most so many times as large as the other: a small result that
# is needed for long would keep a large slot from the others.
_STRETCH = 8
# What a symbol is taken to be where sizes are only ranked.
_TYPICAL = 32


@dataclass(eq=False, slots=True)
class Block:
    """Memory of ``bytes``, needed from node ``first`` to node ``last``, both included."""

    bytes: Dim
    first: int
    last: int


@dataclass(eq=False, slots=True)
class Slot:
    """Memory that holds one block after the other: as large as the largest of ``sizes`` turns out to be."""

    sizes: list[Dim] = field(default_factory=list)

    def bytes(self, sizes: Mapping[str, int]) -> int:
        """The bytes allocated where the symbols have these sizes, what alignment takes included."""
        return max(evaluate(dim, sizes) for dim in self.sizes) + ALIGNMENT


def assign_slots(blocks: Iterable[Block]) -> tuple[dict[Block, int], list[Slot]]:
    """A slot for each block, so that no two blocks needed at one node share one; takes n log n steps.

    A block goes into the smallest free slot that is large enough, else into the largest, which then grows, and of equal
    ones into that used last, which is likely in the cache. Where it depends on the symbols which of two blocks is
    larger, their slot gets the size of either: right whatever they are, as a typical size decides only the choice.
    """
    ranks, slots = _Ranks(), list[Slot]()
    places: dict[Block, int] = {}
    # Free slots by typical size, then by when their block was made; a heap of those in use, by their last node.
    free: list[tuple[float, int, int]] = []
    ends: list[tuple[int, int, float, int]] = []
    for stamp, block in enumerate(sorted(blocks, key=lambda block: block.first)):
        while ends and ends[0][0] < block.first:
            _, made, typical, slot = heappop(ends)
            insort(free, (typical, made, slot))
        need = ranks.typical(block.bytes)
        chosen = _choose(free, need)
        if chosen is None:
            typical, slot = need, len(slots)
            slots.append(Slot())
        else:
            typical, _, slot = free.pop(chosen)
        ranks.enlarge(slots[slot], block.bytes)
        places[block] = slot
        heappush(ends, (block.last, stamp, max(typical, need), slot))
    return places, slots


def _choose(free: Sequence[tuple[float, int, int]], need: float) -> int | None:
    """The index in ``free`` of the slot to take, or None for a new one."""
    after = bisect_right(free, (need, inf, 0))
    if after and free[after - 1][0] == need:
        return after - 1
    if after < len(free) and free[after][0] <= _STRETCH * need:
        return bisect_left(free, (free[after][0], inf, 0)) - 1
    if after and free[after - 1][0] * _STRETCH >= need:
        return after - 1
    return None


class _Ranks:
    """Comparisons of sizes, each pair compared once."""

    def __init__(self) -> None:
        self._typical: dict[Dim, float] = {}
        self._fits: dict[tuple[Dim, Dim], bool] = {}

    def typical(self, dim: Dim) -> float:
        if dim not in self._typical:
            sizes = {s.name: s.nearest(_TYPICAL) for s in symbols(dim)}
            self._typical[dim] = max(1, evaluate(dim, sizes))
        return self._typical[dim]

    def enlarge(self, slot: Slot, dim: Dim) -> None:
        """Make the slot large enough for ``dim``, which joins its sizes unless it never exceeds one of them."""
        if not any(self._within(dim, size) for size in slot.sizes):
            slot.sizes = [size for size in slot.sizes if not self._within(size, dim)] + [dim]

    def _within(self, a: Dim, b: Dim) -> bool:
        if (a, b) not in self._fits:
            self._fits[a, b] = less_equal(a, b) is True
        return self._fits[a, b]
