"""How weights begin.

The fan-in and fan-out of a kernel are its second-to-last and its last size, times the sizes before.
"""

from __future__ import annotations

from math import prod, sqrt

import numpy as np

from compiler.front.catalogue.entry import ArgumentError, Initialiser, entry
from compiler.ir.graph import Value
from compiler.ir.types import TensorType
from compiler.ops.emit import Emit
from compiler.program import Given


def fans(type: TensorType) -> tuple[int, int]:
    """Fan-in and fan-out of a kernel ``[…, inputs, outputs]``; a vector has its length for both."""
    shape = [dim for dim in type.shape if isinstance(dim, int)]
    if len(shape) < 2:
        size = prod(shape)
        return size, size
    field = prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def for_convolution(init: Initialiser, transposed: bool = False) -> Initialiser:
    """``init`` for the weight of a convolution, [outputs, inputs, …] or, transposed, [inputs, outputs, …], where
    :func:`fans` takes the channels to stand last: they are drawn so and turned."""

    def build(b: Emit, type: TensorType, seed: Value, stream: int) -> Value:
        first, second, *kernel = type.shape
        channels = (first, second) if transposed else (second, first)
        drawn = init.build(b, type.with_shape((*kernel, *channels)), seed, stream)
        outer = (len(kernel), len(kernel) + 1) if transposed else (len(kernel) + 1, len(kernel))
        return b.transpose(drawn, (*outer, *range(len(kernel))))

    return Initialiser(init.text, build)


def _uniform(b: Emit, type: TensorType, seed: Value, stream: int, limit: float) -> Value:
    counter = b.constant(np.array(0, np.int64))
    return b.uniform(type.shape, seed, counter, stream, -limit, limit, type.dtype)


def _normal(b: Emit, type: TensorType, seed: Value, stream: int, mean: float, deviation: float) -> Value:
    counter = b.constant(np.array(0, np.int64))
    return b.normal(type.shape, seed, counter, stream, mean, deviation, type.dtype)


@entry("initialiser")
def glorot(*, normal: bool = False) -> Initialiser:
    """Variance 2 / (fan_in + fan_out), which keeps the scale of values and gradients through linear layers.

    Uniform in ±sqrt(6 / (fan_in + fan_out)); ``normal=true`` draws from a normal distribution instead.
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.
    """

    def build(b: Emit, type: TensorType, seed: Value, stream: int) -> Value:
        variance = 2.0 / max(1, sum(fans(type)))
        if normal:
            return _normal(b, type, seed, stream, 0.0, sqrt(variance))
        return _uniform(b, type, seed, stream, sqrt(3.0 * variance))

    return Initialiser("glorot(normal=true)" if normal else "glorot", build)


@entry("initialiser")
def he(*, normal: bool = False) -> Initialiser:
    """Variance 2 / fan_in, which keeps the scale of values through ReLU layers.

    Uniform in ±sqrt(6 / fan_in); ``normal=true`` draws from a normal distribution instead.
    He et al., Delving deep into rectifiers, 2015.
    """

    def build(b: Emit, type: TensorType, seed: Value, stream: int) -> Value:
        variance = 2.0 / max(1, fans(type)[0])
        if normal:
            return _normal(b, type, seed, stream, 0.0, sqrt(variance))
        return _uniform(b, type, seed, stream, sqrt(3.0 * variance))

    return Initialiser("he(normal=true)" if normal else "he", build)


@entry("initialiser", name="normal")
def normal_initialiser(deviation: float = 0.05, mean: float = 0.0) -> Initialiser:
    """Normally distributed with the given standard deviation and mean."""
    if deviation < 0:
        raise ArgumentError("deviation", f"a standard deviation can't be negative: {deviation}")

    def build(b: Emit, type: TensorType, seed: Value, stream: int) -> Value:
        return _normal(b, type, seed, stream, mean, deviation)

    return Initialiser(f"normal({deviation})", build)


@entry("initialiser", name="uniform")
def uniform_initialiser(limit: float = 0.05) -> Initialiser:
    """Uniform in ±limit."""
    if limit < 0:
        raise ArgumentError("limit", f"a limit can't be negative: {limit}")
    return Initialiser(f"uniform({limit})", lambda b, type, seed, stream: _uniform(b, type, seed, stream, limit))


def _fill(b: Emit, type: TensorType, value: float) -> Value:
    return b.expand(b.scalar(value, type.dtype), type.shape)


@entry("initialiser", name="constant")
def constant_initialiser(value: float) -> Initialiser:
    """Every element the same."""
    return Initialiser(f"constant({value})", lambda b, type, seed, stream: _fill(b, type, value))


@entry("initialiser")
def zeros() -> Initialiser:
    """Every element 0, as is usual for biases."""
    return Initialiser("zeros", lambda b, type, seed, stream: _fill(b, type, 0.0))


@entry("initialiser")
def ones() -> Initialiser:
    """Every element 1, as is usual for scales."""
    return Initialiser("ones", lambda b, type, seed, stream: _fill(b, type, 1.0))


def given(content: Given) -> Initialiser:
    """As it was made elsewhere."""

    def build(b: Emit, type: TensorType, seed: Value, stream: int) -> Value:
        raise AssertionError(f"the content of {content.source} is no part of a graph")

    return Initialiser(content.source, build, content)


# What layers begin with where the file does not say.
GLOROT = glorot()
ZEROS = zeros()
ONES = ones()
