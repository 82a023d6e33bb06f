"""Samples of any kind: what changes their values, or mixes them with one another."""

from __future__ import annotations

import numpy as np

from compiler.front.catalogue.augmentation import per_sample
from compiler.front.catalogue.entry import ArgumentError, Context, Value, entry
from compiler.front.catalogue.warping import on_floats
from compiler.ir.dims import equal
from compiler.ir.types import DType, TypeMismatch
from compiler.ops.base import Array

# So many equally likely values stand for a Beta distribution: more than a training tells apart.
_QUANTILES = 4096


def _samples(x: Value, what: str) -> Value:
    """x, which has to be a batch of numbers."""
    if x.type.rank < 1 or x.type.dtype is DType.BOOL:
        raise TypeMismatch("E0301", f"{what} takes a batch of numbers, not {x.type}")
    return x


def _spread(c: Context, factor: Value, x: Value) -> Value:
    """A number for each sample in the form and the element type of x, to be multiplied with it."""
    shaped = c.b.reshape(factor, (x.type.shape[0], *(1,) * (x.type.rank - 1)))
    return c.b.cast(shaped, x.type.dtype)


def _check(amount: float, what: str) -> None:
    if not 0.0 <= amount <= 1.0:
        raise ArgumentError("amount", f"{what} takes an amount from 0 to 1, not {amount:g}")


@entry("augmentation")
def random_brightness(c: Context, x: Value, amount: float = 0.2) -> Value:
    """Multiplies each sample by a factor from 1 - ``amount`` to 1 + ``amount``, as torchvision's ColorJitter does.

    Pixels that are integers stay in the range of their type.
    """
    _check(amount, "random_brightness")
    _samples(x, "random_brightness")
    if not c.training or amount == 0.0:
        return x
    factor = per_sample(c, x, 1.0 - amount, 1.0 + amount)
    return on_floats(c, x, lambda floats: c.b.mul(floats, _spread(c, factor, floats)))


@entry("augmentation")
def random_contrast(c: Context, x: Value, amount: float = 0.2) -> Value:
    """Multiplies the distance of each sample's elements from their mean by a factor from 1 - ``amount`` to
    1 + ``amount``.

    Pixels that are integers stay in the range of their type.
    """
    _check(amount, "random_contrast")
    _samples(x, "random_contrast")
    if not c.training or amount == 0.0:
        return x
    b, factor = c.b, per_sample(c, x, 1.0 - amount, 1.0 + amount)

    def stretched(floats: Value) -> Value:
        mean = b.mean(floats, tuple(range(1, floats.type.rank)), keepdims=True)
        return b.add(mean, b.mul(b.sub(floats, mean), _spread(c, factor, floats)))

    return on_floats(c, x, stretched)


@entry("augmentation")
def random_noise(c: Context, x: Value, deviation: float) -> Value:
    """Adds normally distributed noise of this standard deviation, in the units of x, to each element.

    Pixels that are integers are rounded and stay in the range of their type. Within a model noise is
    ``gaussian_noise``.
    """
    if deviation < 0.0:
        raise ArgumentError("deviation", f"a standard deviation can't be negative: {deviation:g}")
    _samples(x, "random_noise")
    if not c.training or deviation == 0.0:
        return x
    b = c.b

    def noisy(floats: Value) -> Value:
        return b.add(floats, b.normal(x.type.shape, *c.random(), 0.0, deviation, floats.type.dtype))

    return on_floats(c, x, noisy)


@entry("augmentation")
def mixup(
    c: Context, x: Value, target: Value, classes: int | None = None, *, alpha: float = 0.2
) -> tuple[Value, Value]:
    """Mixes each sample, and its target, with the one before it in the batch: λ·x + (1 - λ)·other.

    λ is drawn from Beta(alpha, alpha), and the larger of λ and 1 - λ is that of the sample itself.

    ``image, mixed = (image, label) -> mixup(10)`` gives images, and probabilities f32 [N, 10] of the labels (integers
    [N]) for ``cross_entropy``; targets that are floats are mixed as they are, without ``classes``. In evaluation the
    images are as they were, and the probabilities 0 and 1. Zhang et al., mixup: Beyond empirical risk minimization,
    2018; as the order of samples is random, the one before is a random one.
    """
    if not 0.0 < alpha <= 100.0:
        raise ArgumentError("alpha", f"mixup takes an alpha above 0, up to 100, not {alpha:g}")
    _samples(x, "mixup")
    wanted = _targets(c, x, target, classes)
    if not c.training:
        return x, wanted
    b = c.b
    place = b.cast(b.mul(per_sample(c, x), float(_QUANTILES)), DType.I64)
    share = b.gather(b.constant(larger_shares(alpha)), place)

    def mixed(floats: Value) -> Value:
        count, rest = floats.type.shape[0], floats.type.shape[1:]
        zeros = (0,) * len(rest)
        last = b.slice(floats, (count - 1, *zeros), (count, *rest))
        before = b.concat([last, b.slice(floats, (0, *zeros), (count - 1, *rest))], 0)
        return b.add(before, b.mul(b.sub(floats, before), _spread(c, share, floats)))

    return on_floats(c, x, mixed), mixed(wanted)


def _targets(c: Context, x: Value, target: Value, classes: int | None) -> Value:
    """The targets as floats: one-hot vectors of labels."""
    if target.type.rank < 1 or not equal(target.type.shape[0], x.type.shape[0]):
        raise TypeMismatch("E0301", f"mixup takes a target for each sample, not {target.type} for {x.type}")
    if target.type.dtype.is_float:
        if classes is not None:
            raise ArgumentError(
                "classes", f"targets {target.type} are mixed as they are: there are no classes to count"
            )
        return target
    if not target.type.dtype.is_integer or target.type.rank != 1:
        raise TypeMismatch("E0301", f"mixup takes labels, integers [N], or targets that are floats, not {target.type}")
    if classes is None or classes < 2:
        help = ("write for example (image, label) -> mixup(10)",)
        raise ArgumentError("classes", "mixup of labels has to know how many classes there are, at least 2", help=help)
    c.index_range(target, classes)
    return c.b.one_hot(c.b.cast(target, DType.I64), classes, x.type.dtype if x.type.dtype.is_float else DType.F32)


def larger_shares(alpha: float) -> Array:
    """f32 [4096], falling: equally likely values of the larger one of λ and 1 - λ, λ ~ Beta(alpha, alpha).

    They are the quantiles of the smaller one at (i + 0.5) / 4096, taken from 1. The density (x·(1 - x))**(alpha - 1) is
    integrated up to 1/2: over x, or where it grows beyond all bounds near 0, over x**alpha.
    """
    power = min(alpha, 1.0)
    steps = np.linspace(0.0, 0.5**power, 1 << 16)
    density = (1.0 - steps ** (1.0 / power)) ** (alpha - 1.0) * steps ** (alpha - power)
    total = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2.0)])
    wanted = (np.arange(_QUANTILES) + 0.5) / _QUANTILES * total[-1]
    smaller: Array = np.interp(wanted, total, steps) ** (1.0 / power)
    return (1.0 - smaller).astype(np.float32)
