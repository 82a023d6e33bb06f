"""Convolution of one to three spatial axes, and its two gradients, each an operation of its own.

The three are the derivatives of one sum over samples, places, channels and cells,

    gradient[n, o, place] * x[n, c, place * stride + cell * dilation - before] * weight[o, c, cell],

so that the gradients of each are the two others. As is usual, "convolution" means that the kernel is not flipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from compiler.ir.dims import Dim, equal, evaluate, product, symbol
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.arrays import channel_axes
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Op,
    Sample,
    Sizes,
    Values,
    operation,
)
from compiler.ops.broadcast import unknown_equality
from compiler.ops.checks import listed, need_floats, need_one_dtype
from compiler.ops.conv_last_numpy import many
from compiler.ops.conv_numpy import lower_conv
from compiler.ops.conv_onnx import onnx_conv, onnx_conv_transpose, onnx_conv_weight
from compiler.ops.conv_phases_numpy import has_phases
from compiler.ops.conv_transpose_numpy import lower_conv_transpose
from compiler.ops.conv_weight_numpy import lower_conv_weight
from compiler.ops.parts import SUM, Cut, Joined
from compiler.ops.window import Each, Window, cut, each, has_open_sizes, last, pad_array

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32 = DType.F32
N, H = symbol("N"), symbol("H")
SIZES = {"N": 3, "H": 6}


@dataclass(frozen=True)
class Convolution(Op):
    """What the three have in common. One number for each spatial axis: ``strides``, ``dilations``, and the cells of
    zeros ``before`` and ``after`` x. Input and output channels come in ``groups``, each connected to its own."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    groups: int

    def may_refuse(self, inputs: tuple[TensorType, ...]) -> bool:
        return has_open_sizes(inputs)

    def window(self, kernel: Sequence[Dim]) -> Window:
        """The window of kernels of these sizes."""
        return Window(tuple(map(_number, kernel)), self.strides, self.dilations, self.before, self.after)

    def check(self, verb: str, x: TensorType, weight: TensorType) -> Window:
        """The window that ``weight`` [outputs, inputs / groups, *kernel] makes over ``x``. TypeMismatch where they do
        not fit."""
        check_operands(verb, x, weight)
        channels, outputs, inputs = x.shape[1], _number(weight.shape[0]), _number(weight.shape[1])
        if self.groups < 1 or outputs % self.groups:
            raise TypeMismatch("E0301", f"cannot {verb} {x} in {self.groups} groups to {outputs} channels")
        _check_channels(f"{verb} {x} by kernels {weight}", channels, inputs * self.groups, "the kernels take")
        window = self.window(weight.shape[2:])
        window.check(verb, x)
        return window

    @property
    def takes_channels_last(self) -> bool:
        return self.groups == 1

    @property
    def attributes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Dim, ...], tuple[Dim, ...], int]:
        """The fields, in the order in which the other two take them too."""
        return self.strides, self.dilations, self.before, self.after, self.groups


def check_operands(verb: str, x: TensorType, weight: TensorType, *bias: TensorType) -> None:
    """TypeMismatch unless the operands are floats of one type, of three to five axes each, with fixed kernels."""
    need_floats(verb, x)
    need_one_dtype(verb, x, weight, *bias)
    if not 3 <= x.rank <= 5 or weight.rank != x.rank:
        raise TypeMismatch(
            "E0301",
            f"cannot {verb} {listed((x, weight))}: it takes samples, channels, and one to three spatial axes",
            f"{x} has {x.rank} axes",
        )
    if any(not isinstance(dim, int) for dim in weight.shape):
        raise TypeMismatch("E0302", f"cannot {verb} {x} by {weight}: the sizes of kernels have to be numbers")


def _check_channels(action: str, channels: Dim, wanted: int, who: str) -> None:
    same = equal(channels, wanted)
    if same is None:
        raise unknown_equality(action, channels, wanted, f"{who} {wanted} channels, and there are {channels}")
    if not same:
        raise TypeMismatch("E0301", f"cannot {action}", f"{who} {wanted} channels, and there are {channels}")


def _check_bias(verb: str, bias: Sequence[TensorType], channels: int) -> None:
    if any(type.shape != (channels,) for type in bias):
        raise TypeMismatch("E0301", f"cannot {verb} with the bias {bias[0]}: it has to be one number a channel")


def _number(dim: Dim) -> int:
    assert isinstance(dim, int)
    return dim


def _blocks(array: Array, groups: int, axis: int) -> list[Array]:
    return np.split(array.astype(np.float64), groups, axis)


@operation
@dataclass(frozen=True)
class Conv(Convolution):
    """Operands: x [N, inputs, *spatial], weight [outputs, inputs / groups, *kernel] and optionally bias [outputs]."""

    opcode = "conv"
    verb = "convolve"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        x, weight, *bias = inputs
        need_one_dtype(self.verb, *inputs)
        window = self.check(self.verb, x, weight)
        _check_bias(self.verb, bias, _number(weight.shape[0]))
        return (x.with_shape((x.shape[0], weight.shape[0], *window.places(x.shape[2:]))),)

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        return outputs[0].size * product(inputs[1].shape[1:])

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        x, weight, *bias = inputs
        (gradient,) = gradients
        to_x = b.add(ConvTranspose(*self.attributes, x.type.shape[2:]), gradient, weight)
        kernel = tuple(map(_number, weight.type.shape[2:]))
        to_weight = b.add(ConvWeight(*self.attributes, kernel), x, gradient)
        return to_x, to_weight, *(b.sum(gradient, channel_axes(x.type.rank)) for _ in bias)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.samples()

    def gives_channels_last(self, inputs: tuple[TensorType, ...], last: tuple[bool, ...]) -> bool:
        x, weight = inputs[:2]
        return self.groups == 1 and many(weight.shape[0]) and (last[0] or not many(x.shape[1]))

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, weight, *bias = operands
        window = self.window(weight.shape[2:])
        padded = pad_array(x, window, sizes)
        places = [evaluate(dim, sizes) for dim in window.places(x.shape[2:])]
        results = []
        for part, kernels in zip(_blocks(padded, self.groups, 1), _blocks(weight, self.groups, 0), strict=True):
            result = np.zeros((x.shape[0], kernels.shape[0], *places))
            for cell in window.offsets():
                result += np.einsum("nc...,oc->no...", cut(part, cell, window, places), kernels[last(cell)])
            results.append(result)
        result = np.concatenate(results, 1)
        for values in bias:
            result += values.astype(np.float64).reshape(-1, *[1] * window.rank)
        return (result.astype(x.dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        lower_conv(c, self.window(c.input_types[1].shape[2:]), self.groups)

    def onnx(self, c: OnnxLowering) -> None:
        onnx_conv(c, self.window(c.input_types[1].shape[2:]), self.groups)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def sample(x: tuple[Dim, ...], weight: tuple[int, ...], *attributes: Any, bias: bool = False) -> Sample:
            types = [TensorType(F32, x), TensorType(F32, weight)]
            types += [TensorType(F32, weight[:1])] * bias
            return Sample(made(cls, len(weight) - 2, *attributes), tuple(types), sizes=SIZES)

        same = (H - 1) // 2 * 2 + 3 - H  # the padding that gives ceil(H / 2) places
        return (
            sample((N, 2, 7), (3, 2, 3)),
            sample((N, 2, 7), (3, 2, 3), 2, 1, 1, bias=True),
            sample((2, 32, 9), (2, 32, 3), 1, 2),
            sample((N, 2, 5, 6), (3, 2, 3, 3), bias=True),
            sample((N, 2, 5, 6), (3, 2, 3, 2), (2, 3), (1, 2), (1, 0), (2, 1), bias=True),
            sample((9, 3, 4, 5), (4, 3, 1, 1)),
            sample((N, 3, 4, 5), (4, 3, 1, 1), 2),
            sample((2, 16, 4, 5), (2, 16, 3, 2), 1, 1, 1),
            sample((N, 34, H, 5), (2, 34, 2, 3), 2, 1, (1, 0), bias=True),
            sample((2, 50, 11, 5), (2, 50, 2, 2), (2, 1), 1, (0, 1)),
            sample((N, 4, 5, 5), (6, 2, 3, 3), 1, 1, 1, 1, 2, bias=True),
            sample((N, 4, 5, 5), (4, 1, 3, 3), 1, 1, 1, 1, 4, bias=True),
            sample((N, 2, 6, 5), (6, 1, 2, 3), 2, 1, (1, 0), 0, 2),
            sample((N, 2, H, H), (3, 2, 3, 3), 1, 1, 1),
            sample((N, 2, H, 7), (3, 2, 3, 3), 2, 1, (same // 2, 1), (same - same // 2, 1)),
            sample((2, 1, 5, 4, 5), (2, 1, 3, 3, 2), (2, 1, 1), 1, 1, bias=True),
            sample((N, 2, 4, 3, 4), (2, 1, 2, 2, 2), 1, (2, 1, 1), 0, 0, 2),
        )


@operation
@dataclass(frozen=True)
class ConvTranspose(Convolution):
    """The gradient of a convolution to its x: operands gradient [N, outputs, *places], weight [outputs, inputs /
    groups, *kernel] and optionally bias [inputs]; the result is [N, inputs, *size].

    Also called transposed or fractionally strided convolution. ``size`` is what x of the convolution has: as several
    sizes have the same number of places where a stride is not 1, the operands do not tell.
    """

    size: tuple[Dim, ...]

    opcode = "conv_transpose"
    verb = "convolve by the transpose"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        gradient, weight, *bias = inputs
        need_one_dtype(self.verb, *inputs)
        check_operands(self.verb, gradient, weight)
        outputs, channels = _number(weight.shape[0]), _number(weight.shape[1]) * self.groups
        action = f"{self.verb} {gradient} with kernels {weight}"
        _check_channels(action, gradient.shape[1], outputs, "the kernels take")
        result = gradient.with_shape((gradient.shape[0], channels, *self.size))
        places = self.check(self.verb, result, weight).places(self.size)
        _check_bias(self.verb, bias, channels)
        if not all(map(equal, gradient.shape[2:], places)):
            shown = ", ".join(map(str, places))
            raise TypeMismatch("E0301", f"cannot {action} to {result}", f"that has places for [{shown}]")
        return (result,)

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        return inputs[0].size * product(inputs[1].shape[1:])

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        x, weight, *bias = inputs
        (gradient,) = gradients
        to_x = b.add(Conv(*self.attributes), gradient, weight)
        kernel = tuple(map(_number, weight.type.shape[2:]))
        to_weight = b.add(ConvWeight(*self.attributes, kernel), gradient, x)
        return to_x, to_weight, *(b.sum(gradient, channel_axes(x.type.rank)) for _ in bias)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.samples()

    def gives_channels_last(self, inputs: tuple[TensorType, ...], last: tuple[bool, ...]) -> bool:
        gradient, weight = inputs[:2]
        if self.groups > 1 or not many(weight.shape[1]):
            return False
        phases = has_phases(self.window(weight.shape[2:]), gradient, self.infer(inputs)[0], weight)
        return last[0] or not many(gradient.shape[1]) or phases

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, weight, *bias = operands
        window = self.window(weight.shape[2:])
        size = [evaluate(dim, sizes) for dim in self.size]
        whole = [evaluate(dim, sizes) for dim in window.around(size)]
        results = []
        for part, kernels in zip(_blocks(x, self.groups, 1), _blocks(weight, self.groups, 0), strict=True):
            result = np.zeros((x.shape[0], kernels.shape[1], *whole))
            for cell in window.offsets():
                target = cut(result, cell, window, x.shape[2:])
                target += np.einsum("no...,oc->nc...", part, kernels[last(cell)])
            results.append(result)
        starts = [evaluate(before, sizes) for before in self.before]
        inner = tuple(slice(start, start + n) for start, n in zip(starts, size, strict=True))
        result = np.concatenate(results, 1)[last(inner)]
        for values in bias:
            result = result + values.astype(np.float64).reshape(-1, *[1] * window.rank)
        return (result.astype(x.dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        lower_conv_transpose(c, self.window(c.input_types[1].shape[2:]), self.groups)

    def onnx(self, c: OnnxLowering) -> None:
        onnx_conv_transpose(c, self.window(c.input_types[1].shape[2:]), self.groups)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def sample(
            x: tuple[Dim, ...], weight: tuple[int, ...], size: tuple[Dim, ...], *attributes: Any, bias: bool = False
        ) -> Sample:
            types = [TensorType(F32, x), TensorType(F32, weight)]
            groups = attributes[4] if len(attributes) > 4 else 1
            types += [TensorType(F32, (weight[1] * groups,))] * bias
            return Sample(made(cls, len(size), *attributes, size=size), tuple(types), sizes=SIZES)

        return (
            sample((N, 3, 5), (3, 2, 3), (7,)),
            sample((N, 3, 4), (3, 2, 3), (8,), 2, 1, 1, 1, bias=True),
            sample((N, 2, 4, 5), (2, 3, 3, 3), (6, 7), bias=True),
            sample((N, 2, 4, 5), (2, 3, 3, 3), (4, 5), 1, 1, 1, 1),
            sample((N, 2, 4, 5), (2, 3, 3, 3), (3, 3), 1, 1, 3, (0, 1)),
            sample((2, 16, 4, 5), (16, 8, 3, 2), (4, 6), 1, 1, (1, 0), (1, 0)),
            sample((N, 2, 3, 4), (2, 3, 2, 2), (6, 8), 2),
            sample((N, 2, 3, 4), (2, 3, 3, 2), (7, 12), (2, 3), (2, 1), (1, 0), (2, 1), bias=True),
            sample((N, 2, 3, 4), (2, 16, 3, 2), (7, 12), (2, 3), (2, 1), (1, 0), (2, 1), bias=True),
            sample((2, 2, 3), (2, 17, 4), (6,), 2, 1, 1),
            sample((2, 34, 3), (34, 17, 4), (6,), 2, 1, 1),
            sample((N, 40, 2, 3), (40, 16, 3, 4), (4, 9), (2, 3), 1, (1, 0), (0, 1), bias=True),
            sample((9, 2, 3, 4), (2, 12, 1, 1), (3, 4)),
            sample((N, 2, 3, 4), (2, 1, 1, 2), (5, 9), (2, 2), 1, (0, 0), (1, 0)),
            sample((N, 4, 3, 3), (4, 2, 3, 3), (7, 7), 2, 1, 1, 0, 2),
            sample((N, 4, 3, 3), (4, 1, 3, 3), (6, 5), 2, 1, 1, 1, 4, bias=True),
            sample((N, 4, 5, 5), (4, 1, 3, 3), (5, 5), 1, 1, 1, 1, 2),
            sample((N, 2, H, H), (2, 3, 3, 3), (H + 2, H), 1, 1, (0, 1), (0, 1)),
            sample((N, 2, (H + 1) // 2, 4), (2, 1, 3, 3), (H, 7), 2, 1, 1),
            sample((N, 2, 2, 2, 3), (2, 1, 2, 3, 2), (4, 3, 3), (2, 1, 1), 1, (0, 1, 1), (0, 0, 0)),
        )


@operation
@dataclass(frozen=True)
class ConvWeight(Convolution):
    """The gradient of a convolution to its weight: operands x [N, inputs, *spatial] and gradient [N, outputs, *places];
    the result is [outputs, inputs / groups, *kernel]."""

    kernel: tuple[int, ...]

    opcode = "conv_weight"
    verb = "make the gradient of kernels from"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        x, gradient = inputs
        need_one_dtype(self.verb, x, gradient)
        channels, outputs = x.shape[1:2], gradient.shape[1:2]
        if any(not isinstance(dim, int) or dim % self.groups for dim in (*channels, *outputs)):
            raise TypeMismatch("E0302", f"cannot {self.verb} {listed(inputs)} in {self.groups} groups")
        weight = x.with_shape((*outputs, *(_number(dim) // self.groups for dim in channels), *self.kernel))
        places = self.check(self.verb, x, weight).places(x.shape[2:])
        if not all(map(equal, gradient.shape, (x.shape[0], *outputs, *places))):
            raise TypeMismatch("E0301", f"cannot {self.verb} {listed(inputs)}: their places differ")
        return (weight,)

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        return inputs[1].size * product(outputs[0].shape[1:])

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        x, gradient = inputs
        to_x = b.add(ConvTranspose(*self.attributes, x.type.shape[2:]), gradient, gradients[0])
        return to_x, b.add(Conv(*self.attributes), x, gradients[0])

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return (SUM,) if cut.axes == (0, 0) else None

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, gradient = operands
        window = self.window(self.kernel)
        padded = pad_array(x, window, sizes)
        places = gradient.shape[2:]
        results = []
        for part, kernels in zip(_blocks(padded, self.groups, 1), _blocks(gradient, self.groups, 1), strict=True):
            result = np.zeros((kernels.shape[1], part.shape[1], *self.kernel))
            for cell in window.offsets():
                seen = cut(part, cell, window, places)
                result[last(cell)] = np.tensordot(kernels, seen, (channel_axes(x.ndim), channel_axes(x.ndim)))
            results.append(result)
        return (np.concatenate(results, 0).astype(x.dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        lower_conv_weight(c, self.window(self.kernel), self.groups)

    def onnx(self, c: OnnxLowering) -> None:
        onnx_conv_weight(c, self.window(self.kernel), self.groups)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def sample(x: tuple[Dim, ...], outputs: int, kernel: tuple[int, ...], *attributes: Any) -> Sample:
            operation = made(cls, len(kernel), *attributes, kernel=kernel)
            places = operation.window(kernel).places(x[2:])
            return Sample(operation, (TensorType(F32, x), TensorType(F32, (x[0], outputs, *places))), sizes=SIZES)

        return (
            sample((N, 2, 7), 3, (3,)),
            sample((N, 2, 7), 3, (3,), 2, 1, 1),
            sample((N, 2, 6, 6), 3, (3, 2)),
            sample((N, 2, 5, 6), 3, (3, 2), (2, 3), (1, 2), (1, 0), (2, 1)),
            sample((2, 1, 7, 8), 2, (2, 2)),
            sample((9, 3, 3, 4), 4, (1, 1)),
            sample((N, 4, 4, 4), 2, (3, 3), 1, 1, 1, 1, 2),
            sample((N, 4, 5, 5), 4, (3, 3), 1, 1, 1, 1, 4),
            sample((N, 2, 6, 5), 6, (2, 3), 2, 1, (1, 0), 0, 2),
            sample((N, 2, H, H), 2, (3, 3), 2, 1, 1),
            sample((2, 1, 4, 3, 4), 2, (2, 2, 2), (2, 1, 1), 1, 1),
        )


_Made = TypeVar("_Made", bound=Convolution)


def made(
    cls: type[_Made],
    rank: int,
    stride: Each = 1,
    dilation: Each = 1,
    before: Each = 0,
    after: Each | None = None,
    groups: int = 1,
    **more: Any,
) -> _Made:
    """An operation of so many spatial axes; one number stands for the same along each."""
    lists = (stride, dilation, before, before if after is None else after)
    build: Callable[..., _Made] = cls
    return build(*(each(part, rank) for part in lists), groups, **more)
