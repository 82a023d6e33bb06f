"""Activations beyond the most usual ones, which stand among the layers."""

from __future__ import annotations

from compiler.front.catalogue.entry import ArgumentError, Context, Value, entry
from compiler.front.catalogue.initialisers import constant_initialiser
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.norms import channels_of
from compiler.ir.types import TensorType, TypeMismatch

QUARTER = constant_initialiser(0.25)


@entry("layer")
def relu6(c: Context, x: Value) -> Value:
    """min(max(x, 0), 6). Howard et al., MobileNets, 2017."""
    need_float(x, "relu6")
    return c.b.clip(x, 0.0, 6.0)


@entry("layer")
def prelu(c: Context, x: Value, *, per_channel: bool = False) -> Value:
    """x where it is positive, a learned slope times x elsewhere.

    Weights: ``weight`` [1], or with ``per_channel=true`` [C] for x ``[N, C, …]``; 0.25 at first. As PyTorch's; Keras
    has a slope for each element and 0 at first. He et al., Delving deep into rectifiers, 2015.
    """
    need_float(x, "prelu")
    count = channels_of(x, "prelu") if per_channel else 1
    slope = c.weight("weight", TensorType(x.type.dtype, (count,)), QUARTER, decays=False)
    return c.b.prelu(x, c.b.reshape(slope, (count, *(1,) * (x.type.rank - 2))) if per_channel else slope)


@entry("layer")
def selu(c: Context, x: Value) -> Value:
    """1.0507·x where it is positive, 1.7581·(exp(x) - 1) elsewhere.

    Klambauer et al., Self-normalizing neural networks, 2017.
    """
    return c.b.selu(x)


@entry("layer")
def mish(c: Context, x: Value) -> Value:
    """x·tanh(softplus(x)). Misra, Mish, 2019."""
    return c.b.mul(x, c.b.tanh(c.b.softplus(x)))


@entry("layer")
def hard_sigmoid(c: Context, x: Value) -> Value:
    """min(max(x/6 + 1/2, 0), 1), as PyTorch and Keras 3 have it."""
    return c.b.hard_sigmoid(x)


@entry("layer")
def hard_swish(c: Context, x: Value) -> Value:
    """x·hard_sigmoid(x). Howard et al., Searching for MobileNetV3, 2019."""
    return c.b.mul(x, c.b.hard_sigmoid(x))


@entry("layer")
def softsign(c: Context, x: Value) -> Value:
    """x / (1 + |x|)."""
    return c.b.softsign(x)


@entry("layer")
def glu(c: Context, x: Value, axis: int = -1) -> Value:
    """The first half of x times the sigmoid of the second half, halved along ``axis``. Dauphin et al., 2017."""
    first, second = _halves(c, x, axis, "glu")
    return c.b.mul(first, c.b.sigmoid(second))


@entry("layer")
def swiglu(c: Context, x: Value, axis: int = -1) -> Value:
    """silu of the first half of x times the second half, halved along ``axis``.

    It has no weights: ``dense(2 * units) -> swiglu`` is the layer of Shazeer, GLU variants improve Transformer, 2020.
    """
    first, second = _halves(c, x, axis, "swiglu")
    return c.b.mul(c.b.silu(first), second)


def _halves(c: Context, x: Value, axis: int, layer: str) -> tuple[Value, Value]:
    need_float(x, layer)
    if not -x.type.rank <= axis < x.type.rank:
        raise ArgumentError("axis", f"{x.type} has no dimension {axis}")
    size = x.type.shape[axis]
    if not isinstance(size, int) or size % 2:
        raise TypeMismatch(
            "E0301",
            f"{layer} takes an even number of features, not the {size} of {x.type}",
            f"dimension {axis % x.type.rank} is cut into halves",
        )
    first, second = c.b.split(x, (size // 2, size // 2), axis)
    return first, second
