"""How the columns of a table become numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from compiler.ir.types import DType
from compiler.sources import Encoding
from runtime.data.readers.cells import Collector, Texts, Words
from runtime.data.readers.characters import END, code_points, numbered, vocabulary_of
from runtime.data.readers.content import ReadError
from runtime.disk.tensors import Array

# The names of the numbers that `words` has for what is left and for words without a number.
FILL, UNKNOWN = "", "?"
_WORD = re.compile(r"\w+|[^\w\s]")
Known: TypeAlias = tuple[str, ...] | None


def collector(encoding: Encoding) -> Collector:
    """What collects the cells that the encoding takes."""
    column = encoding.arguments["column"]
    return Words(column) if encoding.name in ("categories", "one_hot") else Texts(column)


def encode(encoding: Encoding, cells: Collector, known: Known, dtype: DType) -> tuple[Array, tuple[str, ...]]:
    """The numbers of the cells, and the names of these numbers, which are ``known`` where they were learned before.

    ``dtype`` is that of the input. Raises ReadError: E0616 for a text that is too long, E0617 for what has no number.
    """
    options = encoding.arguments
    if isinstance(cells, Words):
        numbers, names = _classes(cells, options, known)
        if encoding.name == "one_hot":
            return (numbers[:, None] == np.arange(len(names))).astype(dtype.numpy), names
        fits = not dtype.is_float and dtype is not DType.BOOL and len(names) - 1 <= np.iinfo(dtype.numpy).max
        return numbers.astype(dtype.numpy) if fits else numbers, names
    assert isinstance(cells, Texts)
    return (_characters if encoding.name == "characters" else _words)(cells, options, known)


def _classes(cells: Words, options: Mapping[str, Any], known: Known) -> tuple[Array, tuple[str, ...]]:
    names = known or options["values"] or tuple(sorted(cells.seen, key=_order))
    place = {name: number for number, name in enumerate(names)}
    unknown = [word for word in cells.seen if word not in place]
    if unknown:
        others = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        where = "the samples that were trained on" if known else "the values that the model file gives"
        why = f"{unknown[0]!r} in column {cells.column} is not among {where}{others}"
        raise ReadError(why, f"known are {', '.join(names[:8])}{', …' if len(names) > 8 else ''}", "E0617")
    renumbered = np.array([place[word] for word in cells.seen], np.int64)
    return renumbered[cells.array()], names


def _order(word: str) -> tuple[float, str]:
    """Numbers by their size, before words by their letters."""
    try:
        return float(word), word
    except ValueError:
        return float("inf"), word


def _characters(cells: Texts, options: Mapping[str, Any], known: Known) -> tuple[Array, tuple[str, ...]]:
    texts, steps = cells.parts, options["length"]
    lengths = np.array([len(text) for text in texts])
    if len(lengths) and lengths.max() > steps:
        longest = texts[int(lengths.argmax())]
        why = f"a text in column {cells.column} has {len(longest)} characters, more than {steps}: {longest[:40]!r}"
        raise ReadError(why, f"make room for it: length={len(longest)}", "E0616")
    codes = code_points("".join(texts))
    names, where = known, "the samples that were trained on"
    if not known and options["vocabulary"] is not None:
        names, where = (END, *options["vocabulary"]), "the vocabulary that the model file gives"
    names = names or (END, *(character for character in vocabulary_of(codes) if character != END))
    numbers = numbered(codes, names[1:], where, first=1)
    return padded(numbers, lengths, steps, options["fill"], options["shifted"]), names


def padded(numbers: Array, lengths: Array, steps: int, fill: int = 0, shifted: bool = False) -> Array:
    """Sequences that stand one after the other in ``numbers``, as rows of ``steps``: the mark 0 behind each where there
    is room and ``fill`` after that, or with ``shifted`` the mark in front."""
    rows = np.full((len(lengths), steps), fill, np.int64)
    place = np.arange(steps)
    if shifted:
        rows[:, 0] = 0
        fitting = np.minimum(lengths, steps - 1)
        starts = np.cumsum(lengths) - lengths
        inside = place[: steps - 1] < fitting[:, None]
        rows[:, 1:][inside] = numbers[(starts[:, None] + place[: steps - 1])[inside]]
        return rows
    rows[place < lengths[:, None]] = numbers
    rows[place == lengths[:, None]] = 0
    return rows


def _words(cells: Texts, options: Mapping[str, Any], known: Known) -> tuple[Array, tuple[str, ...]]:
    texts: list[Sequence[str]] = [_WORD.findall(text.lower()) for text in cells.parts]
    names = known or _vocabulary(texts, options)
    place = {name: number for number, name in enumerate(names)}
    rows = np.zeros((len(texts), options["length"]), np.int64)
    for row, words in enumerate(texts):
        first = words[: options["length"]]
        rows[row, : len(first)] = [place.get(word, 1) for word in first]
    return rows, names


def _vocabulary(texts: Sequence[Sequence[str]], options: Mapping[str, Any]) -> tuple[str, ...]:
    words = options["vocabulary"]
    if words is None:
        counted = Counter(word for text in texts for word in text)
        words = sorted(counted, key=lambda word: (-counted[word], word))
    most = options["most"]
    return (FILL, UNKNOWN, *words)[:most]
