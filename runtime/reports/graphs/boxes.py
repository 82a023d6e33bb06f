"""What drawings show: boxes in an order that can be read, with what is repeated told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

# The longest pattern, in pieces between bottlenecks, that is looked for again.
_LONGEST = 24
_FAR = 30  # boxes between a value and who reads it


@dataclass(frozen=True)
class Box:
    """A stage or an operation of a graph. ``label`` is its name, ``text`` what it does, ``gives`` the types of its
    results, ``count`` its parameters, ``reads`` the results that go in, as numbers of a box and of a result of it."""

    label: str
    text: str
    gives: tuple[str, ...]
    count: int = 0
    reads: tuple[tuple[int, int], ...] = ()
    kind: str = "stage"


@dataclass(frozen=True)
class Repeat:
    """Boxes ``start`` to ``stop`` of a picture stand for ``times`` parts of the graph that are the same but for their
    weights; ``names`` is what the labels of each part have in common."""

    start: int
    stop: int
    times: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """Boxes in the order in which they are drawn, of which each reads earlier ones only, and the parts among them that
    stand for several. ``total`` are the boxes of the whole graph."""

    boxes: tuple[Box, ...]
    repeats: tuple[Repeat, ...]
    total: int


def picture(boxes: Sequence[Box], fold: bool) -> Picture:
    """The boxes of a graph without circles for drawing; with ``fold`` repeated parts are told once."""
    ordered = _ordered(boxes)
    return _folded(ordered) if fold else Picture(tuple(ordered), (), len(ordered))


def _ordered(boxes: Sequence[Box]) -> list[Box]:
    """Every box after those that it reads, one branch after another, so that few values are under way at a time."""
    readers: list[list[int]] = [[] for _ in boxes]
    waiting = [len({source for source, _ in box.reads}) for box in boxes]
    for index, box in enumerate(boxes):
        for source in dict.fromkeys(source for source, _ in box.reads):
            readers[source].append(index)
    length = [0] * len(boxes)  # of the longest way to the end
    for index in reversed(_topological(waiting, readers)):
        length[index] = 1 + max((length[reader] for reader in readers[index]), default=0)
    # What is ready: the newest first, of several that became ready together the one with the longest way; inputs come
    # when nothing else is left.
    ready = [index for index in range(len(boxes)) if waiting[index] == 0][::-1]
    order: list[int] = []
    while ready:
        index = ready.pop()
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
        ready += sorted((reader for reader in readers[index] if waiting[reader] == 0), key=lambda i: (length[i], -i))
    place = {index: position for position, index in enumerate(order)}
    return [replace(boxes[i], reads=tuple((place[source], result) for source, result in boxes[i].reads)) for i in order]


def _topological(waiting: Sequence[int], readers: Sequence[Sequence[int]]) -> list[int]:
    left, order = list(waiting), [index for index, count in enumerate(waiting) if count == 0]
    for index in order:
        for reader in readers[index]:
            left[reader] -= 1
            if left[reader] == 0:
                order.append(reader)
    return order


def _folded(boxes: Sequence[Box]) -> Picture:
    cuts = _bottlenecks(boxes)
    pieces = list(pairwise(cuts))
    signatures = [_signature(boxes, *piece) for piece in pieces]
    kept: list[Box] = []
    repeats: list[Repeat] = []
    moved: dict[int, int] = {}  # where boxes of the graph are in the picture
    position = 0
    while position < len(pieces):
        period, times = _repetition(signatures, position)
        if times > 1 and (
            _is_read_within(boxes, pieces[position][0], pieces[position + period * times - 1][1])
            or _begins_better(pieces, signatures, position, (period, times))
        ):
            period, times = 1, 1
        start, stop = pieces[position][0], pieces[position + period - 1][1]
        first = len(kept)
        for index in range(start, stop):
            moved[index] = len(kept)
            kept.append(replace(boxes[index], reads=tuple((moved[s], result) for s, result in boxes[index].reads)))
        if times > 1:
            parts = [pieces[position + period * turn : position + period * (turn + 1)] for turn in range(times)]
            names = tuple(_common_name(boxes[part[0][0] : part[-1][1]]) for part in parts)
            repeats.append(Repeat(first, len(kept), times, names))
            # Behind it only the last result of the last part is read, and so that of the one that stands for it.
            moved[parts[-1][-1][1] - 1] = len(kept) - 1
        position += period * times
    return Picture(tuple(kept), tuple(repeats), len(boxes))


def _bottlenecks(boxes: Sequence[Box]) -> list[int]:
    """The positions at which only the result of the box right before is still read, but for what is read far away too,
    as a mask is; and both ends."""
    last: dict[tuple[int, int], int] = {}
    for index, box in enumerate(boxes):
        for read in box.reads:
            last[read] = index
    cuts, alive, far = [0], set[tuple[int, int]](), max(_FAR, len(boxes) // 3)
    for index in range(len(boxes) - 1):
        alive |= {(index, result) for result in range(len(boxes[index].gives))}
        alive = {value for value in alive if index < last.get(value, -1) <= max(value[0] + far, index + 1)}
        if len(alive) == 1 and next(iter(alive))[0] == index:
            cuts.append(index + 1)
    return [*cuts, len(boxes)] if boxes else [0]


def _signature(boxes: Sequence[Box], start: int, stop: int) -> object:
    """What a piece does: results of its own count from its start, others are those of the box before, or of one place
    outside."""

    def reads(box: Box) -> tuple[tuple[int, int, bool], ...]:
        return tuple((max(s - start, -1), r, False) if s >= start - 1 else (s, r, True) for s, r in box.reads)

    return tuple((box.text, box.gives, box.count, box.kind, reads(box)) for box in boxes[start:stop])


def _repetition(signatures: Sequence[object], start: int) -> tuple[int, int]:
    """How many pieces from ``start`` on make a pattern that comes again, and how often: what saves most, or 1, 1."""
    best, saved = (1, 1), 0
    for period in range(1, min(_LONGEST, (len(signatures) - start) // 2) + 1):
        times = 1
        pattern = signatures[start : start + period]
        while signatures[start + period * times : start + period * (times + 1)] == pattern:
            times += 1
        if period * (times - 1) > saved:
            best, saved = (period, times), period * (times - 1)
    return best


def _is_read_within(boxes: Sequence[Box], start: int, stop: int) -> bool:
    """Whether something behind these boxes reads the result of another than the last of them."""
    return any(start <= source < stop - 1 for box in boxes[stop:] for source, _ in box.reads)


def _begins_better(
    pieces: Sequence[tuple[int, int]], signatures: Sequence[object], start: int, found: tuple[int, int]
) -> bool:
    """Whether the same pattern begins with a branch one or a few pieces further on, which reads better than within."""
    for position in range(start, start + found[0]):
        if pieces[position][1] - pieces[position][0] > 1:
            return position > start
        if position + 1 < len(pieces) and _repetition(signatures, position + 1) != found:
            return False
    return False


def _common_name(boxes: Sequence[Box]) -> str:
    """What the labels have in common, up to the last whole part of a path."""
    labels = [box.label for box in boxes if box.label]
    shared = _commonly_begun(labels)
    if len(set(labels)) == 1:
        return shared
    return shared[: max(shared.rfind(sign) for sign in "./") + 1].rstrip("./")


def _commonly_begun(texts: Sequence[str]) -> str:
    first, last = min(texts, default=""), max(texts, default="")
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(letter for letter, _ in same)
