"""What is trained: shapes, settings and made-up data, the same numbers for every framework.

Only NumPy is imported here, as each framework may live in an environment of its own. Images are channels first; labels
carry a signal, so that a training that does not learn shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

CLASSES = 10
LATENT = 128
VOCABULARY, WINDOW, WIDTH, HEADS, DEPTH = 65, 64, 128, 4, 4


@dataclass(frozen=True)
class Workload:
    """One training. ``network`` names the file in ``benchmarks/networks`` and the networks of the peers, ``sizes`` the
    constants of that file that are set; ``batches`` different batches are gone through again and again."""

    name: str
    title: str
    network: str
    batch: int
    batches: int
    loss: str
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float | None = None

    @property
    def constants(self) -> dict[str, str]:
        """The constants of the model file that the workload sets."""
        return {"samples": str(self.batch)} if self.network.startswith("mlp") else {}

    def data(self, batch: int | None = None, batches: int | None = None) -> list[tuple[Array, Array]]:
        """Batches of inputs and targets; for ``gan`` the second are noise [batch, LATENT]."""
        size, count = batch or self.batch, batches or self.batches
        x, y = _MAKERS[self.network](np.random.default_rng(0), size * count)
        return [(x[start : start + size], y[start : start + size]) for start in range(0, size * count, size)]


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("xor", "XOR 2-4-1, batch 4", "xor", 4, 1, "bce", lr=1e-2),
        Workload("mlp_deep", "784-64-32-10, batch 32", "mlp_deep", 32, 256, "cross_entropy"),
        Workload("mlp_deep_512", "784-64-32-10, batch 512", "mlp_deep", 512, 32, "cross_entropy"),
        Workload("mlp_wide", "784-128-10, batch 32", "mlp_wide", 32, 256, "cross_entropy"),
        Workload("mlp_wide_512", "784-128-10, batch 512", "mlp_wide", 512, 32, "cross_entropy"),
        Workload("conv64", "convnet 64x64x3, batch 32", "conv64", 32, 16, "cross_entropy"),
        Workload("conv28", "convnet 28x28, batch 128", "conv28", 128, 16, "cross_entropy"),
        Workload("rnn", "rnn(50) over 100 steps, batch 32", "rnn", 32, 64, "mse"),
        Workload("lstm", "lstm(128) over 100 steps, batch 32", "lstm", 32, 32, "cross_entropy"),
        Workload("gpt", "GPT 4x128, 12x64 tokens", "gpt", 12, 16, "cross_entropy", 1e-3, (0.9, 0.99), 0.1),
        Workload("gan", "DCGAN 28x28, batch 64", "gan", 64, 16, "gan", 2e-4, (0.5, 0.999)),
    )
}


def _labels(generator: np.random.Generator, x: Array) -> Array:
    """The classes that a random linear teacher gives."""
    flat = x.reshape(len(x), -1)
    teacher = generator.standard_normal((flat.shape[1], CLASSES)).astype(np.float32)
    return np.asarray((flat @ teacher).argmax(1).astype(np.int64))


def _xor(_generator: np.random.Generator, count: int) -> tuple[Array, Array]:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([[0], [1], [1], [0]], np.float32)
    return np.resize(x, (count, 2)), np.resize(y, (count, 1))


def _flat(generator: np.random.Generator, count: int) -> tuple[Array, Array]:
    x = generator.standard_normal((count, 784), np.float32)
    return x, _labels(generator, x)


def _pictures(channels: int, side: int) -> Callable[[np.random.Generator, int], tuple[Array, Array]]:
    def make(generator: np.random.Generator, count: int) -> tuple[Array, Array]:
        y = generator.integers(0, CLASSES, count)
        coarse = generator.random((CLASSES, channels, side // 4, side // 4), np.float32)
        patterns = coarse.repeat(4, 2).repeat(4, 3)
        x = generator.random((count, channels, side, side), np.float32)
        x += np.float32(0.2) * patterns[y] - np.float32(0.6)
        return x, y

    return make


def _series(generator: np.random.Generator, count: int) -> tuple[Array, Array]:
    x = generator.standard_normal((count, 100, 1), np.float32)
    return x, x[:, -10:, 0].mean(1, keepdims=True)


def _sequences(generator: np.random.Generator, count: int) -> tuple[Array, Array]:
    x = generator.standard_normal((count, 100, 32), np.float32)
    return x, _labels(generator, x[:, -5:])


def _text(generator: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Characters of which seven in ten follow from the one before."""
    text = generator.integers(0, VOCABULARY, (count, WINDOW + 1))
    follows = generator.random((count, WINDOW + 1)) < 0.7
    for place in range(1, WINDOW + 1):
        text[:, place] = np.where(follows[:, place], (text[:, place - 1] * 7 + 3) % VOCABULARY, text[:, place])
    return text[:, :-1].copy(), text[:, 1:].copy()


def _drawings(generator: np.random.Generator, count: int) -> tuple[Array, Array]:
    x = np.tanh(generator.standard_normal((count, 1, 28, 28), np.float32))
    return x, generator.standard_normal((count, LATENT), np.float32)


_MAKERS: dict[str, Callable[[np.random.Generator, int], tuple[Array, Array]]] = {
    "xor": _xor,
    "mlp_deep": _flat,
    "mlp_wide": _flat,
    "conv64": _pictures(3, 64),
    "conv28": _pictures(1, 28),
    "rnn": _series,
    "lstm": _sequences,
    "gpt": _text,
    "gan": _drawings,
}
