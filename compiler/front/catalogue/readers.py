"""Data: the readers of files, how columns become numbers, and how a part of the samples is set apart.

An entry only notes what is asked for; :mod:`runtime.data.readers` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from compiler.front.catalogue.entry import ArgumentError, Columns, Kind, Words, entries, entry
from compiler.sources import DataPath, DataSource, Encoding, Share

_NO_INPUTS: Mapping[str, Any] = {}


def _shown(kind: Kind, name: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    defaults = {parameter.name: parameter.default for parameter in entries(kind)[name].parameters}
    return tuple(key for key, value in arguments.items() if key not in defaults or value != defaults[key])


def _source(name: str, inputs: Mapping[str, Any] = _NO_INPUTS, **arguments: Any) -> DataSource:
    return DataSource(name, arguments, _shown("reader", name, arguments), inputs)


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
def npz(path: DataPath, **inputs: str) -> DataSource:
    """Arrays of an ``.npz`` file under other names than they have there.

    ``npz("mnist.npz", image="x_train", label="y_train")`` gives the input ``image`` the array ``x_train``. Where the
    names are the same, ``data "mnist.npz"`` does.
    """
    return _source("npz", inputs, path=path)


@entry("reader")
def files(**inputs: DataPath) -> DataSource:
    """Arrays with a file of their own each: ``.npy``, or IDX as MNIST comes in, compressed with gzip or not.

    ``files(image="train-images-idx3-ubyte.gz", label="train-labels-idx1-ubyte.gz")``.
    """
    if not inputs:
        raise ArgumentError(
            "", "files reads nothing", help=('name a file for each input: files(x="x.npy", y="y.npy")',)
        )
    return _source("files", inputs)


@entry("reader")
def csv(path: DataPath, *, delimiter: str = ",", names: Words | None = None, **inputs: Columns) -> DataSource:
    """Columns of a table, with their names in its first line.

    An input takes the column of its name, or what is said for it: another column, several of them in a list, which
    become its second dimension, or an encoding such as ``categories("species")``. A name with ``*`` stands for every
    column that it fits and that is not named elsewhere, in the order of the file. Columns that are not asked for are
    not looked at. Rows of several columns take the shape that the input declares: 784 of them may be 28 by 28 pixels.

    Numbers are read in the element type of the input, ``true`` and ``false`` as 1 and 0. A missing value (nothing, NA,
    N/A, NaN, null, none, ? in either case), text in a column of numbers and rows with too few or too many fields are
    errors that name their line. Files are UTF-8, quoted with ``"`` as spreadsheets write them. ``names`` gives the
    names of the columns of a file that has none.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ArgumentError("delimiter", f"a delimiter is one character, not {delimiter!r}")
    _check_different("names", names)
    return _source("csv", inputs, path=path, delimiter=delimiter, names=names)


@entry("reader")
def images(path: DataPath, *, resize: Literal["stretch", "crop"] | None = None) -> DataSource:
    """Pictures in a folder: ``image``, and ``label`` where they lie in a folder for each class.

    Classes are numbered in the order of their folders' names. The type of the input ``image`` says how pictures are
    read: ``u8[N, 3, H, W]`` in colour, ``u8[N, 1, H, W]`` or ``u8[N, H, W]`` as shades of grey, with 4 channels with
    their transparency. Values go from 0 to 255. All pictures have to have the size H by W; with ``resize=stretch`` they
    are brought to it, and with ``resize=crop`` scaled until they cover it, and cut around their middle.

    Needs Pillow: ``pip install 'dlc[images]'``.
    """
    return _source("images", path=path, resize=resize)


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

    The windows to train on are shuffled in memory, with 24 bytes for each at most: of a text of hundreds of millions of
    characters take a larger ``stride``.

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


@entry("encoding")
def categories(column: str, values: Words | None = None) -> Encoding:
    """A whole number for each word in a column: 0 for the first of ``values``, or of the sorted words that are there.

    Data that is validated or tested keeps the numbers of the samples that are trained on.
    """
    _check_different("values", values)
    return _encoding("categories", column=column, values=values)


@entry("encoding")
def one_hot(column: str, values: Words | None = None) -> Encoding:
    """A column for each word, 1 where it stands and 0 elsewhere: for features without an order.

    The words are numbered as ``categories`` does it.
    """
    _check_different("values", values)
    return _encoding("one_hot", column=column, values=values)


@entry("encoding")
def characters(
    column: str, length: int, *, shifted: bool = False, fill: int = 0, vocabulary: str | None = None
) -> Encoding:
    """The characters of a text as ``length`` whole numbers.

    Number 0 is the mark of the end, and characters follow from 1 in the order of their code points, or of
    ``vocabulary``. The mark stands behind the text where there is room, and ``fill`` in what is left: -1 for targets
    that do not count, with ``ignore=-1`` in the loss. ``shifted=true`` puts the mark in front instead and everything
    one place further on, as a decoder takes what it is to continue. A text longer than ``length`` is an error.
    """
    _check_least("length", length)
    _check_different("vocabulary", None if vocabulary is None else tuple(vocabulary))
    return _encoding("characters", column=column, length=length, shifted=shifted, fill=fill, vocabulary=vocabulary)


@entry("encoding")
def words(column: str, length: int, *, most: int | None = None, vocabulary: Words | None = None) -> Encoding:
    """The first ``length`` words of a text as whole numbers.

    Words are runs of letters and digits, and single signs, in lower case. Number 0 fills what is left, 1 stands for
    every word without a number, and words follow from 2: the most frequent first, or in the order of ``vocabulary``.
    ``most`` is how many numbers there are at most, these two included.
    """
    _check_least("length", length)
    _check_least("most", most, 3)
    _check_different("vocabulary", vocabulary)
    return _encoding("words", column=column, length=length, most=most, vocabulary=vocabulary)


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
