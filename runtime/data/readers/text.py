"""Texts in windows, and texts with a sequence in each line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compiler.ir.types import TensorType
from compiler.sources import DataSource
from runtime.data.columns import Windows
from runtime.data.readers.characters import END, code_points, numbered, read_bytes, read_text, vocabulary_of
from runtime.data.readers.content import Content, ReadError, Request, left_out
from runtime.data.readers.encodings import padded
from runtime.disk.tensors import Array

_NOT_COUNTED = -1


def windows(path: Path, source: DataSource, request: Request) -> Content:
    """``tokens`` and ``targets`` of every window, as :func:`compiler.front.catalogue.readers.text` has it.

    Raises ReadError: E0602 for what is no text, E0617 for a character without a number, E0618 for a text shorter than
    a window.
    """
    options = source.arguments
    window = options["window"]
    names: tuple[str, ...] = ()
    if options["unit"] == "bytes":
        numbers: Array = np.frombuffer(read_bytes(path), np.uint8)
    else:
        codes = code_points(read_text(path))
        names, where = _vocabulary(codes, options, request)
        numbers = numbered(codes, names, where)
    if len(numbers) <= window:
        why = f"it has {len(numbers)} {options['unit']}, and a window with its target takes {window + 1}"
        raise ReadError(why, "take a smaller window, or a longer text", "E0618")
    found = {
        "tokens": Windows(numbers, window, beyond=1),
        "targets": Windows(numbers, window, shift=1, beyond=1),
    }
    return Content(found, dict.fromkeys(found, names) if names else {}, window=window, stride=options["stride"])


def lines(path: Path, source: DataSource, request: Request) -> Content:
    """``tokens``, ``targets``, ``mask`` and ``lengths`` of every line, as
    :func:`compiler.front.catalogue.readers.lines` has it.

    Raises ReadError: E0602 for what is no text, E0616 for a line that is too long, E0617 for a character without a
    number, E0618 where there is no line.
    """
    options = source.arguments
    as_bytes = options["unit"] == "bytes"
    text = read_bytes(path).decode("latin-1") if as_bytes else read_text(path)
    found = [(number, line) for number, line in enumerate(_split(text), 1) if line]
    if not found:
        raise ReadError("there is no line with anything in it", "give at least one line", "E0618")
    steps = options["length"] or _fixed_steps(request) or 1 + max(len(line) for _, line in found)
    found, notes = _fitting(found, steps, request)
    codes = code_points("".join(line for _, line in found))
    names, where = ((), "") if as_bytes else _vocabulary(codes, options, request, END)
    numbers = codes if as_bytes else numbered(codes, names[1:], where, first=1)
    arrays = _padded(numbers, np.array([len(line) for _, line in found]), steps)
    return Content(arrays, {name: names for name in ("tokens", "targets") if names}, notes)


def _split(text: str) -> list[str]:
    """Lines as editors show them: other characters that Python takes for line ends belong to their lines."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def _fitting(
    found: list[tuple[int, str]], steps: int, request: Request
) -> tuple[list[tuple[int, str]], tuple[str, ...]]:
    """The lines that fit with their ends into ``steps``, and what to say about others that are left out."""
    fitting = [(number, line) for number, line in found if len(line) < steps]
    count = len(found) - len(fitting)
    if count and not request.skip_bad:
        number, line = next((number, line) for number, line in found if len(line) >= steps)
        others = f", as {count - 1} other line{'s' * (count != 2)}" if count > 1 else ""
        why = f"line {number} takes {len(line) + 1} steps with its end, more than {steps}{others}"
        longest = 1 + max(len(line) for _, line in found)
        advice = f"make room for {longest} steps, shorten such lines{request.or_leave_out('them')}"
        raise ReadError(why, advice, "E0616")
    if not fitting:
        raise ReadError(f"no line fits into {steps} steps", "take a larger length", "E0618")
    return fitting, left_out(count, "line", f"longer than {steps - 1}")


def _fixed_steps(request: Request) -> int | None:
    """The steps that the train block's type of ``tokens`` asks for, where it fixes them."""
    type: TensorType | None = request.inputs.get("tokens") or request.inputs.get("targets")
    dim = type.shape[1] if type is not None and type.rank > 1 else None
    return dim if isinstance(dim, int) else None


def _padded(numbers: Array, lengths: Array, steps: int) -> dict[str, Array]:
    place = np.arange(steps)
    return {
        "tokens": padded(numbers, lengths, steps, shifted=True),
        "targets": padded(numbers, lengths, steps, _NOT_COUNTED),
        "mask": place <= lengths[:, None],
        "lengths": lengths + 1,
    }


def _vocabulary(codes: Array, options: Mapping[str, Any], request: Request, first: str = "") -> tuple[Any, str]:
    """The names of the numbers, and in words where they are from: what training has, what the model file gives, or
    what the text has. ``first`` comes before all others."""
    known = request.names.get("tokens") or request.names.get("targets")
    if known:
        return known, "the vocabulary of the training samples"
    if options["vocabulary"] is not None:
        return (*first, *options["vocabulary"]), "the vocabulary that the model file gives"
    return (*first, *vocabulary_of(codes)), "the text"
