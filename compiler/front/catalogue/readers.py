"""Data: the readers of files, how columns become numbers, and how a part of the samples is set apart.

An entry only notes what is asked for; :mod:`runtime.readers` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from compiler.front.catalogue.entry import ArgumentError, Kind, Words, entries, entry
from compiler.sources import DataPath, DataSource, Encoding, Share


def _shown(kind: Kind, name: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    defaults = {parameter.name: parameter.default for parameter in entries(kind)[name].parameters}
    return tuple(key for key, value in arguments.items() if key not in defaults or value != defaults[key])


def _source(name: str, **arguments: Any) -> DataSource:
    return DataSource(name, arguments, _shown("reader", name, arguments))


def _encoding(name: str, **arguments: Any) -> Encoding:
    return Encoding(name, arguments, _shown("encoding", name, arguments))


def _check_least(name: str, value: int | None, least: int = 1) -> None:
    if value is not None and value < least:
        raise ArgumentError(name, f"{name} is at least {least}, not {value}")


def _check_different(name: str, words: Words | None) -> None:
    twice = next((word for word in words or () if (words or ()).count(word) > 1), None)
    if twice is not None:
        raise ArgumentError(name, f'"{twice}" stands twice in {name}')


@entry("reader")
def text(
    path: DataPath,
    window: int,
    *,
    unit: Literal["characters", "bytes"] = "characters",
    stride: int = 1,
    vocabulary: str | None = None,
) -> DataSource:
    """Windows of a text: the array ``tokens``, and ``targets``, which is one character further on.

    A window of ``window`` characters begins at every ``stride``-th character of the part that is trained on; windows
    that are validated or tested on lie side by side, so that every character there is predicted once. A part that is
    set apart is always the last one: windows overlap, and others would share their text with those trained on.

    Characters are numbered in the order of their code points. ``vocabulary`` gives them in another order, or those
    that one text lacks. With ``unit=bytes`` a token is a byte of the file, 0 to 255.
    """
    _check_least("window", window)
    _check_least("stride", stride)
    _check_different("vocabulary", None if vocabulary is None else tuple(vocabulary))
    if vocabulary is not None and unit == "bytes":
        raise ArgumentError("vocabulary", "bytes are their own numbers: they have no vocabulary")
    return _source("text", path=path, window=window, unit=unit, stride=stride, vocabulary=vocabulary)


@entry("reader")
def lines(
    path: DataPath,
    length: int | None = None,
    *,
    unit: Literal["characters", "bytes"] = "characters",
    vocabulary: str | None = None,
) -> DataSource:
    """A sequence in each line of a text: ``tokens``, ``targets``, ``mask`` and ``lengths``.

    Number 0 is the mark of the end of a line, which is also the first token; the characters follow from 1 in the order
    of their code points (with ``unit=bytes`` a byte is its own number). Row by row, ``tokens`` is the mark and the
    line, ``targets`` the line and the mark; both are filled up to ``length`` steps, ``tokens`` with 0 and ``targets``
    with -1, for ``cross_entropy(scores, targets, ignore=-1)``. ``mask`` is true where there is a target, and
    ``lengths`` counts them. Empty lines are left out.

    ``length`` is by default what the longest line needs, one more than its characters.
    """
    _check_least("length", length, 2)
    _check_different("vocabulary", None if vocabulary is None else tuple(vocabulary))
    if vocabulary is not None and unit == "bytes":
        raise ArgumentError("vocabulary", "bytes are their own numbers: they have no vocabulary")
    return _source("lines", path=path, length=length, unit=unit, vocabulary=vocabulary)


@entry("split")
def shuffled(share: float) -> Share:
    """Samples drawn at random by the seed. What a plain share means, such as ``validate 20%``."""
    return Share("shuffled", _checked(share))


@entry("split")
def stratified(share: float, *, by: str | None = None) -> Share:
    """Samples drawn at random, the same share of every class.

    ``by`` names the array with the classes, one number or word for each sample; by default that is the only input of
    the train block which holds one whole number a sample.
    """
    return Share("stratified", _checked(share), by)


@entry("split")
def grouped(share: float, by: str) -> Share:
    """Whole groups drawn at random: samples that have the same value in the array ``by``, which may be one that is not
    trained on, such as a patient or a day, stay together.

    Groups are taken until they have the share of the samples, as nearly as whole groups allow.
    """
    return Share("grouped", _checked(share), by)


@entry("split")
def last(share: float) -> Share:
    """The last samples in the order of the data, as they are: for what follows in time."""
    return Share("last", _checked(share))


def _checked(share: float) -> float:
    if not 0.0 < share < 1.0:
        raise ArgumentError("share", f"a share is between 0% and 100%, not {share}", help=("write for example 20%",))
    return share
