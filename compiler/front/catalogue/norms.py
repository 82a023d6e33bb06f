"""Normalisation layers. Channels are dimension 1, features the last."""

from __future__ import annotations

from compiler.front.catalogue.entry import ArgumentError, Context, Value, entry
from compiler.front.catalogue.initialisers import ONES, ZEROS
from compiler.front.catalogue.layers import need_float
from compiler.ir.dims import Dim, product
from compiler.ir.types import TensorType, TypeMismatch
from compiler.ops.batch_norm import trained
from compiler.ops.group_norm import GroupNorm
from compiler.ops.layer_norm import LayerNorm, RmsNorm
from compiler.ops.running_norm import RunningNorm


def channels_of(x: Value, layer: str) -> int:
    """The number of channels of x ``[N, C, …]``. TypeMismatch where it has none, or as many as a symbol says."""
    if x.type.rank < 2:
        raise TypeMismatch(
            "E0301",
            f"{layer} takes a batch of samples with channels, not {x.type}",
            "dimension 0 is the batch, dimension 1 the channels",
        )
    return _number(x, 1, layer, "channels")


def _number(x: Value, axis: int, layer: str, what: str) -> int:
    dim = x.type.shape[axis]
    if isinstance(dim, int):
        return dim
    raise TypeMismatch(
        "E0302",
        f"{layer} needs a fixed number of {what}, but {x.type} has {dim} of them",
        f"dimension {axis % x.type.rank} is {dim}, which is known only when the model runs",
        ("give that dimension a number in the signature of the model",),
    )


def _check_eps(eps: float) -> None:
    if eps <= 0:
        raise ArgumentError("eps", f"eps has to be above 0, not {eps}: it keeps a division by zero away")


def _affine(c: Context, type: TensorType, bias: bool = True) -> tuple[Value, ...]:
    """The weights ``weight`` and ``bias`` of a norm, which begin as 1 and 0."""
    weight = c.weight("weight", type, ONES, decays=False)
    return (weight, c.weight("bias", type, ZEROS, decays=False)) if bias else (weight,)


@entry("layer")
def batch_norm(c: Context, x: Value, *, momentum: float = 0.1, eps: float = 1e-5, affine: bool = True) -> Value:
    """Brings each channel to mean 0 and variance 1 over the batch and all places, then scales and shifts it.

    Takes ``[N, C, …]`` and gives the same. Weights: ``weight`` and ``bias`` [C], unless ``affine=false``. While
    training it takes the mean and variance of the batch, and ``running_mean`` and ``running_var`` [C] follow them:
    ``running = (1 - momentum)·running + momentum·batch``, the variance in its unbiased form. Outside training, and
    where the train block freezes the layer, it takes the running ones. Momentum and eps are PyTorch's; Keras has
    0.01 (which it calls 0.99) and 1e-3. Ioffe and Szegedy, Batch normalization, 2015.
    """
    need_float(x, "batch_norm")
    type = TensorType(x.type.dtype, (channels_of(x, "batch_norm"),))
    _check_eps(eps)
    if not 0.0 <= momentum <= 1.0:
        raise ArgumentError("momentum", f"the momentum of the running statistics lies from 0 to 1: {momentum} does not")
    b = c.b
    parameters = _affine(c, type) if affine else ()
    mean, variance = c.statistic("running_mean", type, ZEROS), c.statistic("running_var", type, ONES)
    if not c.training or c.frozen:
        return b.add(RunningNorm(eps), x, mean, variance, *parameters)
    result, *followed = trained(b, x, (mean, variance), parameters, eps, momentum)
    for name, next in zip(("running_mean", "running_var"), followed, strict=True):
        c.update(name, next, result)
    return result


@entry("layer")
def layer_norm(c: Context, x: Value, *axes: int, eps: float = 1e-5, affine: bool = True, bias: bool = True) -> Value:
    """Brings the features of each sample, and of each place in it, to mean 0 and variance 1, then scales and shifts.

    The features are the last dimension, or the dimensions that ``axes`` names: ``layer_norm(1, 2, 3)``. Weights:
    ``weight`` and ``bias`` of the sizes of these, unless ``affine=false`` or ``bias=false``. eps is PyTorch's; Keras
    has 1e-3. Ba et al., Layer normalization, 2016.
    """
    need_float(x, "layer_norm")
    return _over_axes(c, x, axes, "layer_norm", eps, affine, bias)


@entry("layer")
def rms_norm(c: Context, x: Value, *axes: int, eps: float = 1e-6, affine: bool = True) -> Value:
    """Divides the features of each sample, and of each place in it, by their root mean square, then scales them.

    The features are the last dimension, or the dimensions that ``axes`` names. Weights: ``weight`` of the sizes of
    these, unless ``affine=false``. Zhang and Sennrich, Root mean square layer normalization, 2019; eps is Keras's and
    LLaMA's, where PyTorch takes the smallest number that the element type can tell from 1 when it is added.
    """
    need_float(x, "rms_norm")
    return _over_axes(c, x, axes, "rms_norm", eps, affine, False)


def _over_axes(c: Context, x: Value, axes: tuple[int, ...], layer: str, eps: float, affine: bool, bias: bool) -> Value:
    """A norm over the given dimensions, which are brought to the end for it where they are elsewhere."""
    _check_eps(eps)
    rank = x.type.rank
    wrong = [axis for axis in axes if not -rank <= axis < rank]
    chosen = tuple(axis % rank for axis in axes or (-1,)) if rank and not wrong else ()
    if not chosen or len(set(chosen)) < len(chosen):
        said = f"{x.type} has no dimension {wrong[0]}" if wrong else f"{layer} takes different dimensions of {x.type}"
        raise ArgumentError("axes", said)
    b = c.b
    order = (*(axis for axis in range(rank) if axis not in chosen), *sorted(chosen))
    moved = b.transpose(x, order)
    parameters: tuple[Value, ...] = ()
    if affine:
        sizes = tuple(_number(x, axis, layer, "features") for axis in sorted(chosen))
        parameters = _affine(c, TensorType(x.type.dtype, sizes), bias)
    operation = (LayerNorm if layer == "layer_norm" else RmsNorm)(-len(chosen), eps)
    result = b.add(operation, moved, *parameters)
    return b.transpose(result, tuple(order.index(axis) for axis in range(rank)))


@entry("layer")
def group_norm(c: Context, x: Value, groups: int, *, eps: float = 1e-5, affine: bool = True) -> Value:
    """Brings each group of channels of a sample, with all its places, to mean 0 and variance 1; then scales and shifts.

    Takes ``[N, C, …]`` and gives the same; ``groups`` divides C. Weights: ``weight`` and ``bias`` [C], unless
    ``affine=false``. Wu and He, Group normalization, 2018.
    """
    need_float(x, "group_norm")
    channels = channels_of(x, "group_norm")
    _check_eps(eps)
    if groups < 1 or channels % groups:
        fitting = ", ".join(str(number) for number in range(1, channels + 1) if channels % number == 0)
        raise ArgumentError(
            "groups",
            f"{channels} channels can't be divided into {groups} groups",
            f"this is {x.type}",
            (f"the numbers of groups that fit are {fitting}",),
        )
    parameters = _affine(c, TensorType(x.type.dtype, (channels,))) if affine else ()
    return c.b.add(GroupNorm(groups, eps), x, *parameters)


@entry("layer")
def instance_norm(c: Context, x: Value, *, eps: float = 1e-5, affine: bool = False) -> Value:
    """Brings each channel of each sample to mean 0 and variance 1 over its places.

    Takes ``[N, C, …]`` with at least one dimension of places and gives the same. Weights: ``weight`` and ``bias`` [C]
    where ``affine=true``; like PyTorch's it has none otherwise. Ulyanov et al., Instance normalization, 2016.
    """
    need_float(x, "instance_norm")
    channels = channels_of(x, "instance_norm")
    _check_eps(eps)
    places: Dim = product(x.type.shape[2:])
    if places == 1:
        raise TypeMismatch(
            "E0301",
            f"instance_norm takes channels with several places, not {x.type}",
            "each channel has one value, which less its own mean is always 0",
            ("take layer_norm or batch_norm for features without places",),
        )
    parameters = _affine(c, TensorType(x.type.dtype, (channels,))) if affine else ()
    return c.b.add(GroupNorm(channels, eps), x, *parameters)
