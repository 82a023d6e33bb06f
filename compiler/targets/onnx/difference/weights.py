"""The weights of two ONNX files side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from compiler.ops.base import Array
from compiler.targets.onnx.read.load import LoadedModel


@dataclass(frozen=True)
class WeightChange:
    """A tensor that both files have under one name. ``largest`` is the largest difference of an element and
    ``relative`` what that is of the largest element of the first; None where shapes or types differ, or numbers are
    not finite at the same places."""

    name: str
    first: str
    second: str
    largest: float | None
    relative: float | None


@dataclass(frozen=True)
class WeightDifference:
    """``equal`` tensors have one name and one content; ``renamed`` have one content under two names; ``removed`` and
    ``added`` are in one file only, with their types."""

    equal: int
    renamed: tuple[tuple[str, str], ...]
    changed: tuple[WeightChange, ...]
    removed: tuple[tuple[str, str], ...]
    added: tuple[tuple[str, str], ...]

    @property
    def is_empty(self) -> bool:
        return not (self.renamed or self.changed or self.removed or self.added)


def compare_weights(first: LoadedModel, second: LoadedModel) -> WeightDifference:
    """What differs between the initializers of two models."""
    mine, its = _arrays(first), _arrays(second)
    equal, changed = 0, []
    for name in [name for name in mine if name in its]:
        found = _changed(name, mine[name], its[name])
        equal += found is None
        changed += [found] if found else []
    left = {name: array for name, array in mine.items() if name not in its}
    right = {name: array for name, array in its.items() if name not in mine}
    renamed = _renamed(left, right)
    again = {new for _, new in renamed}
    old = {name for name, _ in renamed}
    removed = tuple((name, _type(array)) for name, array in left.items() if name not in old)
    added = tuple((name, _type(array)) for name, array in right.items() if name not in again)
    return WeightDifference(equal, tuple(renamed), tuple(changed), removed, added)


def _arrays(model: LoadedModel) -> dict[str, Array]:
    return {proto.name: model.array(proto) for proto in model.proto.graph.initializer}


def _changed(name: str, mine: Array, its: Array) -> WeightChange | None:
    if _key(mine) == _key(its):
        return None
    types = _type(mine), _type(its)
    if mine.shape != its.shape or mine.dtype.kind in "OSU" or its.dtype.kind in "OSU":
        return WeightChange(name, *types, None, None)
    a, b = mine.astype(np.float64), its.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return WeightChange(name, *types, None, None)
    largest = float(np.abs(a[finite] - b[finite]).max(initial=0.0))
    size = float(np.abs(a[finite]).max(initial=0.0))
    return WeightChange(name, *types, largest, largest / size if size else None)


def _renamed(left: Mapping[str, Array], right: Mapping[str, Array]) -> list[tuple[str, str]]:
    """Pairs of equal content, of several that are equal those in the same order."""
    waiting: dict[object, list[str]] = {}
    for name, array in right.items():
        waiting.setdefault(_key(array), []).append(name)
    return [(name, names.pop(0)) for name, array in left.items() if (names := waiting.get(_key(array)))]


def _key(array: Array) -> object:
    """Equal for arrays of equal content, which is all that counts."""
    content = repr(array.tolist()).encode() if array.dtype.kind in "OSU" else np.ascontiguousarray(array).tobytes()
    return array.dtype.str, array.shape, hashlib.sha256(content).digest()


def _type(array: Array) -> str:
    return f"{array.dtype}[{', '.join(map(str, array.shape))}]"
