"""Lets the model of ``dates.dl`` translate dates, with nothing but NumPy and ONNX Runtime.

    python translate.py dates.onnx "Saturday, 3 May 1997" "May 3rd, 97"

The file says itself which characters its numbers stand for, and how many it takes: both are in its metadata. At
temperature 0, which is the default, it writes what it takes for likeliest, otherwise it draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from generate import draw, opened


class Translator:
    """The ONNX file: from ``written`` i64[N, S], the numbers of letters, and ``so_far`` i64[N, T], what it has written
    so far, to the scores [N, T, characters] of what comes next. Number 0 is the mark of an end, which also stands in
    front of ``so_far`` and fills up ``written``; the metadata tell what the other numbers stand for."""

    def __init__(self, path: str) -> None:
        self.session, names, self.sizes = opened(path, "written", "so_far")
        self.numbers = {letter: number for number, letter in enumerate(names["written"])}
        self.characters = names["so_far"]

    def translate(self, texts: Sequence[str], temperature: float, random: np.random.Generator) -> list[str]:
        """Each text in ISO form."""
        written = np.zeros((len(texts), max(map(len, texts))), np.int64)
        for row, text in zip(written, texts, strict=True):
            if not 0 < len(text) <= self.sizes["S"]:
                raise ValueError(f"{text!r} has {len(text)} characters, and the model takes 1 to {self.sizes['S']}")
            unknown = sorted(set(text) - set(self.numbers))
            if unknown:
                raise ValueError(f"the model does not know {', '.join(map(repr, unknown))} in {text!r}")
            row[: len(text)] = [self.numbers[letter] for letter in text]
        so_far = np.zeros((len(texts), 1), np.int64)
        for _ in range(self.sizes["T"]):
            (scores,) = self.session.run(None, {"written": written, "so_far": so_far})
            so_far = np.hstack([so_far, draw(scores[:, -1], temperature, random)[:, None]])
        wholes = ("".join(self.characters[number] for number in row[1:]) for row in so_far)
        return [whole.split(self.characters[0])[0] for whole in wholes]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Translate dates to ISO form.")
    parser.add_argument("file", help="the ONNX file")
    parser.add_argument("dates", nargs="+", metavar="DATE", help='such as "Saturday, 3 May 1997"')
    parser.add_argument("--temperature", type=float, default=0.0, metavar="X", help="0: no chance at all (default: 0)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="where chance comes from (default: 0)")
    given = parser.parse_args(arguments)
    if given.temperature < 0:
        parser.error(f"a temperature is 0 or more, not {given.temperature:g}")
    random = np.random.default_rng(given.seed)
    try:
        found = Translator(given.file).translate(given.dates, given.temperature, random)
    except ValueError as mistake:
        parser.error(str(mistake))
    for text, iso in zip(given.dates, found, strict=True):
        print(f"{text}  ->  {iso}")


if __name__ == "__main__":
    main()
