"""The cells of one column, collected block by block as numbers, as words or as whatever they turn out to be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from compiler.ir.types import DType
from runtime.disk.tensors import Array

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
_TRUTH = {"true": 1, "false": 0}


class Restart(Exception):
    """A column turned out to be text after some of it was taken for numbers: it has to be read again."""


class Collector(ABC):
    """Takes the cells of ``column``; ``parts`` are the blocks so far."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.parts: list[Any] = []

    @abstractmethod
    def convert(self, cells: Sequence[str], ignored: Collection[int]) -> tuple[Any, dict[int, str]]:
        """The cells as a block, and what is wrong with those that can't be used, by their number in it. What becomes of
        the ``ignored`` does not matter."""

    def keep(self, part: Any, rows: Sequence[int] | None) -> None:
        """Adds a block, or only these rows of it."""
        self.parts.append(part if rows is None else part[rows])


class Numbers(Collector):
    """Numbers of one element type."""

    def __init__(self, column: str, dtype: DType) -> None:
        super().__init__(column)
        self.dtype = dtype
        self._parse: Callable[[str], float] = float if dtype.is_float else int
        self._widest = np.dtype(np.float64 if dtype.is_float else np.int64)

    def convert(self, cells: Sequence[str], ignored: Collection[int]) -> tuple[Array, dict[int, str]]:
        try:
            numbers = np.fromiter(map(self._parse, cells), self._widest, len(cells))
        except (ValueError, OverflowError):
            return self._one_by_one(cells, ignored)
        if not self._fits(numbers).all():
            return self._one_by_one(cells, ignored)
        return numbers.astype(self.dtype.numpy), {}

    def array(self) -> Array:
        """The whole column."""
        return np.concatenate(self.parts)

    def _fits(self, numbers: Array) -> Any:
        """Of each number, whether it is finite and in the range of the element type."""
        if self.dtype.is_float:
            with np.errstate(over="ignore"):
                return np.isfinite(numbers.astype(self.dtype.numpy))
        if self.dtype is DType.BOOL:
            return (numbers == 0) | (numbers == 1)
        limits = np.iinfo(self.dtype.numpy)
        return (numbers >= limits.min) & (numbers <= limits.max)

    def _one_by_one(self, cells: Sequence[str], ignored: Collection[int]) -> tuple[Array, dict[int, str]]:
        numbers, faults = np.zeros(len(cells), self._widest), {}
        for index, cell in enumerate(cells):
            if index in ignored:
                continue
            why = self._fault(cell)
            if why:
                faults[index] = why
            else:
                numbers[index] = self._number(cell)
        return numbers.astype(self.dtype.numpy), faults

    def _number(self, cell: str) -> float:
        word = cell.strip().lower()
        if word in _TRUTH:
            return _TRUTH[word]
        number = float(word)
        return number if self.dtype.is_float else int(word) if word.lstrip("+-").isdigit() else int(number)

    def _fault(self, cell: str) -> str:
        """What is wrong with a cell; nothing where it is a number of the element type."""
        word = cell.strip().lower()
        if word in _MISSING:
            return "the value is missing" if not word else f"the value is missing ({cell.strip()})"
        if word in _TRUTH:
            return ""
        try:
            number = float(word)
        except ValueError:
            return f"{shortened(cell)} is not a number"
        if not self.dtype.is_float and not number.is_integer():
            return f"{shortened(cell)} is not a whole number"
        if not -(2.0**63) <= number < 2.0**63 and not self.dtype.is_float:
            return f"{shortened(cell)} does not fit into {self.dtype}"
        if not self._fits(np.array([self._number(cell)], self._widest))[0]:
            return f"{shortened(cell)} does not fit into {self.dtype}"
        return ""


class Words(Collector):
    """Words, each kept once: ``seen`` numbers them, which is not yet the number that a class gets."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.seen: dict[str, int] = {}

    def convert(self, cells: Sequence[str], ignored: Collection[int]) -> tuple[Array, dict[int, str]]:
        words = list(map(str.strip, cells))
        missing = {word for word in set(words) if word.lower() in _MISSING}
        faults = {
            index: "the value is missing"
            for index, word in (enumerate(words) if missing else ())
            if word in missing and index not in ignored
        }
        for word in sorted(set(words) - self.seen.keys() - missing):
            self.seen[word] = len(self.seen)
        number = self.seen.__getitem__ if not missing else lambda word: self.seen.get(word, 0)
        return np.fromiter(map(number, words), np.int64, len(words)), faults

    def array(self) -> Array:
        """The numbers of ``seen``, row by row."""
        return np.concatenate(self.parts)


class Texts(Collector):
    """Texts as they are."""

    def convert(self, cells: Sequence[str], ignored: Collection[int]) -> tuple[Sequence[str], dict[int, str]]:
        return cells, {}

    def keep(self, part: Sequence[str], rows: Sequence[int] | None) -> None:
        self.parts.extend(part if rows is None else [part[row] for row in rows])


class Guessed(Collector):
    """Whole numbers if all cells are, or else numbers, NaN where one is missing, or else text."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self._is_text = False

    def convert(self, cells: Sequence[str], ignored: Collection[int]) -> tuple[Array, dict[int, str]]:
        if self._is_text:
            return np.array(cells), {}
        for parse, dtype in ((int, np.int64), (_number_or_nan, np.float64)):
            try:
                return np.fromiter(map(parse, cells), dtype, len(cells)), {}
            except (ValueError, OverflowError):
                continue
        if self.parts:
            self._is_text = True
            raise Restart
        self._is_text = True
        return np.array(cells), {}

    def array(self) -> Array:
        """The whole column."""
        return np.concatenate(self.parts)


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def shortened(cell: str) -> str:
    """A cell as messages show it."""
    return repr(cell if len(cell) <= 40 else f"{cell[:40]}…")


def _number_or_nan(cell: str) -> float:
    return float("nan") if cell.strip().lower() in _MISSING else float(cell)
