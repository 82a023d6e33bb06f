"""Lets the model of ``dates.dl`` translate dates, with nothing but NumPy and ONNX Runtime.

    python translate.py dates.onnx "Saturday, 3 May 1997" "May 3rd, 97"

At temperature 0, which is the default, it writes what it takes for likeliest, otherwise it draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import onnxruntime
from generate import bounds, draw


class Translator:
    """The ONNX file: from ``written`` u8[N, S], ASCII codes filled up with 0, and ``so_far`` u8[N, T], what it has
    written so far behind a 0, to scores [N, T, codes] of what comes next."""

    def __init__(self, path: str) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.sizes = bounds(self.session.get_modelmeta().custom_metadata_map)

    def translate(self, texts: Sequence[str], temperature: float, random: np.random.Generator) -> list[str]:
        """Each text in ISO form."""
        for text in texts:
            if not text.isascii() or not 0 < len(text) <= self.sizes["S"]:
                raise ValueError(f"{text!r} is not 1 to {self.sizes['S']} ASCII characters")
        longest = max(map(len, texts))
        written = np.array([list(text.encode().ljust(longest, b"\0")) for text in texts], np.uint8)
        so_far = np.zeros((len(texts), 1), np.uint8)
        for _ in range(self.sizes["T"]):
            (scores,) = self.session.run(None, {"written": written, "so_far": so_far})
            so_far = np.hstack([so_far, draw(scores[:, -1], temperature, random)[:, None].astype(np.uint8)])
        return [bytes(row[1:]).decode("ascii") for row in so_far]


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
