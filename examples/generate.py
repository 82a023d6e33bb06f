"""Lets a language model write, with nothing but NumPy and ONNX Runtime: one character after the other.

    python generate.py shakespeare.onnx --start "ROMEO:" --length 400
    python generate.py names.onnx --lines 20 --temperature 0.8

The file says itself which characters its numbers stand for, and how many it can look back on: both are in its metadata.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

LINE_END = "\n"


class LanguageModel:
    """An ONNX file of a model from ``tokens`` i64[N, T] to the scores [N, T, characters] of what comes next."""

    def __init__(self, path: str) -> None:
        self.session, names, bounds = opened(path, "tokens")
        self.characters, self.window = names["tokens"], bounds.get("T")

    def write(
        self, start: str, length: int, count: int, temperature: float, random: np.random.Generator, until: str = ""
    ) -> list[str]:
        """``count`` texts that go on from ``start``, of ``length`` characters or as far as the character ``until``."""
        numbers = {character: number for number, character in enumerate(self.characters)}
        unknown = sorted({character for character in start if character not in numbers})
        if unknown:
            raise ValueError(f"the model does not know {', '.join(map(repr, unknown))}")
        begun = [numbers[character] for character in start or LINE_END]
        tokens = np.tile(np.array(begun, np.int64), (count, 1))
        ended = np.zeros(count, bool)
        for _ in range(length):
            seen = tokens if self.window is None else tokens[:, -self.window :]
            (scores,) = self.session.run(None, {"tokens": seen})
            chosen = draw(scores[:, -1], temperature, random)
            tokens = np.hstack([tokens, chosen[:, None]])
            ended |= chosen == numbers.get(until, -1)
            if ended.all():
                break
        texts = ["".join(self.characters[number] for number in row[len(begun) :]) for row in tokens]
        return [start + (text.split(until)[0] if until else text) for text in texts]


def draw(scores: npt.NDArray[np.float32], temperature: float, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """A number for each row of scores: the likeliest one at temperature 0, otherwise one drawn with the probabilities
    softmax(scores / temperature)."""
    # The largest of the scores, each with Gumbel noise, is distributed like that.
    noisy = scores / temperature + random.gumbel(size=scores.shape) if temperature else scores
    chosen: npt.NDArray[np.int64] = noisy.argmax(axis=-1)
    return chosen


def opened(path: str, *inputs: str) -> tuple[onnxruntime.InferenceSession, dict[str, list[str]], dict[str, int]]:
    """The file, what the numbers in its ``inputs`` stand for, and how large their sizes may be by symbols: its metadata
    have that as ``T <= 64``. Raises ValueError for another file."""
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    names = json.loads(metadata.get("dlc.names", "{}"))
    for name in inputs:
        if name not in names:
            raise ValueError(f"{path} has no input {name}, or does not say what the numbers in it stand for")
    parts = [part.partition("<=") for part in metadata.get("dlc.bounds", "").split(",") if part]
    return session, names, {symbol.strip(): int(number) for symbol, _, number in parts}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Let a language model write.")
    parser.add_argument("file", help="the ONNX file")
    parser.add_argument("--start", default="", metavar="TEXT", help="what the text begins with")
    parser.add_argument("--length", type=int, default=500, metavar="N", help="characters at most (default: 500)")
    parser.add_argument("--lines", type=int, metavar="N", help="write N texts, each as far as the end of its line")
    parser.add_argument("--temperature", type=float, default=1.0, metavar="X", help="0: no chance at all (default: 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="where chance comes from (default: 0)")
    given = parser.parse_args(arguments)
    if given.temperature < 0:
        parser.error(f"a temperature is 0 or more, not {given.temperature:g}")
    if given.length < 1 or (given.lines is not None and given.lines < 1):
        parser.error("--length and --lines are 1 or more")
    random, until = np.random.default_rng(given.seed), LINE_END if given.lines else ""
    try:
        model = LanguageModel(given.file)
        texts = model.write(given.start, given.length, given.lines or 1, given.temperature, random, until)
    except ValueError as mistake:
        parser.error(str(mistake))
    print(LINE_END.join(texts))


if __name__ == "__main__":
    main()
