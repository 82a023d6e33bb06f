"""Blocks in a list of steps: what comes again in several places, with other arguments perhaps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from compiler.ir.graph import Value
from compiler.targets.dl.repeats import is_closed, shape_of, with_repeats
from compiler.targets.dl.step import Body, Operand, Step, common_path, plain, readers_of

_LONGEST = 60  # steps of a block
_SHORTEST = 3
_BURDEN = 2  # steps that have to be saved for each further input of a use
_MOST_PARAMETERS = 4
_SYMBOL = re.compile(r"\b[A-Z]\w*")


@dataclass(frozen=True, eq=False)
class Block:
    """A template: ``parameters`` are its hyper-parameters."""

    name: str
    body: Body
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class _Window:
    """Steps that may be one use of a block: what they read from outside, and their arguments in order."""

    start: int
    steps: tuple[Step, ...]
    outside: tuple[Value, ...]
    texts: tuple[str, ...]

    @property
    def end(self) -> int:
        return self.start + len(self.steps)


def with_blocks(
    steps: Sequence[Step], kept: Iterable[Value], name: Callable[[Sequence[Step]], str]
) -> tuple[list[Step], list[Block]]:
    """The steps with repetitions, and calls of blocks for what else comes again, and these blocks; ``name`` finds a
    name for the steps of one."""
    ends, blocks = set(kept), list[Block]()
    found = with_repeats(steps, ends)
    while (best := _best(found, ends)) is not None:
        block, calls = _made(best, name([step for window in best for step in window.steps]))
        blocks.append(block)
        for window, call in reversed(list(zip(best, calls, strict=True))):
            found[window.start : window.end] = [call]
        found = with_repeats(found, ends)
    return found, blocks


def _best(steps: Sequence[Step], ends: set[Value]) -> list[_Window] | None:
    """The uses of the block that saves most."""
    readers, best, saved = readers_of(steps), None, 0
    for length in range(2, min(_LONGEST, len(steps) // 2) + 1):
        groups: dict[object, list[_Window]] = {}
        for start in range(len(steps) - length + 1):
            window = steps[start : start + length]
            few = sum(step.layers for step in window) < 2 or sum(map(_size, window)) < _SHORTEST
            if few or not is_closed(window, readers, ends):
                continue
            shape = shape_of(window)
            groups.setdefault(shape.key, []).append(_Window(start, tuple(window), shape.outside, shape.texts))
        for group in groups.values():
            chosen = _compatible(_apart(group))
            gain = (len(chosen) - 1) * sum(map(_size, chosen[0].steps)) if len(chosen) > 1 else 0
            gain -= _BURDEN * len(chosen) * (len(chosen[0].outside) - 1)
            if gain > saved:
                best, saved = chosen, gain
    return best


def _size(step: Step) -> int:
    return 1 + sum(_size(inner) for body in step.bodies for inner in body.steps)


def _apart(windows: Sequence[_Window]) -> list[_Window]:
    """Those that do not overlap, from the first on."""
    found: list[_Window] = []
    for window in windows:
        if not found or window.start >= found[-1].end:
            found.append(window)
    return found


def _compatible(windows: list[_Window]) -> list[_Window]:
    """Those that can be uses of one block with few parameters: all, or the largest group without any."""
    if len(windows) > 1 and len(_varying(windows)) <= _MOST_PARAMETERS and _is_spoken(windows):
        return windows
    same: dict[tuple[str, ...], list[_Window]] = {}
    for window in windows:
        same.setdefault(window.texts, []).append(window)
    largest = max(same.values(), key=len)
    return largest if _is_spoken(largest) else largest[:1]


def _varying(windows: Sequence[_Window]) -> dict[tuple[str, ...], list[int]]:
    """The places of arguments that differ between uses, those together that always agree."""
    found: dict[tuple[str, ...], list[int]] = {}
    for place, texts in enumerate(zip(*(window.texts for window in windows), strict=True)):
        if len(set(texts)) > 1:
            found.setdefault(texts, []).append(place)
    return found


def _is_spoken(windows: Sequence[_Window]) -> bool:
    """Whether all sizes that the body speaks of are sizes of what comes in."""
    for window in windows:
        sizes = {str(dim) for value in window.outside for dim in value.type.shape}
        if any(symbol not in sizes for text in window.texts for symbol in _SYMBOL.findall(text)):
            return False
    return True


def _made(windows: Sequence[_Window], name: str) -> tuple[Block, list[Step]]:
    """The block, with the steps of the first use as its body, and the calls."""
    first = windows[0]
    names = _parameter_names(first, _varying(windows))
    replaced = {place: parameter for parameter, places in names.items() for place in places}
    counter = iter(range(len(first.texts)))
    steps = tuple(_with_parameters(step, replaced, counter) for step in first.steps)
    steps = _with_paths(steps, [window.steps for window in windows])
    block = Block(name, Body(first.outside, steps, first.steps[-1].result), tuple(names))
    calls = []
    for window in windows:
        arguments = tuple(plain(parameter, window.texts[places[0]]) for parameter, places in names.items())
        weights = tuple(item for step in window.steps for item in step.all_weights())
        path = common_path(window.steps)
        calls.append(Step(name, window.outside, window.steps[-1].results, arguments, weights, path))
    return block, calls


def _with_paths(steps: Sequence[Step], uses: Sequence[Sequence[Step]]) -> tuple[Step, ...]:
    """The steps of a block with the paths that they have in it, where these are the same in all of its uses."""
    places = [common_path(use) for use in uses]
    found = []
    for step, *others in zip(steps, *uses, strict=True):
        inner = {_below(place, other.path) for place, other in zip(places, others, strict=True)}
        bodies = tuple(
            replace(body, steps=_with_paths(body.steps, [other.bodies[place].steps for other in others]))
            for place, body in enumerate(step.bodies)
        )
        found.append(replace(step, path=inner.pop() if len(inner) == 1 else "", bodies=bodies))
    return tuple(found)


def _below(place: str, path: str) -> str:
    return path[len(place) :].lstrip(".") if place and f"{path}.".startswith(f"{place}.") else path


def _parameter_names(first: _Window, varying: Mapping[tuple[str, ...], list[int]]) -> dict[str, list[int]]:
    wanted = [name for step in first.steps for name in _argument_names(step)]
    found: dict[str, list[int]] = {}
    for places in varying.values():
        base = wanted[places[0]] or "value"
        name, count = base, 1
        while name in found:
            count += 1
            name = f"{base}_{count}"
        found[name] = places
    return found


def _argument_names(step: Step) -> Iterator[str]:
    """The names of the texts of a step, in the order of :func:`compiler.targets.dl.repeats.shape_of`."""
    yield from ("value" for item in step.operands if isinstance(item, str))
    yield from (argument.name for argument in step.arguments)
    for body in step.bodies:
        for inner in body.steps:
            yield from _argument_names(inner)


def _with_parameters(step: Step, replaced: Mapping[int, str], counter: Iterator[int]) -> Step:
    operands: list[Operand] = [
        replaced.get(next(counter), item) if isinstance(item, str) else item for item in step.operands
    ]
    arguments = tuple(replace(argument, text=replaced.get(next(counter), argument.text)) for argument in step.arguments)
    bodies = tuple(
        Body(body.inputs, tuple(_with_parameters(inner, replaced, counter) for inner in body.steps), body.output)
        for body in step.bodies
    )
    return replace(step, operands=tuple(operands), arguments=arguments, bodies=bodies)
