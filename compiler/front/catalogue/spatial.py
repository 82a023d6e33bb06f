"""Convolutions: images, signals and volumes are ``[N, channels, …]`` with one to three spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from compiler.front.catalogue.entry import ArgumentError, Context, Dim, Each, Initialiser, Pads, Value, entry
from compiler.front.catalogue.initialisers import GLOROT, ZEROS, for_convolution
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.norms import channels_of
from compiler.ir.types import TensorType, TypeMismatch
from compiler.ops.window import Window, padding_is_known, same_padding


def spatial_rank(x: Value, layer: str) -> int:
    """How many spatial dimensions x ``[N, channels, …]`` has. TypeMismatch where they are not one to three."""
    rank = x.type.rank - 2
    if 1 <= rank <= 3:
        return rank
    images = ("images are [N, channels, height, width]: reshape(1, 28, 28) gives samples of 28 x 28 one channel",)
    raise TypeMismatch(
        "E0301",
        f"{layer} takes samples with channels and one to three spatial dimensions, not {x.type}",
        f"this has {x.type.rank} dimension{'s' * (x.type.rank != 1)}",
        images if rank < 1 else (),
    )


def each(argument: str, given: Any, x: Value, least: float = 1) -> tuple[Any, ...]:
    """``given`` for each spatial dimension of x. ArgumentError for another number of them, or one below ``least``."""
    rank = x.type.rank - 2
    found = given if isinstance(given, tuple) else (given,) * rank
    if len(found) != rank:
        has = f"{rank} spatial dimension{'s' * (rank != 1)}"
        raise ArgumentError(argument, f"{argument} has {len(found)} numbers, and {x.type} has {has}")
    for number in found:
        if isinstance(number, int | float) and number < least:
            raise ArgumentError(argument, f"{argument} is at least {least}, not {number}")
    return found


def edges(argument: str, given: Any, x: Value) -> tuple[tuple[int, int], ...]:
    """The amounts at both ends of each spatial dimension of x: of one dimension a pair may be those of its ends.
    ArgumentError where they do not fit or are negative."""
    if x.type.rank == 3 and isinstance(given, tuple) and len(given) == 2 and all(isinstance(end, int) for end in given):
        given = (given,)
    found = tuple(pair if isinstance(pair, tuple) else (pair, pair) for pair in each(argument, given, x, 0))
    for pair in found:
        if min(pair) < 0:
            raise ArgumentError(argument, f"{argument} is at least 0, not {min(pair)}")
    return found


def make_window(x: Value, kernel: Each, stride: Each, pad: Pads, dilation: Each, name: str = "kernel") -> Window:
    """The window that slides over x; ``name`` is the argument's that tells its size."""
    sizes = x.type.shape[2:]
    kernels, strides = each(name, kernel, x), each("stride", stride, x)
    dilations = each("dilation", dilation, x)
    nothing = (0,) * len(sizes)
    window = Window(kernels, strides, dilations, nothing, nothing)
    if pad == "valid":
        return window
    if pad == "same":
        pairs = [_same(x, *axis) for axis in zip(sizes, window.reach, strides, strict=True)]
    else:
        pairs = list(edges("pad", pad, x))
    before, after = zip(*pairs, strict=True)
    return Window(kernels, strides, dilations, before, after)


def _same(x: Value, size: Dim, reach: int, stride: int) -> tuple[Dim, Dim]:
    if not padding_is_known(size, reach, stride):
        raise TypeMismatch(
            "E0302",
            f"pad=same of a window of {reach} with a stride of {stride} depends on {size}, which is not known",
            f"this is {x.type}",
            ("give the padding in numbers, or that dimension a number in the signature",),
        )
    return same_padding(size, reach, stride)


def _check_groups(x: Value, channels: int, groups: int, layer: str) -> int:
    """The number of input channels. ArgumentError where channels can't be divided into the groups."""
    if channels < 1:
        raise ArgumentError("channels", f"{layer} needs at least one channel, not {channels}")
    inputs = channels_of(x, layer)
    if groups < 1:
        raise ArgumentError("groups", f"there is at least one group, not {groups}")
    for count, what in ((inputs, "input"), (channels, "output")):
        if count % groups:
            raise ArgumentError(
                "groups", f"{count} {what} channels can't be divided into {groups} groups", f"x is {x.type}"
            )
    return inputs


class _Biased(Protocol):
    def __call__(self, weight: Value, bias: Value | None) -> Value: ...


def _weighted(
    c: Context,
    x: Value,
    shape: tuple[int, ...],
    outputs: int,
    bias: bool,
    init: Initialiser,
    bias_init: Initialiser,
    apply: _Biased,
    transposed: bool = False,
) -> Value:
    """What ``apply`` makes of the weights ``weight`` and ``bias``."""
    weight = c.weight("weight", TensorType(x.type.dtype, shape), for_convolution(init, transposed))
    if not bias:
        return apply(weight, None)
    return apply(weight, c.weight("bias", TensorType(x.type.dtype, (outputs,)), bias_init, decays=False))


@entry("layer")
def conv(
    c: Context,
    x: Value,
    channels: int,
    kernel: Each,
    *,
    stride: Each = 1,
    pad: Pads = 0,
    dilation: Each = 1,
    groups: int = 1,
    bias: bool = True,
    init: Initialiser = GLOROT,
    bias_init: Initialiser = ZEROS,
) -> Value:
    """Convolution: each output channel is a sum over a window of ``kernel`` cells that slides over the input.

    Takes ``[N, inputs, …]`` with one to three spatial dimensions and gives ``[N, channels, …]``; every argument but
    ``channels`` and ``groups`` is one number for all of them or one for each, as in ``kernel=(3, 5)``. ``pad`` puts
    zeros around: a number, a pair for both edges of each dimension as in ``pad=((0, 1), (2, 2))`` or, for a signal,
    ``pad=(2, 0)``, ``same`` for ``ceil(size / stride)`` places (the odd cell at the end), or ``valid``, which is 0.
    With ``groups``, each group of output channels sees its own group of input channels.
    Weights: ``weight`` [channels, inputs / groups, …kernel] and, unless ``bias=false``, ``bias`` [channels], as in
    PyTorch. They begin as in Keras: Glorot-uniform, zero bias.
    """
    need_float(x, "conv")
    spatial_rank(x, "conv")
    inputs = _check_groups(x, channels, groups, "conv")
    window = make_window(x, kernel, stride, pad, dilation)
    window.check("convolve", x.type)
    shape = (channels, inputs // groups, *window.kernel)

    def apply(weight: Value, bias: Value | None) -> Value:
        return c.b.conv(x, weight, bias, window, groups)

    return _weighted(c, x, shape, channels, bias, init, bias_init, apply)


@entry("layer")
def depthwise_conv(
    c: Context,
    x: Value,
    kernel: Each,
    *,
    multiplier: int = 1,
    stride: Each = 1,
    pad: Pads = 0,
    dilation: Each = 1,
    bias: bool = True,
    init: Initialiser = GLOROT,
    bias_init: Initialiser = ZEROS,
) -> Value:
    """Convolution of each channel by itself, with ``multiplier`` kernels of its own: ``conv`` with a group a channel.

    Takes ``[N, inputs, …]`` and gives ``[N, inputs * multiplier, …]``. A ``conv(channels, 1)`` behind it makes a
    depthwise separable convolution. Weights: ``weight`` [inputs * multiplier, 1, …kernel] and ``bias``.
    """
    spatial_rank(x, "depthwise_conv")
    if multiplier < 1:
        raise ArgumentError("multiplier", f"each channel has at least one kernel, not {multiplier}")
    inputs = channels_of(x, "depthwise_conv")
    return conv(
        c, x, inputs * multiplier, kernel, stride=stride, pad=pad, dilation=dilation, groups=inputs, bias=bias,
        init=init, bias_init=bias_init,
    )  # fmt: skip


@entry("layer")
def conv_transpose(
    c: Context,
    x: Value,
    channels: int,
    kernel: Each,
    *,
    stride: Each = 1,
    pad: Pads = 0,
    output_pad: Each = 0,
    dilation: Each = 1,
    groups: int = 1,
    bias: bool = True,
    init: Initialiser = GLOROT,
    bias_init: Initialiser = ZEROS,
) -> Value:
    """Transposed convolution, which makes images larger: the gradient of a ``conv`` with the same arguments.

    Takes ``[N, inputs, …]`` and gives ``[N, channels, …]`` with ``(size - 1) * stride + dilation * (kernel - 1) + 1 +
    output_pad`` cells along each dimension, less the ``pad`` that is cut off both edges. ``pad=same`` gives
    ``size * stride``. ``output_pad`` makes the result longer at its end, as several sizes have the same convolution.
    Weights: ``weight`` [inputs, channels / groups, …kernel] and ``bias`` [channels], as in PyTorch. They begin as in
    Keras: Glorot-uniform, zero bias.
    """
    need_float(x, "conv_transpose")
    spatial_rank(x, "conv_transpose")
    inputs = _check_groups(x, channels, groups, "conv_transpose")
    window, size = _transposed(x, kernel, stride, pad, output_pad, dilation)
    shape = (inputs, channels // groups, *window.kernel)

    def apply(weight: Value, bias: Value | None) -> Value:
        return c.b.conv_transpose(x, weight, bias, window, groups, size)

    return _weighted(c, x, shape, channels, bias, init, bias_init, apply, transposed=True)


def _transposed(
    x: Value, kernel: Each, stride: Each, pad: Pads, output_pad: Each, dilation: Each
) -> tuple[Window, tuple[Dim, ...]]:
    """The window of a transposed convolution over its result, and the spatial sizes of that."""
    window = make_window(x, kernel, stride, "valid" if pad == "same" else pad, dilation)
    more = each("output_pad", output_pad, x, 0)
    for extra, move, step in zip(more, window.strides, window.dilations, strict=True):
        if extra >= max(move, step):
            raise ArgumentError(
                "output_pad", f"output_pad is below the stride or the dilation: {extra} is not below {max(move, step)}"
            )
    if pad == "same":
        return _transposed_same(x, window, more)
    whole = (
        (size - 1) * move + reach + extra
        for size, move, reach, extra in zip(x.type.shape[2:], window.strides, window.reach, more, strict=True)
    )
    sizes = tuple(size - a - b for size, a, b in zip(whole, window.before, window.after, strict=True))
    for axis, size in enumerate(sizes):
        if isinstance(size, int) and size < 1:
            raise TypeMismatch(
                "E0301",
                f"conv_transpose cuts away all of {x.type}: nothing is left of dimension {axis + 2}",
                f"pad is {window.before[axis]} and {window.after[axis]}",
            )
    return window, sizes


def _transposed_same(x: Value, window: Window, more: Sequence[int]) -> tuple[Window, tuple[Dim, ...]]:
    if any(more):
        raise ArgumentError("output_pad", "pad=same gives size * stride already: it takes no output_pad")
    surplus = [max(0, reach - move) for reach, move in zip(window.reach, window.strides, strict=True)]
    before = tuple(amount // 2 for amount in surplus)
    after = tuple(amount - amount // 2 for amount in surplus)
    sizes = tuple(size * move for size, move in zip(x.type.shape[2:], window.strides, strict=True))
    return Window(window.kernel, window.strides, window.dilations, before, after), sizes
