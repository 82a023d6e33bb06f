"""The networks of the workloads in plain JAX: weights in nested dicts, pictures channels last.

Convolutions of stride 1 are products with columns, and max pooling is a maximum of blocks, as XLA's own are several
times slower on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.workloads import DEPTH, HEADS, LATENT, VOCABULARY, WIDTH, WINDOW

Weights = Any
Tensor = Any

_random = np.random.default_rng(1)


def linear(inner: int, outer: int, bias: bool = True) -> Weights:
    limit = 1 / math.sqrt(inner)
    made = {"w": _random.uniform(-limit, limit, (inner, outer)).astype(np.float32)}
    return {**made, "b": np.zeros(outer, np.float32)} if bias else made


def kernel(size: int, inner: int, outer: int) -> Weights:
    limit = 1 / math.sqrt(size * size * inner)
    w = _random.uniform(-limit, limit, (size, size, inner, outer)).astype(np.float32)
    return {"w": w, "b": np.zeros(outer, np.float32)}


def dense(p: Weights, x: Tensor) -> Tensor:
    return x @ p["w"] + p["b"] if "b" in p else x @ p["w"]


def columns(p: Weights, x: Tensor) -> Tensor:
    """A convolution of stride 1 without padding."""
    size, _, inner, outer = p["w"].shape
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    parts = [x[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return jnp.concatenate(parts, -1) @ p["w"].reshape(size * size * inner, outer) + p["b"]


def strided(p: Weights, x: Tensor) -> Tensor:
    """A convolution of stride 2 that halves the size."""
    return lax.conv_general_dilated(x, p["w"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + p["b"]


def back(p: Weights, x: Tensor) -> Tensor:
    """A transposed convolution that doubles the size."""
    return lax.conv_transpose(x, p["w"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + p["b"]


def pool(x: Tensor) -> Tensor:
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def norm(p: Tensor, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5) * p


def perceptron(p: Weights, x: Tensor, _key: Tensor) -> Tensor:
    for layer in p[:-1]:
        x = jax.nn.relu(dense(layer, x))
    return dense(p[-1], x)


def conv64(p: Weights, x: Tensor, key: Tensor) -> Tensor:
    x = pool(jax.nn.relu(columns(p["conv"], x)))
    return perceptron(p["head"], x.reshape(len(x), -1), key)


def conv28(p: Weights, x: Tensor, key: Tensor) -> Tensor:
    x = pool(jax.nn.relu(columns(p["first"], x)))
    x = pool(jax.nn.relu(columns(p["second"], x))).reshape(len(x), -1)
    x = jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x * 2, 0)
    return dense(p["head"], x)


def rnn(p: Weights, x: Tensor, _key: Tensor) -> Tensor:
    inputs = dense(p["in"], x).transpose(1, 0, 2)

    def cell(state: Tensor, given: Tensor) -> tuple[Tensor, None]:
        return jax.nn.relu(given + dense(p["again"], state)), None

    state, _ = lax.scan(cell, jnp.zeros(inputs.shape[1:], x.dtype), inputs, unroll=4)
    return dense(p["head"], state)


def lstm(p: Weights, x: Tensor, _key: Tensor) -> Tensor:
    zero = jnp.zeros((len(x), 128), x.dtype)

    def cell(states: tuple[Tensor, Tensor], given: Tensor) -> tuple[tuple[Tensor, Tensor], None]:
        hidden, kept = states
        gates = dense(p["in"], given) + dense(p["again"], hidden)
        write, forget, new, show = jnp.split(gates, 4, -1)
        kept = jax.nn.sigmoid(forget) * kept + jax.nn.sigmoid(write) * jnp.tanh(new)
        return (jax.nn.sigmoid(show) * jnp.tanh(kept), kept), None

    (hidden, _), _ = lax.scan(cell, (zero, zero), x.transpose(1, 0, 2))
    return dense(p["head"], hidden)


def gpt(p: Weights, tokens: Tensor, _key: Tensor) -> Tensor:
    """Activations are [batch · steps, width], which XLA multiplies faster than with three axes."""
    batch, steps = tokens.shape
    x = (p["token"][tokens] + p["position"][:steps]).reshape(batch * steps, WIDTH)
    seen = jnp.tril(jnp.ones((steps, steps), bool))
    for layer in p["layers"]:
        parts = jnp.split(dense(layer["inner"], norm(layer["first"], x)), 3, -1)
        q, k, v = (part.reshape(batch, steps, HEADS, WIDTH // HEADS).transpose(0, 2, 1, 3) for part in parts)
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(WIDTH // HEADS)
        y = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), -1) @ v
        x = x + dense(layer["outer"], y.transpose(0, 2, 1, 3).reshape(x.shape))
        wide = jax.nn.gelu(dense(layer["wide"], norm(layer["second"], x)), approximate=False)
        x = x + dense(layer["narrow"], wide)
    return (norm(p["norm"], x) @ p["token"].T).reshape(batch, steps, VOCABULARY)


def generator(p: Weights, noise: Tensor) -> Tensor:
    x = jax.nn.relu(dense(p["dense"], noise)).reshape(len(noise), 7, 7, 64)
    return jnp.tanh(back(p["out"], jax.nn.relu(back(p["up"], x))))


def critic(p: Weights, x: Tensor) -> Tensor:
    x = jax.nn.leaky_relu(strided(p["first"], x), 0.2)
    x = jax.nn.leaky_relu(strided(p["second"], x), 0.2)
    return dense(p["head"], x.reshape(len(x), -1))


def _gpt_weights() -> Weights:
    def normal(*shape: int) -> Tensor:
        return (0.02 * _random.standard_normal(shape)).astype(np.float32)

    ones = np.ones(WIDTH, np.float32)
    layers = [
        {
            "first": ones,
            "second": ones,
            "inner": linear(WIDTH, 3 * WIDTH, False),
            "outer": linear(WIDTH, WIDTH, False),
            "wide": linear(WIDTH, 4 * WIDTH, False),
            "narrow": linear(4 * WIDTH, WIDTH, False),
        }
        for _ in range(DEPTH)
    ]
    return {"token": normal(VOCABULARY, WIDTH), "position": normal(WINDOW, WIDTH), "layers": layers, "norm": ones}


def _gan_weights() -> Weights:
    made = {"dense": linear(LATENT, 3136), "up": kernel(4, 64, 64), "out": kernel(4, 64, 1)}
    judging = {"first": kernel(4, 1, 64), "second": kernel(4, 64, 64), "head": linear(3136, 1)}
    return {"generator": made, "critic": judging}


WEIGHTS: dict[str, Callable[[], Weights]] = {
    "xor": lambda: [linear(2, 4), linear(4, 1)],
    "mlp_deep": lambda: [linear(784, 64), linear(64, 32), linear(32, 10)],
    "mlp_wide": lambda: [linear(784, 128), linear(128, 10)],
    "conv64": lambda: {"conv": kernel(3, 3, 32), "head": [linear(30752, 128), linear(128, 10)]},
    "conv28": lambda: {"first": kernel(3, 1, 32), "second": kernel(3, 32, 64), "head": linear(1600, 10)},
    "rnn": lambda: {"in": linear(1, 50), "again": linear(50, 50), "head": linear(50, 1)},
    "lstm": lambda: {"in": linear(32, 512), "again": linear(128, 512), "head": linear(128, 10)},
    "gpt": _gpt_weights,
    "gan": _gan_weights,
}
NETWORKS: dict[str, Callable[[Weights, Tensor, Tensor], Tensor]] = {
    "xor": perceptron,
    "mlp_deep": perceptron,
    "mlp_wide": perceptron,
    "conv64": conv64,
    "conv28": conv28,
    "rnn": rnn,
    "lstm": lstm,
    "gpt": gpt,
}
