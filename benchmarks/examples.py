"""What the models of ``examples/*.dl`` take, the same for every framework. Only NumPy is imported here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.workloads import Array


@dataclass(frozen=True)
class Input:
    """An array of rows of ``shape``: floats, or whole numbers below ``below``. A file has to leave the size of the axes
    ``free`` open, as it does that of the rows, axis 0."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    below: int = 0
    free: tuple[int, ...] = ()

    def rows(self, count: int, seed: int = 0) -> Array:
        """Random rows, the same each time."""
        generator = np.random.default_rng(seed)
        if self.below:
            return generator.integers(0, self.below, (count, *self.shape)).astype(self.dtype)
        return generator.standard_normal((count, *self.shape)).astype(self.dtype)


def _pixels(side: int, below: int = 256) -> tuple[Input, ...]:
    return (Input("image", "uint8", (side, side), below),)


def _characters(name: str, steps: int, below: int) -> Input:
    return Input(name, "int64", (steps,), below, (1,))


EXAMPLES: dict[str, tuple[Input, ...]] = {
    "autoencoder.Encoder": _pixels(28),
    "autoencoder.Decoder": (Input("code", "float32", (32,)),),
    "dates.Translator": (_characters("written", 32, 61), _characters("so_far", 11, 12)),
    "diabetes.Diabetes": (Input("features", "float32", (10,)),),
    "digits.Digits": _pixels(8, 17),
    "digits_conv.DigitsConv": _pixels(8, 17),
    "forecast.Forecast": (Input("series", "float32", (100,), free=(1,)),),
    "gan.Generator": (Input("noise", "float32", (64,)), Input("label", "int64", (), 10)),
    "gan.Critic": (Input("image", "float32", (1, 28, 28)), Input("label", "int64", (), 10)),
    "intents.Intents": (_characters("text", 80, 65),),
    "low_digits.LowDigits": _pixels(28),
    "mnist_conv.MnistConv": _pixels(28),
    "mnist_deep.MnistDeep": _pixels(28),
    "mnist_wide.MnistWide": _pixels(28),
    "transfer.HighDigits": _pixels(28),
    "transfer.Scratch": _pixels(28),
    "names.Names": (_characters("tokens", 16, 27),),
    "overfitting.Plain": _pixels(28),
    "overfitting.Regularised": _pixels(28),
    "recommend.Recommender": (Input("person", "int64", (), 400), Input("film", "int64", (), 250)),
    "shakespeare.GPT": (_characters("tokens", 64, 62),),
    "shapes.Shapes": (Input("image", "uint8", (3, 64, 64), 256),),
    "vae.Encoder": _pixels(28),
    "vae.Decoder": (Input("code", "float32", (12,)),),
    "xor.Xor": (Input("x", "float32", (2,)),),
}
