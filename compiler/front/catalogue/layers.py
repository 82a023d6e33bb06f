"""Layers: what stands as a stage in a model's body, with weights of its own or without."""

from __future__ import annotations

from typing import Literal

from compiler.front.catalogue.entry import ArgumentError, Context, Dim, DType, Initialiser, Value, entry
from compiler.front.catalogue.initialisers import GLOROT, ZEROS
from compiler.ir.dims import equal, floor_divide, product
from compiler.ir.types import TensorType, TypeMismatch


def fixed_size(x: Value, axis: int, layer: str) -> int:
    """The size of ``x`` along ``axis`` where a weight depends on it. TypeMismatch where it is a symbol."""
    dim = x.type.shape[axis]
    if isinstance(dim, int):
        return dim
    raise TypeMismatch(
        "E0302",
        f"{layer} needs a fixed number of features, but {x.type} has {dim} of them",
        f"the last dimension is {dim}, which is known only when the model runs",
        ("give that dimension a number in the signature of the model",),
    )


def need_float(x: Value, layer: str) -> None:
    """TypeMismatch unless ``x`` holds floating-point numbers."""
    if not x.type.dtype.is_float:
        raise TypeMismatch(
            "E0303",
            f"{layer} takes floating-point numbers, not {x.type}",
            f"this is {x.type.dtype}",
            ("convert it first: cast(f32)",),
        )


@entry("layer")
def dense(
    c: Context,
    x: Value,
    units: int,
    *,
    bias: bool = True,
    init: Initialiser = GLOROT,
    bias_init: Initialiser = ZEROS,
) -> Value:
    """A fully connected layer: ``x @ weight + bias`` over the last dimension.

    Takes ``[…, features]`` and gives ``[…, units]``. Weights: ``weight`` [features, units] and, unless
    ``bias=false``, ``bias`` [units]. Begins as in Keras: Glorot-uniform kernel, zero bias.
    """
    if units < 1:
        raise ArgumentError("units", f"dense needs at least one unit, not {units}")
    need_float(x, "dense")
    if x.type.rank < 1:
        raise TypeMismatch("E0301", f"dense takes at least one dimension, not the scalar {x.type}")
    features = fixed_size(x, -1, "dense")
    weight = c.weight("weight", TensorType(x.type.dtype, (features, units)), init)
    rows = x if x.type.rank > 1 else c.b.reshape(x, (1, features))
    result = c.b.matmul(rows, weight)
    if bias:
        result = c.b.add(result, c.weight("bias", TensorType(x.type.dtype, (units,)), bias_init, decays=False))
    return result if x.type.rank > 1 else c.b.reshape(result, (units,))


@entry("layer")
def parameter(c: Context, *shape: int, init: Initialiser = ZEROS) -> Value:
    """A learned f32 tensor of its own, of the given shape: ``scale = parameter(64, init=ones)``.

    Weights: ``weight``, of that shape. What stands beside layers, such as the scale of a branch or the first element of
    a sequence.
    """
    if not all(size > 0 for size in shape):
        raise ArgumentError("shape", f"a parameter has sizes of at least 1, not {shape}")
    return c.weight("weight", TensorType(DType.F32, shape), init, decays=False)


@entry("layer")
def dropout(c: Context, x: Value, rate: float = 0.5) -> Value:
    """Sets elements to 0 with probability ``rate`` while training and scales the others by 1 / (1 - rate).

    Outside training it changes nothing, so that no exported model holds it.
    Srivastava et al., Dropout, 2014 (in its inverted form).
    """
    need_float(x, "dropout")
    if not 0.0 <= rate < 1.0:
        raise ArgumentError("rate", f"a dropout rate lies from 0 up to, not including, 1: {rate} does not")
    if not c.training or rate == 0.0:
        return x
    b = c.b
    kept = b.random_keep(x.type.shape, *c.random(), rate)
    scaled = b.mul(x, 1.0 / (1.0 - rate))
    return b.select(kept, scaled, b.scalar(0.0, x.type.dtype))


@entry("layer")
def flatten(c: Context, x: Value, start: int = 1) -> Value:
    """Joins all dimensions from ``start`` on into one; the batch stays, so ``[N, 8, 8]`` becomes ``[N, 64]``."""
    if not 0 <= start <= x.type.rank:
        raise ArgumentError("start", f"{x.type} has no dimension {start}")
    shape = x.type.shape
    return c.b.reshape(x, (*shape[:start], product(shape[start:])))


@entry("layer")
def reshape(c: Context, x: Value, *shape: Dim) -> Value:
    """Gives each sample of the batch a new shape: ``reshape(1, 8, 8)`` makes ``[N, 64]`` into ``[N, 1, 8, 8]``.

    One size may be -1: it is what the others leave. The number of elements has to stay the same.
    """
    if x.type.rank < 1:
        raise TypeMismatch("E0301", f"reshape takes a batch of samples, not the scalar {x.type}")
    batch, sample = x.type.shape[0], product(x.type.shape[1:])
    unknown = [index for index, dim in enumerate(shape) if dim == -1]
    if len(unknown) > 1:
        raise ArgumentError("shape", "only one size of a shape can be -1", "more than one is -1")
    if any(isinstance(dim, int) and dim < 1 and dim != -1 for dim in shape):
        raise ArgumentError("shape", "a size is at least 1, or -1 for what the others leave")
    wanted = list(shape)
    if unknown:
        rest = product(dim for dim in shape if dim != -1)
        wanted[unknown[0]] = floor_divide(sample, rest)
    if equal(product(wanted), sample) is not True:
        shown = ", ".join(map(str, shape))
        raise TypeMismatch(
            "E0301",
            f"cannot reshape {x.type} to [{batch}, {shown}]",
            f"a sample has {sample} elements, this shape has {product(wanted)}",
        )
    return c.b.reshape(x, (batch, *wanted))


@entry("layer")
def cast(c: Context, x: Value, dtype: DType) -> Value:
    """Converts the elements: ``cast(f32)``. To integers it cuts towards zero; to bool, everything but 0 is true."""
    return c.b.cast(x, dtype)


@entry("layer")
def relu(c: Context, x: Value) -> Value:
    """max(x, 0)."""
    return c.b.relu(x)


@entry("layer")
def leaky_relu(c: Context, x: Value, slope: float = 0.01) -> Value:
    """x where it is positive, slope·x elsewhere. The slope is PyTorch's 0.01; Keras has 0.3."""
    return c.b.leaky_relu(x, slope)


@entry("layer")
def elu(c: Context, x: Value, alpha: float = 1.0) -> Value:
    """x where it is positive, alpha·(exp(x) - 1) elsewhere. Clevert et al., 2015."""
    return c.b.elu(x, alpha)


@entry("layer")
def gelu(c: Context, x: Value, approximate: Literal["none", "tanh"] = "none") -> Value:
    """x·Φ(x), with the normal distribution's Φ; ``approximate=tanh`` takes the usual approximation.

    Hendrycks and Gimpel, Gaussian error linear units, 2016.
    """
    return c.b.gelu(x, approximate)


@entry("layer")
def silu(c: Context, x: Value) -> Value:
    """x·sigmoid(x), also called swish."""
    return c.b.silu(x)


@entry("layer")
def sigmoid(c: Context, x: Value) -> Value:
    """1 / (1 + exp(-x))."""
    return c.b.sigmoid(x)


@entry("layer")
def tanh(c: Context, x: Value) -> Value:
    """The hyperbolic tangent."""
    return c.b.tanh(x)


@entry("layer")
def softplus(c: Context, x: Value) -> Value:
    """log(1 + exp(x))."""
    return c.b.softplus(x)


@entry("layer")
def softmax(c: Context, x: Value, axis: int = -1) -> Value:
    """exp(x) divided by its sum over ``axis``: probabilities that add up to 1."""
    _check_axis(x, axis)
    return c.b.softmax(x, axis)


@entry("layer")
def log_softmax(c: Context, x: Value, axis: int = -1) -> Value:
    """The logarithm of ``softmax``, computed without overflow."""
    _check_axis(x, axis)
    return c.b.log_softmax(x, axis)


def _check_axis(x: Value, axis: int) -> None:
    if not -x.type.rank <= axis < x.type.rank:
        raise ArgumentError("axis", f"{x.type} has no dimension {axis}")
