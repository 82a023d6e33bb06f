"""Which stored tensors become which weights: by rules first, then by equal names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from compiler.front.stored.conventions import BOOKKEEPING, CONVENTIONS, KINDS, Convention, Recipe, as_it_is
from compiler.front.stored.files import FLOATS, Outline

_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class MappingRule:
    """``theirs -> ours``: names that begin so, up to a point, begin otherwise here. ``{i}`` stands for anything without
    a point in it. Without ``ours`` such tensors are left out, without ``theirs`` such weights begin fresh."""

    theirs: str | None
    ours: str | None

    def applied(self, name: str) -> str | None:
        """The name that a stored tensor has by this rule; None where it does not begin so."""
        assert self.theirs is not None
        found = pattern(self.theirs).match(name)
        if found is None:
            return None
        stem = _HOLE.sub(lambda hole: found[hole[1]], self.ours or "")
        return ".".join(part for part in (stem, name[found.end() :].removeprefix(".")) if part)

    def is_fresh(self, name: str) -> bool:
        """Whether a weight, as named within its model, is one of those that begin fresh."""
        return self.theirs is None and pattern(self.ours or "").match(name) is not None


def pattern(text: str) -> re.Pattern[str]:
    """What a side of a rule matches: the beginning of a name, up to a point or its end."""
    parts = _HOLE.split(text)
    seen: set[str] = set()
    made = []
    for index, part in enumerate(parts):
        if index % 2 == 0:
            made.append(re.escape(part))
        else:
            made.append(f"(?P={part})" if part in seen else f"(?P<{part}>[^.]+)")
            seen.add(part)
    return re.compile(f"{''.join(made)}(?=\\.|$)" if text else "")


def holes(text: str) -> list[str]:
    """The names in braces."""
    return [found[1] for found in _HOLE.finditer(text)]


@dataclass(frozen=True)
class Found:
    """A weight and the stored tensors that it is made of. ``outlines`` are of these, as they are stored."""

    weight: str
    recipe: Recipe
    sources: tuple[str, ...]
    outlines: tuple[Outline, ...]

    @property
    def fits(self) -> bool:
        """Whether shapes and kinds of elements are those that the recipe needs."""
        pairs = zip(self.outlines, self.recipe.shapes, strict=True)
        return all(outline.shape == shape and outline.dtype in FLOATS for outline, shape in pairs)


@dataclass
class Matches:
    """``found`` are the weights with a content, ``misshapen`` those whose tensors do not fit; ``missing`` have none and
    ``fresh`` are not to have one. Of the stored tensors, ``unused`` became nothing and ``left_out`` were not to.
    ``clashes`` are pairs of stored tensors that rules give one name, ``idle`` rules that match nothing."""

    found: list[Found] = field(default_factory=list)
    misshapen: list[Found] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    clashes: list[tuple[str, str, str]] = field(default_factory=list)
    idle: list[MappingRule] = field(default_factory=list)


def match(
    model: str,
    weights: Mapping[str, tuple[int, ...]],
    stored: Mapping[str, Outline],
    rules: Sequence[MappingRule],
    convention: str = "",
) -> Matches:
    """Match the tensors of a file with the ``weights`` of ``model``, which are given with their shapes."""
    matches = Matches()
    renamed = _renamed(stored, rules, convention, matches)
    used: set[str] = set()
    kindless = Counter(_without_kind(_inner(model, name)) for name in weights)
    for name, shape in weights.items():
        inner = _inner(model, name)
        if any(rule.is_fresh(inner) for rule in rules):
            matches.fresh.append(name)
            continue
        without = _without_kind(inner)
        stems = _stems(model, inner, without if kindless[without] == 1 else None)
        found = _find(name, shape, stems, renamed, stored, CONVENTIONS.get(convention, as_it_is))
        if found is None:
            matches.missing.append(name)
            continue
        used.update(found.sources)
        (matches.found if found.fits else matches.misshapen).append(found)
    matches.unused += [name for name in renamed.values() if name not in used]
    for rule in rules:
        fresh = rule.theirs is None
        if fresh and not any(rule.is_fresh(_inner(model, name)) for name in weights):
            matches.idle.append(rule)
    return matches


def tidy(name: str) -> str:
    """A stored name with points between its parts: Keras has ``dense/kernel:0``."""
    return re.sub(r":\d+$", "", name).replace("/", ".")


def _renamed(
    stored: Mapping[str, Outline], rules: Sequence[MappingRule], convention: str, matches: Matches
) -> dict[str, str]:
    """The stored names by those that rules give them; what is left out, idle or clashes goes to ``matches``."""
    renamed: dict[str, str] = {}
    idle = {rule for rule in rules if rule.theirs is not None}
    for name in stored:
        plain = tidy(name)
        if plain.rpartition(".")[2] in BOOKKEEPING.get(convention, ()):
            matches.left_out.append(name)
            continue
        new = plain
        for rule in rules:
            applied = rule.applied(plain) if rule.theirs is not None else None
            if applied is not None:
                idle.discard(rule)
                new = applied if rule.ours is not None else ""
                break
        if not new:
            matches.left_out.append(name)
        elif new in renamed:
            matches.clashes.append((renamed[new], name, new))
        else:
            renamed[new] = name
    matches.idle += [rule for rule in rules if rule in idle]
    return renamed


def _inner(model: str, name: str) -> str:
    return name.removeprefix(f"{model}.")


def _kind_place(inner: str) -> int | None:
    """Which part of a weight's name is the kind of its layer."""
    parts = inner.split(".")
    places = [place for place, part in enumerate(parts) if re.sub(r"_\d+$", "", part) in KINDS]
    return places[-1] if places else None


def _without_kind(inner: str) -> str:
    place, parts = _kind_place(inner), inner.split(".")
    return inner if place is None else ".".join(parts[:place] + parts[place + 1 :])


def _stems(model: str, inner: str, without: str | None) -> tuple[str, str, tuple[str, ...]]:
    """The kind of the layer that a weight is of, the layer's name for it, and where the layer may stand in a file."""
    place, parts = _kind_place(inner), inner.split(".")
    if place is None:
        return "", parts[-1], _both(model, ".".join(parts[:-1]))
    kind, tensor = re.sub(r"_\d+$", "", parts[place]), ".".join(parts[place + 1 :])
    stems = _both(model, ".".join(parts[: place + 1]))
    return kind, tensor, stems if without is None else (*stems, *_both(model, ".".join(parts[:place])))


def _both(model: str, stem: str) -> tuple[str, ...]:
    return stem, f"{model}.{stem}" if stem else model


def _find(
    name: str,
    shape: tuple[int, ...],
    stems: tuple[str, str, tuple[str, ...]],
    renamed: Mapping[str, str],
    stored: Mapping[str, Outline],
    convention: Convention,
) -> Found | None:
    """The first recipe that there is everything for, one that fits before one that does not."""
    kind, tensor, places = stems
    candidates = list(_candidates(name, list(convention(kind, tensor, shape)), places, renamed, stored))
    return next((found for found in candidates if found.fits), candidates[0] if candidates else None)


def _candidates(
    name: str,
    recipes: Sequence[Recipe],
    places: Sequence[str],
    renamed: Mapping[str, str],
    stored: Mapping[str, Outline],
) -> Iterator[Found]:
    for place in places:
        for recipe in recipes:
            wanted = [f"{place}.{source}" if place else source for source in recipe.sources]
            if all(source in renamed for source in wanted) and recipe.sources:
                sources = tuple(renamed[source] for source in wanted)
                yield Found(name, recipe, sources, tuple(stored[source] for source in sources))
    # What needs nothing of the file comes last.
    yield from (Found(name, recipe, (), ()) for recipe in recipes if not recipe.sources)
