"""Texts as numbers: files decoded, vocabularies found, characters looked up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime.data.readers.content import ReadError
from runtime.disk.files import reason
from runtime.disk.tensors import Array

# What stands where a text begins and ends; its number is 0.
END = "\n"
_CODE_POINTS = 0x110000


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises ReadError."""
    try:
        return path.read_bytes()
    except OSError as failure:
        raise ReadError(reason(failure), "see whether the path is right and you may read it") from failure


def read_text(path: Path) -> str:
    """The content of a UTF-8 file, without a byte order mark, line ends as they are. Raises ReadError."""
    content = read_bytes(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = content.count(b"\n", 0, failure.start) + 1
        why = f"it is not UTF-8: byte {failure.start} (line {line}) is 0x{content[failure.start]:02x}"
        raise ReadError(why, "save it as UTF-8; `unit=bytes` takes a text of any encoding, byte by byte") from failure


def code_points(text: str) -> Array:
    """The code point of every character, u32."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def vocabulary_of(codes: Array) -> tuple[str, ...]:
    """The different characters in the order of their code points."""
    present = np.zeros(_CODE_POINTS, bool)
    present[codes] = True
    return tuple(map(chr, np.flatnonzero(present)))


def numbered(codes: Array, vocabulary: Sequence[str], where: str, first: int = 0) -> Array:
    """The place of each character in ``vocabulary``, counted from ``first``, in the smallest unsigned type.

    Raises ReadError E0617 for a character that is not in it; ``where`` tells what vocabulary that is.
    """
    highest = first + len(vocabulary)
    dtype = np.min_scalar_type(highest)
    missing = highest  # the number that nothing has
    table = np.full(_CODE_POINTS, missing, dtype)
    table[[ord(character) for character in vocabulary]] = np.arange(first, highest, dtype=dtype)
    numbers = table[codes]
    unknown = numbers == missing
    if unknown.any():
        place = int(np.argmax(unknown))
        others = len(np.unique(codes[unknown])) - 1
        line = 1 + int(np.count_nonzero(codes[:place] == ord("\n")))
        more = f" (and {others} other character{'s' * (others != 1)})" if others else ""
        why = f"{shown(chr(codes[place]))} in line {line} is not in {where}{more}"
        raise ReadError(why, "take it out of the text, or give a vocabulary that has it: vocabulary=…", "E0617")
    return numbers


def shown(character: str) -> str:
    """A character as messages show it."""
    return repr(character) if character.isprintable() else f"{character!r} (U+{ord(character):04X})"
