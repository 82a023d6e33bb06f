"""Which samples are set apart for validation and for testing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.diagnostics import DiagnosticError, Span, error
from compiler.sources import Share
from runtime.data.batches import DataSet
from runtime.data.order import Rows, Stream, shuffled
from runtime.disk.tensors import Array

# The array that a share goes by, one value for each sample of the data.
Keys: TypeAlias = Callable[[Share], Array]
Parts: TypeAlias = tuple[DataSet, DataSet | None, DataSet | None]
_Marks: TypeAlias = npt.NDArray[np.bool_]

# The shuffle of whole groups is another one than that of samples.
_GROUPS = 1


def split(
    data: DataSet,
    validate: Share | None,
    test: Share | None,
    seed: int,
    spans: Mapping[str, Span] | None = None,
    keys: Keys | None = None,
) -> Parts:
    """``data`` in three: for training, validation and test; None where no share is taken.

    A share of n samples is rounded to the nearest whole number, and up to one sample; stratified and grouped shares
    come as near to that as classes and groups allow. The test rows are drawn first, so that they stay the same whether
    or not there is a validation share. ``keys`` gives the array that a share goes by. Raises DiagnosticError E0612
    where nothing is left, and E0619 where windows that overlap would be shuffled.
    """
    places, shares = spans or {}, {"test": test, "validate": validate}
    if data.window:
        return _windows(data, shares, places)
    count = len(data)
    wanted = {use: max(1, round(share.share * count)) if share else 0 for use, share in shares.items()}
    if count - sum(wanted.values()) < 1:
        raise _nothing_left(f"no sample to train on: of {count}", wanted, places)
    pool, parts = shuffled(count, seed, Stream.SPLIT), {}
    for use, share in shares.items():
        if share is None:
            continue
        chosen = _CHOICES[share.kind](pool, wanted[use], share, seed, keys)
        if not chosen.any() or chosen.all():
            raise _too_coarse(use, share, places.get(use))
        parts[use] = data.take(np.sort(pool[chosen]))
        pool = pool[~chosen]
    return data.take(pool), parts.get("validate"), parts.get("test")


def _shuffled(pool: Rows, wanted: int, share: Share, seed: int, keys: Keys | None) -> _Marks:
    return np.arange(len(pool)) < wanted


def _last(pool: Rows, wanted: int, share: Share, seed: int, keys: Keys | None) -> _Marks:
    chosen = np.zeros(len(pool), bool)
    chosen[np.argsort(pool)[len(pool) - wanted :]] = True
    return chosen


def _stratified(pool: Rows, wanted: int, share: Share, seed: int, keys: Keys | None) -> _Marks:
    """The first samples of every class in the random order of the pool; at least one of each is left."""
    assert keys is not None, "a stratified share goes by an array"
    _, classes, sizes = np.unique(keys(share)[pool], return_inverse=True, return_counts=True)
    exact = wanted * sizes / len(pool)
    quota = exact.astype(np.intp)
    nearest = np.argsort(quota - exact, kind="stable")  # those that rounding down took most from come first
    quota[nearest[: wanted - int(quota.sum())]] += 1
    quota = np.minimum(quota, sizes - 1)
    by_class = np.argsort(classes, kind="stable")
    rank = np.empty(len(pool), np.intp)
    rank[by_class] = np.arange(len(pool)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen: _Marks = rank < quota[classes]
    return chosen


def _grouped(pool: Rows, wanted: int, share: Share, seed: int, keys: Keys | None) -> _Marks:
    """Groups in random order, each where it brings the number of samples nearer to the one wanted."""
    assert keys is not None, "a grouped share goes by an array"
    _, groups, sizes = np.unique(keys(share)[pool], return_inverse=True, return_counts=True)
    taken, members = 0, np.zeros(len(sizes), bool)
    for group in shuffled(len(sizes), seed, Stream.SPLIT, _GROUPS):
        if members.sum() == len(sizes) - 1:
            break
        if not taken or abs(taken + sizes[group] - wanted) < abs(taken - wanted):
            members[group] = True
            taken += int(sizes[group])
    chosen: _Marks = members[groups]
    return chosen


_CHOICES: dict[str, Callable[[Rows, int, Share, int, Keys | None], _Marks]] = {
    "shuffled": _shuffled,
    "stratified": _stratified,
    "grouped": _grouped,
    "last": _last,
}


def _windows(data: DataSet, shares: Mapping[str, Share | None], places: Mapping[str, Span]) -> Parts:
    """Parts of a text one after the other; no window reaches from one into the next."""
    for use, share in shares.items():
        if share is not None and share.kind != "last":
            title = f"windows of {data.source} overlap, so that a {share.kind} share would be seen in training"
            advice = f"set the last part of the text apart: {use} last({100 * share.share:g}%)"
            raise DiagnosticError([error("E0619", title, places.get(use), help=advice)])
    total = len(next(iter(data.arrays.values()))) + data.window  # elements, the target of the last one included
    end = total
    wanted = {use: round(share.share * total) if share else 0 for use, share in shares.items()}
    found: dict[str, DataSet] = {}
    for use in ("test", "validate"):
        start = end - wanted[use]
        if wanted[use]:
            found[use] = replace(data, rows=np.arange(start, max(start, end - data.window), data.window))
            end = start
    train = replace(data, rows=np.arange(0, max(0, end - data.window), data.stride))
    for use, part in (("train on", train), *((f"{use} with", part) for use, part in found.items())):
        if not len(part):
            parts = f"no window of {data.window} to {use}: of {total} elements"
            raise _nothing_left(parts, wanted, places)
    return train, found.get("validate"), found.get("test")


def _nothing_left(what: str, wanted: Mapping[str, int], places: Mapping[str, Span]) -> DiagnosticError:
    words = (("validate", "validation"), ("test", "testing"))
    parts = [f"{wanted[use]} for {word}" for use, word in words if wanted[use]]
    at: Any = places.get("validate" if wanted["validate"] else "test")
    advice = "take smaller shares or more data; a validation or test set can also be a file of its own"
    return DiagnosticError([error("E0612", f"the split leaves {what}, {' and '.join(parts)}", at, help=advice)])


def _too_coarse(use: str, share: Share, at: Span | None) -> DiagnosticError:
    if share.kind == "grouped":
        title, advice = (
            f"{share.by} has one value only, so that {use} {share} would take everything or nothing",
            ("group by something else, or take a shuffled share"),
        )
    else:
        title = f"{use} {share} takes no sample: every class has too few of them"
        advice = "take a larger share, or a shuffled one"
    return DiagnosticError([error("E0612", title, at, help=advice)])
