"""Regularisation by chance: what is random while training, and nothing outside of it."""

from __future__ import annotations

from compiler.front.catalogue.entry import ArgumentError, Context, Dim, Value, entry
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.norms import channels_of
from compiler.ir.types import TypeMismatch


def _drop(c: Context, x: Value, rate: float, shape: tuple[Dim, ...], layer: str) -> Value:
    """x with 0 at the places that are drawn, which are of ``shape`` and repeated over x, and more of it elsewhere."""
    if not 0.0 <= rate < 1.0:
        raise ArgumentError("rate", f"the rate of {layer} lies from 0 up to, not including, 1: {rate} does not")
    if not c.training or rate == 0.0:
        return x
    b = c.b
    kept = b.random_keep(shape, *c.random(), rate)
    return b.mul(x, b.mul(b.cast(kept, x.type.dtype), 1.0 / (1.0 - rate)))


@entry("layer")
def spatial_dropout(c: Context, x: Value, rate: float = 0.5) -> Value:
    """Sets whole channels of ``[N, C, …]`` to 0 with probability ``rate`` while training and scales the others by
    1 / (1 - rate).

    As PyTorch's Dropout2d, whatever the number of places. Tompson et al., Efficient object localization, 2015.
    """
    need_float(x, "spatial_dropout")
    channels_of(x, "spatial_dropout")
    return _drop(c, x, rate, (*x.type.shape[:2], *(1,) * (x.type.rank - 2)), "spatial_dropout")


@entry("layer")
def drop_path(c: Context, x: Value, rate: float = 0.1) -> Value:
    """Sets whole samples to 0 with probability ``rate`` while training and scales the others by 1 / (1 - rate).

    At the end of a residual branch it leaves the branch out: ``residual { … -> drop_path(0.1) }``.
    Huang et al., Deep networks with stochastic depth, 2016.
    """
    need_float(x, "drop_path")
    if x.type.rank < 1:
        raise TypeMismatch("E0301", f"drop_path takes a batch of samples, not the scalar {x.type}")
    return _drop(c, x, rate, (x.type.shape[0], *(1,) * (x.type.rank - 1)), "drop_path")


@entry("layer")
def gaussian_noise(c: Context, x: Value, deviation: float = 0.1) -> Value:
    """Adds normally distributed noise with the given standard deviation while training."""
    need_float(x, "gaussian_noise")
    if deviation < 0:
        raise ArgumentError("deviation", f"a standard deviation can't be negative: {deviation}")
    if not c.training or deviation == 0.0:
        return x
    return c.b.add(x, c.b.normal(x.type.shape, *c.random(), 0.0, deviation, x.type.dtype))
