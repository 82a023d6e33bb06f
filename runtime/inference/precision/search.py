"""Which layers can have a precision: all of them, or all but those that lose most by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runtime.inference.precision.forms import Form, Level


@dataclass(frozen=True)
class Found:
    """A file that passes, and what each layer has in it."""

    content: bytes
    plan: Mapping[str, Level]


def find_plan(form: Form, passes: Callable[[bytes], bool], harm: Callable[[bytes], float]) -> Found | None:
    """The file of ``form`` in which as few layers as can be found have less of it; None where none passes.

    Each layer begins with the first level that it can have. Where the file does not pass, ``harm`` is measured for
    each layer alone with the others in f32, and the fewest of the worst that let it pass take the level next; where
    even all of them do not, all take it, and the same is done with the level after that. A file whose layers are all
    f32 again is none.
    """
    levels = form.layers
    plan: dict[str, Level] = {name: can[0] for name, can in levels.items()}
    content = form.make(plan)
    if content is not None and passes(content):
        return Found(content, plan)
    for level in ("f16", "int8", "stored"):
        movable = [name for name in plan if plan[name] == level]
        if not movable:
            continue
        following = {name: levels[name][levels[name].index(plan[name]) + 1] for name in movable}
        worst = sorted(movable, key=_alone(form, plan, harm), reverse=True)
        found = _fewest(form, plan, worst, following, passes)
        if found is not None:
            return found
        plan |= following
    return None


def _alone(form: Form, plan: Mapping[str, Level], harm: Callable[[bytes], float]) -> Callable[[str], float]:
    def measured(name: str) -> float:
        single: dict[str, Level] = dict.fromkeys(plan, "f32")
        content = form.make(single | {name: plan[name]})
        return math.inf if content is None else harm(content)

    return measured


def _fewest(
    form: Form,
    plan: Mapping[str, Level],
    worst: list[str],
    following: Mapping[str, Level],
    passes: Callable[[bytes], bool],
) -> Found | None:
    """The file with the fewest of ``worst`` on the level next: 1, 2, 4 … of them are tried, and then what lies between
    the last two."""

    def tried(count: int) -> Found | None:
        changed = {**plan, **{name: following[name] for name in worst[:count]}}
        if set(changed.values()) == {"f32"}:
            return None
        content = form.make(changed)
        return Found(content, changed) if content is not None and passes(content) else None

    low, count = 0, 1
    while (best := tried(count)) is None:
        if count == len(worst):
            return None
        low, count = count, min(2 * count, len(worst))
    high = count
    while high - low > 1:
        middle = (low + high) // 2
        found = tried(middle)
        if found is None:
            low = middle
        else:
            best, high = found, middle
    return best
