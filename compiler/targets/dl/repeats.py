"""Repetitions in a list of steps: what comes several times in a row, each time from what it gave before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from compiler.ir.graph import Value
from compiler.targets.dl.step import Body, Step, common_path, inputs_of, plain, readers_of

_LONGEST = 8  # steps that are repeated together
Readers = Mapping[Value, Sequence[Step]]


@dataclass(frozen=True)
class Shape:
    """What steps have in common with others that do the same. Equal ``key`` means: the same steps on the same operands,
    but for ``texts``, those of their arguments in order, and ``outside``, the values that they read and do not make."""

    key: object
    outside: tuple[Value, ...]
    texts: tuple[str, ...]


def shape_of(steps: Sequence[Step]) -> Shape:
    """The shape of some steps in a row."""
    places: dict[Value, object] = {}
    outside: list[Value] = []
    texts: list[str] = []

    def token(step: Step, number: object) -> object:
        operands: list[object] = []
        for item in step.operands:
            if isinstance(item, str):
                texts.append(item)
                operands.append("")
                continue
            if item not in places:
                places[item] = ("in", len(outside), item.type.rank)
                outside.append(item)
            operands.append(places[item])
        texts.extend(argument.text for argument in step.arguments)
        places.update((value, (number, index)) for index, value in enumerate(step.results))
        names = tuple((argument.name, argument.named) for argument in step.arguments)
        stored = tuple((name, array.ndim) for name, array in step.weights)
        inner = tuple(
            tuple(token(inside, (number, place, index)) for index, inside in enumerate(body.steps))
            for place, body in enumerate(step.bodies)
        )
        ends = tuple(str(places[body.output]) for body in step.bodies)
        return step.kind, step.form, step.keywords, names, stored, tuple(map(str, operands)), inner, ends

    key = tuple(token(step, index) for index, step in enumerate(steps))
    return Shape(key, tuple(outside), tuple(texts))


def is_closed(window: Sequence[Step], readers: Readers, ends: set[Value]) -> bool:
    """Whether only the result of the last step is read outside, and the first step reads something."""
    inside = set(map(id, window))
    *others, last = window
    if len(last.results) != 1 or not window[0].values:
        return False
    for step in others:
        for value in step.results:
            if value in ends or any(id(reader) not in inside for reader in readers.get(value, ())):
                return False
    return True


def with_repeats(steps: Sequence[Step], kept: Iterable[Value]) -> list[Step]:
    """The steps with a ``repeat`` for what comes several times in a row."""
    found, ends, place = list(steps), set(kept), 0
    readers = readers_of(found)
    while place < len(found):
        for length in range(1, _LONGEST + 1):
            count = _times(found, place, length, readers, ends)
            if count > 1:
                found[place : place + length * count] = [_repeated(found, place, length, count)]
                break
        place += 1
    return found


def _repeated(steps: Sequence[Step], place: int, length: int, count: int) -> Step:
    copies = [steps[place + length * turn : place + length * (turn + 1)] for turn in range(count)]
    bodies = tuple(Body(inputs_of(copy), tuple(copy), copy[-1].result) for copy in copies)
    path = common_path(steps[place : place + length * count])
    results, times = copies[-1][-1].results, (plain("count", count),)
    return Step("repeat", bodies[0].inputs, results, times, (), path, "repeat", bodies=bodies)


def _times(steps: Sequence[Step], place: int, length: int, readers: Readers, ends: set[Value]) -> int:
    """How often the steps at ``place`` come in a row."""
    window = steps[place : place + length]
    if len(window) < length or not any(step.is_weighted for step in window) or not is_closed(window, readers, ends):
        return 0
    first = shape_of(window)
    count, result = 1, window[-1].result
    while True:
        after = steps[place + count * length : place + (count + 1) * length]
        if len(after) < length or result in ends or not is_closed(after, readers, ends):
            return count
        other = shape_of(after)
        same = (other.key, other.texts) == (first.key, first.texts) and other.outside[1:] == first.outside[1:]
        own = sum(step.values.count(result) for step in after)
        if not same or other.outside[0] is not result or len(readers.get(result, ())) != own:
            return count
        count, result = count + 1, after[-1].result
