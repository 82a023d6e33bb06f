"""What is in data: shapes, ranges, classes, and numbers that should not be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compiler.ir.types import DType
from runtime.data.batches import DataSet
from runtime.data.columns import ArrayOrColumn, blocks, gather

# An array of whole numbers with at most so many different ones is taken for one of classes.
_CLASSES = 50
_WORDS = 6


@dataclass(frozen=True)
class ArrayFacts:
    """What there is to say about one array. ``classes`` are names and counts, where it holds classes."""

    name: str
    type: str
    values: str
    classes: tuple[tuple[str, int], ...] = ()
    problems: tuple[str, ...] = ()


@dataclass
class _Sums:
    """What is added up of an array, block by block."""

    count: int = 0
    total: float = 0.0
    low: float = float("inf")
    high: float = float("-inf")
    missing: int = 0
    infinite: int = 0
    whole: Counter[int] | None = field(default_factory=Counter)

    def add(self, block: Any) -> None:
        """``block`` has numbers or truth values."""
        good = block
        if block.dtype.kind == "f":
            finite = np.isfinite(block)
            self.missing += int(np.count_nonzero(np.isnan(block)))
            self.infinite += int(np.count_nonzero(np.isinf(block)))
            good = block[finite]
        if not good.size:
            return
        self.count += good.size
        self.total += float(good.sum(dtype=np.float64))
        self.low, self.high = min(self.low, good.min()), max(self.high, good.max())
        if self.whole is not None and block.dtype.kind in "biu" and block.ndim == 1:
            values, counts = np.unique(good, return_counts=True)
            if len(values) <= _CLASSES:
                self.whole.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
            if len(values) > _CLASSES or len(self.whole) > _CLASSES:
                self.whole = None


def array_facts(name: str, array: ArrayOrColumn, names: Sequence[str] = ()) -> ArrayFacts:
    """Facts about an array or a column; ``names`` are those of its numbers, where they have names."""
    shown = DType.of(array.dtype) or ("text" if array.dtype.kind in "USO" else array.dtype)
    type = f"{shown}[{', '.join(map(str, array.shape))}]"
    if array.dtype.kind in "US":
        return _words(name, type, gather(array, np.arange(len(array))).ravel())
    if array.dtype.kind not in "biuf":
        return ArrayFacts(name, type, "not numbers")
    sums = _Sums()
    for _, block in blocks(array):
        sums.add(block[:, 0] if block.ndim == 2 and array.ndim == 1 else block)
    problems = [f"{count:,} {what}" for count, what in ((sums.missing, "NaN"), (sums.infinite, "infinite")) if count]
    if array.ndim and not sums.count:
        return ArrayFacts(name, type, "nothing", (), tuple(problems))
    low, high, mean = (_short(number) for number in (sums.low, sums.high, sums.total / max(1, sums.count)))
    values = f"all {low}" if low == high else f"{low} to {high}, mean {mean}"
    classes = _classes(sums.whole, names) if array.ndim == 1 and array.dtype.kind in "biu" else ()
    if names and array.ndim > 1:
        values = f"{low} to {high}, {len(names)} names: {_names(names)}"
    return ArrayFacts(name, type, values, classes, tuple(problems))


def set_facts(data: DataSet, names: Mapping[str, Sequence[str]]) -> list[ArrayFacts]:
    """Facts about every input, over the samples of a set alone."""
    found = []
    for name, array in data.arrays.items():
        own = gather(array, data.rows) if isinstance(array, np.ndarray) and len(data) < len(array) else array
        found.append(array_facts(name, own, names.get(name, ())))
    return found


def balance(classes: Sequence[tuple[str, int]]) -> str:
    """The classes in a few words: how many, how evenly filled."""
    counts = [count for _, count in classes]
    if len(counts) == 1:
        return f"1 class, {classes[0][0]}"
    if min(counts) == max(counts):
        return f"{len(counts)} classes of {counts[0]:,} each"
    return f"{len(counts)} classes of {min(counts):,} to {max(counts):,}"


def _words(name: str, type: str, texts: Any) -> ArrayFacts:
    counted = Counter(texts.tolist())
    classes = tuple(sorted(counted.items())) if len(counted) <= _CLASSES and len(counted) < len(texts) else ()
    common = ", ".join(word for word, _ in counted.most_common(_WORDS)) + (", …" if len(counted) > _WORDS else "")
    empty = counted.get("", 0)
    return ArrayFacts(
        name, type, f"{len(counted):,} different: {common}", classes, (f"{empty:,} empty",) if empty else ()
    )


def _classes(counted: Counter[int] | None, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    if not counted:
        return ()
    return tuple((_class(number, names), count) for number, count in sorted(counted.items()))


def _class(number: int, names: Sequence[str]) -> str:
    return f"{number} {names[number]}" if 0 <= number < len(names) else str(number)


def _names(names: Sequence[str]) -> str:
    shown = ascii_safe("".join(names)) if all(len(name) <= 1 for name in names) else ", ".join(names[:_WORDS])
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def ascii_safe(text: str) -> str:
    """A text with line ends and the like written as such."""
    return repr(text)[1:-1]


def _short(number: float) -> str:
    return f"{int(number):,}" if float(number).is_integer() and abs(number) < 1e15 else f"{float(number):.4g}"
