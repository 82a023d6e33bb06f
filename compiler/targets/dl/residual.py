"""Residual connections in a list of steps: a value, and what was made of it, added."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compiler.ir.graph import Value
from compiler.targets.dl.step import Body, Step, common_path, inputs_of, readers_of


def with_residuals(steps: Sequence[Step], kept: Iterable[Value]) -> list[Step]:
    """The steps with a residual for each sum of a value and what was made of it; ``kept`` are read at the end."""
    found, ends = list(steps), set(kept)
    place = 0
    while place < len(found):
        step = found[place]
        if step.form == "infix" and step.kind == "+" and len(step.values) == 2:
            a, b = step.values
            for source, branch in ((a, b), (b, a)):
                chosen = _branch(found, place, source, branch, ends)
                if chosen:
                    found = _replaced(found, place, source, branch, chosen)
                    place = found.index(next(other for other in found if other.results == step.results))
                    break
        place += 1
    return found


def _replaced(steps: Sequence[Step], place: int, source: Value, branch: Value, chosen: Sequence[Step]) -> list[Step]:
    """The steps with a residual at ``place``, in which the ``chosen`` ones are."""
    body = Body((source,), tuple(with_residuals(chosen, [branch])), branch)
    operands = (source, *(value for value in inputs_of(chosen) if value is not source))
    path = common_path(chosen)
    whole = Step("residual", operands, steps[place].results, path=path, form="residual", bodies=(body,))
    dropped = set(map(id, chosen))
    return [*(other for other in steps[:place] if id(other) not in dropped), whole, *steps[place + 1 :]]


def _branch(steps: Sequence[Step], place: int, source: Value, branch: Value, ends: set[Value]) -> list[Step]:
    """The steps that make ``branch`` of ``source`` for the sum at ``place``, if nothing else reads them."""
    readers = readers_of(steps)
    chosen: list[Step] = []
    inside = {id(steps[place])}
    for step in reversed(steps[:place]):
        if source in step.results:
            break
        read = [reader for value in step.results for reader in readers.get(value, ())]
        if read and all(id(reader) in inside for reader in read) and not ends.intersection(step.results):
            if not chosen and branch not in step.results:
                return []
            chosen.append(step)
            inside.add(id(step))
    chosen.reverse()
    begins = any(source in step.values for step in chosen)
    return chosen if begins and len(readers.get(branch, ())) == 1 else []
