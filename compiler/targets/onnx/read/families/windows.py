"""Convolutions and pools: what slides a window over the axes behind samples and channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from compiler.ir.dims import Dim, bounds, floor_divide, product
from compiler.ir.graph import Value
from compiler.ops.emit import Emit
from compiler.ops.window import Window, ceil_padding, padding_is_known, same_padding
from compiler.targets.onnx.read.node import Node, reads
from compiler.targets.onnx.read.tensors import Unsupported

_LARGEST = 2**31  # elements along an axis


def window_of(n: Node, sizes: Sequence[Dim], kernel: Sequence[int]) -> Window:
    """The window that the attributes describe, on axes of these sizes."""
    rank = len(kernel)
    strides = tuple(_numbers(n, "strides", [1] * rank))
    dilations = tuple(_numbers(n, "dilations", [1] * rank))
    pads = tuple(_numbers(n, "pads", [0] * 2 * rank))
    if any(len(part) != rank for part in (strides, dilations, pads[:rank], pads[rank:])) or len(sizes) != rank:
        raise Unsupported("its kernel, strides, dilations and pads do not have as many axes as its operand")
    window = Window(tuple(kernel), strides, dilations, pads[:rank], pads[rank:])
    auto = n.attribute("auto_pad", "NOTSET")
    return window if auto == "NOTSET" else _automatic(window, sizes, auto)


def _automatic(window: Window, sizes: Sequence[Dim], auto: str) -> Window:
    if auto == "VALID":
        return window.unpadded()
    ends = []
    for size, reach, stride in zip(sizes, window.reach, window.strides, strict=True):
        if not padding_is_known(size, reach, stride):
            raise Unsupported(f"its padding {auto} depends on the size {size}")
        ends.append(same_padding(size, reach, stride))
    if auto == "SAME_LOWER":
        ends = [(after, before) for before, after in ends]
    return replace(window, before=tuple(end[0] for end in ends), after=tuple(end[1] for end in ends))


def _numbers(n: Node, name: str, default: list[int]) -> list[int]:
    """An attribute of a number for each axis. Raises Unsupported for what is larger than any array."""
    found: list[int] = n.attribute(name, default)
    if any(abs(number) >= _LARGEST for number in found):
        raise Unsupported(f"its {name} are larger than any array")
    return found


def _kernel_sizes(weight: Value) -> list[int]:
    found = [size for size in weight.type.shape[2:] if isinstance(size, int)]
    if len(found) != len(weight.type.shape[2:]):
        raise Unsupported("the size of its kernel is not known")
    return found


@reads("Conv")
def conv(n: Node) -> Value:
    x, weight = n.value(0), n.value(1)
    window = window_of(n, x.type.shape[2:], _kernel_sizes(weight))
    return n.b.conv(x, weight, n.optional(2), window, n.attribute("group", 1))


@reads("ConvTranspose")
def conv_transpose(n: Node) -> Value:
    """The size of the result is told, or follows from that of the operand and ``output_padding``."""
    x, weight = n.value(0), n.value(1)
    kernel = _kernel_sizes(weight)
    rank = len(kernel)
    window = Window(
        tuple(kernel),
        tuple(_numbers(n, "strides", [1] * rank)),
        tuple(_numbers(n, "dilations", [1] * rank)),
        tuple(_numbers(n, "pads", [0] * 2 * rank)[:rank]),
        tuple(_numbers(n, "pads", [0] * 2 * rank)[rank:]),
    )
    extra = _numbers(n, "output_padding", [0] * rank)
    wanted = n.attribute("output_shape")
    auto = n.attribute("auto_pad", "NOTSET")
    size: list[Dim] = []
    before, after = list(window.before), list(window.after)
    for axis, length in enumerate(x.type.shape[2:]):
        whole = (length - 1) * window.strides[axis] + window.reach[axis] + extra[axis]
        if wanted is None and auto in ("NOTSET", "VALID"):
            if auto == "VALID":
                before[axis] = after[axis] = 0
            size.append(whole - before[axis] - after[axis])
            continue
        size.append(wanted[axis - len(x.type.shape[2:])] if wanted is not None else length * window.strides[axis])
        total = whole - size[-1]
        if bounds(total)[0] < 0:
            total = 0
        half = floor_divide(total, 2)
        before[axis], after[axis] = (half, total - half) if auto == "SAME_UPPER" else (total - half, half)
    window = replace(window, before=tuple(before), after=tuple(after))
    return n.b.conv_transpose(x, weight, n.optional(2), window, n.attribute("group", 1), size)


@reads("MaxPool")
def max_pool(n: Node) -> Value:
    n.refuse_results(1, "the places of the largest elements are not worked out")
    x = n.value(0)
    return n.b.max_pool(x, _pool_window(n, x))


def _pool_window(n: Node, x: Value) -> Window:
    window = window_of(n, x.type.shape[2:], _numbers(n, "kernel_shape", []))
    if not n.attribute("ceil_mode", 0) or n.attribute("auto_pad", "NOTSET").startswith("SAME"):
        return window
    after = []
    axes = zip(x.type.shape[2:], window.reach, window.strides, window.before, window.after, strict=True)
    for size, reach, stride, *ends in axes:
        padding = ceil_padding(size, reach, stride, *ends)
        if padding is None:
            raise Unsupported(f"ceil_mode depends on the size {size}")
        after.append(padding)
    return replace(window, after=tuple(after))


@reads("AveragePool")
def avg_pool(n: Node) -> Value:
    """Padding counts where ``count_include_pad`` says so; what ``ceil_mode`` adds behind it never does."""
    x = n.value(0)
    window = _pool_window(n, x)
    counts = bool(n.attribute("count_include_pad", 0))
    given = window_of(n, x.type.shape[2:], window.kernel)
    if counts and given.after != window.after:
        x = n.b.pad(x, (0, 0, *given.before), (0, 0, *given.after))
        rest = tuple(every - some for every, some in zip(window.after, given.after, strict=True))
        window, counts = replace(window, before=(0,) * window.rank, after=rest), False
    if set(window.dilations) == {1}:
        return n.b.avg_pool(x, window, counts)
    if counts:
        return n.b.mul(sum_pool(n.b, x, window), 1 / window.cells)
    ones = n.b.expand(n.b.scalar(1, x.type.dtype), x.type.shape)
    return n.b.div(sum_pool(n.b, x, window), sum_pool(n.b, ones, window))


def sum_pool(b: Emit, x: Value, window: Window) -> Value:
    """The sum under the window at each of its places: a convolution of each channel with ones."""
    samples, channels, *sizes = x.type.shape
    ones = b.constant(np.ones((1, 1, *window.kernel), x.type.dtype.numpy))
    found = b.conv(b.reshape(x, (samples * channels, 1, *sizes)), ones, None, window)
    return b.reshape(found, (samples, channels, *found.type.shape[2:]))


@reads("LpPool")
def lp_pool(n: Node) -> Value:
    x, power = n.value(0), n.attribute("p", 2)
    window = _pool_window(n, x)
    return _root(n.b, sum_pool(n.b, _powered(n.b, x, power), window), power)


def _powered(b: Emit, x: Value, power: float) -> Value:
    return b.abs(x) if power == 1 else b.square(x) if power == 2 else b.pow(b.abs(x), float(power))


def _root(b: Emit, x: Value, power: float) -> Value:
    return x if power == 1 else b.sqrt(x) if power == 2 else b.pow(x, 1 / power)


@reads("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(n: Node) -> Value:
    x = n.value(0)
    axes = range(2, x.type.rank)
    if n.kind == "GlobalAveragePool":
        return n.b.mean(x, axes, True)
    if n.kind == "GlobalMaxPool":
        return n.b.max(x, axes, True)
    power = n.attribute("p", 2)
    return _root(n.b, n.b.sum(_powered(n.b, x, power), axes, True), power)


@reads("LRN")
def local_response(n: Node) -> Value:
    """``x / (bias + alpha / size * sum of squares of the channels around)**beta``. Krizhevsky et al., 2012."""
    x, size = n.value(0), n.attribute("size")
    before, after = (size - 1) // 2, size // 2
    samples, channels, *rest = x.type.shape
    square = n.b.reshape(n.b.square(x), (samples, 1, channels, *rest))
    flat = n.b.reshape(square, (samples, 1, channels, product(rest)))
    window = Window((size, 1), (1, 1), (1, 1), (before, 0), (after, 0))
    mean = n.b.reshape(n.b.avg_pool(flat, window), x.type.shape)
    scaled = n.b.add(n.b.mul(mean, n.attribute("alpha", 1e-4)), n.attribute("bias", 1.0))
    return n.b.div(x, n.b.pow(scaled, n.attribute("beta", 0.75)))
