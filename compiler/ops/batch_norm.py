"""Normalisation of each channel by the statistics of a batch: over its samples and all their places.

S. Ioffe and C. Szegedy, "Batch normalization" (2015), https://arxiv.org/abs/1502.03167.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.dims import Dim, equal, product, symbol
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.arrays import channel_axes, filled, number, row_major, sum_channels, sum_products
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Op,
    Requirement,
    Sample,
    Sizes,
    Values,
    operation,
)
from compiler.ops.checks import need_floats, need_one_dtype
from compiler.ops.constant import Constant
from compiler.ops.expansion import expansion_of, lower_expansion
from compiler.ops.fused import FusedOp
from compiler.ops.shape import Expand, shape_text

if TYPE_CHECKING:
    from compiler.ir.graph import Value
    from compiler.ops.emit import Emit

VERB = "take the batch norm of"
N, W = symbol("N"), symbol("W")
SIZES = {"N": 3, "W": 4}


def channels_of(x: TensorType, parameters: Sequence[TensorType]) -> tuple[Dim, ...]:
    """The shape [channels] of the parameters of x ``[N, C, …]``. Raises TypeMismatch where theirs is another one."""
    need_floats(VERB, x)
    if x.rank < 2:
        raise TypeMismatch("E0301", f"cannot {VERB} {x}: it has no channels", "the channels are axis 1")
    for type in parameters:
        need_one_dtype(VERB, x, type)
        if type.rank != 1 or not equal(type.shape[0], x.shape[1]):
            wanted = shape_text(x.shape[1:2])
            raise TypeMismatch("E0301", f"cannot {VERB} {x} with parameters {type}", f"they have to be {wanted}")
    return x.shape[1:2]


def grid(x: TensorType) -> tuple[Dim, Dim, Dim]:
    """x as [samples, channels, places]."""
    return x.shape[0], x.shape[1], product(x.shape[2:])


def column(b: Emit, vector: Value, x: TensorType) -> Value:
    """A vector with one number for each channel, so that it broadcasts against x."""
    return b.reshape(vector, (*x.shape[1:2], *(1,) * (x.rank - 2)))


@operation
@dataclass(frozen=True)
class BatchNorm(Op):
    """Operands x ``[N, C, …]`` and, both or neither, scale and bias [C]; results y, mean [C] and variance [C].

    ``y = (x - mean) / sqrt(variance + epsilon) * scale + bias`` with the mean and the variance (the sum of squares
    divided by the count) of each channel. A NumPy program refuses a batch with one number for each channel, which
    would be 0 whatever it is.
    """

    epsilon: float = 1e-5

    opcode = "batch_norm"
    inplace = (0,)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        channels = inputs[0].with_shape(channels_of(inputs[0], inputs[1:]))
        return inputs[0], channels, channels

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        x, scale = inputs[0], inputs[1:2]
        _, mean, variance = outputs
        to_x, *to_parameters = b.add_node(BatchNormGradient(self.epsilon), (gradients[0], x, mean, variance, *scale))
        count = b.size(product(x.type.shape[axis] for axis in channel_axes(x.type.rank)), x.type.dtype)
        if not _is_zero(b, gradients[1]):
            to_x = b.add(to_x, b.div(column(b, gradients[1], x.type), count))
        if not _is_zero(b, gradients[2]):
            share = column(b, b.div(b.mul(gradients[2], 2), count), x.type)
            to_x = b.add(to_x, b.mul(b.sub(x, column(b, mean, x.type)), share))
        return to_x, *to_parameters

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, *parameters = (operand.astype(np.float64) for operand in operands)
        axes = tuple(axis for axis in range(x.ndim) if axis != 1)
        mean, variance = x.mean(axis=axes), x.var(axis=axes)
        result = normalised(x, mean, variance, self.epsilon, *parameters)
        return tuple(array.astype(operands[0].dtype) for array in (result, mean, variance))

    def requirements(self, inputs: tuple[TensorType, ...]) -> tuple[Requirement, ...]:
        samples, _, places = grid(inputs[0])
        few = "training takes two values of each channel or more, but this batch has one"
        return (Requirement(samples * places, 2, few),)

    def expand(self, b: Emit, x: Value, *parameters: Value) -> tuple[Value, ...]:
        """The operations that this one stands for, made with ``b``."""
        axes, type = channel_axes(x.type.rank), x.type
        mean = b.mean(x, axes)
        variance = b.mean(b.square(b.sub(x, column(b, mean, type))), axes)
        result = standardised(b, x, mean, variance, self.epsilon)[0]
        if parameters:
            scale, bias = (column(b, value, type) for value in parameters)
            result = b.add(b.mul(result, scale), bias)
        return result, mean, variance

    def numpy(self, c: NumpyLowering) -> None:
        type, out, mean, variance = c.input_types[0], *c.outputs
        x, whole = row_major(c, 0), grid(type)
        _channel_means(c, x, "", mean)
        cube, columns = f"reshape({c.shape(whole)})", "reshape(-1, 1)"
        target = c.view(out, cube)
        c.line(f"np.subtract({c.view(x, cube)}, {c.view(mean, columns)}, out={target})")
        _channel_means(c, out, out, variance)
        factor = c.scratch(c.output_types[1])
        c.line(f"np.add({variance}, {c.scalar(self.epsilon, type.dtype)}, out={factor})")
        c.line(f"np.sqrt({factor}, out={factor})")
        if len(c.inputs) == 1:
            c.line(f"np.divide({target}, {c.view(factor, columns)}, out={target})")
            return
        c.line(f"np.divide({row_major(c, 1)}, {factor}, out={factor})")
        c.line(f"np.multiply({target}, {c.view(factor, columns)}, out={target})")
        c.line(f"np.add({target}, {c.view(row_major(c, 2), columns)}, out={target})")

    def onnx(self, c: OnnxLowering) -> None:
        lower_expansion(c, expansion_of(self.opcode, c.input_types, self.expand))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        images, rows = TensorType(DType.F32, (N, 2, 3, W)), TensorType(DType.F32, (N, 5))
        two, five = TensorType(DType.F32, (2,)), TensorType(DType.F32, (5,))
        return (
            Sample(cls(), (images, two, two), sizes=SIZES),
            Sample(cls(0.125), (images,), sizes=SIZES),
            Sample(cls(), (rows, five, five), sizes=SIZES),
            Sample(cls(), (rows,), sizes=SIZES),
            Sample(cls(), (TensorType(DType.F32, (N, 2, 6)), two, two), 5, 7, SIZES),
        )


def standardised(b: Emit, x: Value, mean: Value, variance: Value, epsilon: float) -> tuple[Value, Value]:
    """x without the mean and divided by the deviation, and that [C]."""
    deviation = b.sqrt(b.add(variance, epsilon))
    return b.div(b.sub(x, column(b, mean, x.type)), column(b, deviation, x.type)), deviation


def normalised(x: Array, mean: Array, variance: Array, epsilon: float, *parameters: Array) -> Array:
    """The meaning of both norms: arrays x ``[N, C, …]`` and one number for each channel in the others."""
    shape = (-1, *(1,) * (x.ndim - 2))
    result = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + epsilon)
    if parameters:
        scale, bias = (parameter.reshape(shape) for parameter in parameters)
        result = result * scale + bias
    return np.asarray(result)


def _is_zero(b: Emit, value: Value) -> bool:
    """Whether the value is known to be 0 everywhere, as the gradient of a result is that the loss does not need."""
    node = b.producer(value)
    while node is not None and isinstance(node.operation, Expand):
        node = b.producer(node.inputs[0])
    return node is not None and isinstance(node.operation, Constant) and not node.operation.array.any()


def _channel_means(c: NumpyLowering, x: str, factor: str, out: str) -> None:
    """Write the statements that fill ``out`` [channels] with the means of ``x``, or of ``x * factor``."""
    type = c.input_types[0]
    samples, channels, places = grid(type)
    share = f"1/{c.dim(samples * places)}"
    if places != 1:
        sum_channels(c, x, factor, (samples, channels, places), type.dtype, out, share)
    elif factor:
        flat = f"reshape({c.shape((samples, channels))})"
        sum_products(c, c.view(x, flat), c.view(factor, flat), type.with_shape((samples, channels)), out)
    else:
        flat = f"reshape({c.shape((samples, channels))})"
        c.line(f"np.dot({filled(c, samples, share, type.dtype)}, {c.view(x, flat)}, out={out})")
    if factor:
        c.line(f"np.multiply({out}, {number(c, share, type.dtype)}, out={out})")


@operation
@dataclass(frozen=True)
class BatchNormGradient(FusedOp):
    """The gradients of the first result of a batch norm by its operands: of that result's gradient, x, mean, variance
    and, where there is one, the scale.

    With ``s`` the standardised x, ``d`` its deviation and ``g`` the gradient times the scale, the gradient to x is
    ``(g - mean(g) - s*mean(g*s)) / d``, in which the statistics' dependence on x is reckoned in.
    """

    epsilon: float

    opcode = "batch_norm_gradient"
    inplace = (0,)

    def expand(self, b: Emit, *inputs: Value) -> tuple[Value, ...]:
        gradient, x, mean, variance, *scale = inputs
        axes, type = channel_axes(x.type.rank), x.type
        standard, deviation = standardised(b, x, mean, variance, self.epsilon)
        weighted = b.mul(gradient, standard)
        inner = b.sub(gradient, b.mean(gradient, axes, keepdims=True))
        inner = b.sub(inner, b.mul(standard, b.mean(weighted, axes, keepdims=True)))
        if not scale:
            return (b.div(inner, column(b, deviation, type)),)
        to_x = b.mul(inner, column(b, b.div(scale[0], deviation), type))
        return to_x, b.sum(weighted, axes), b.sum(gradient, axes)

    def numpy(self, c: NumpyLowering) -> None:
        type, vector = c.input_types[1], c.input_types[2]
        gradient, out, centred = row_major(c, 0), c.outputs[0], c.scratch(type)
        mean, variance = row_major(c, 2), row_major(c, 3)
        to_scale, to_bias = c.outputs[1:] or (c.scratch(vector), c.scratch(vector))
        whole, share = grid(type), number(c, f"1/{c.dim(grid(type)[0] * grid(type)[2])}", type.dtype)
        cube, columns = f"reshape({c.shape(whole)})", "reshape(-1, 1)"
        target, middle = c.view(out, cube), c.view(centred, cube)
        c.line(f"np.subtract({c.view(row_major(c, 1), cube)}, {c.view(mean, columns)}, out={middle})")
        sum_channels(c, gradient, centred, whole, type.dtype, to_scale)
        sum_channels(c, gradient, "", whole, type.dtype, to_bias)
        deviation, amount = c.scratch(vector), c.scratch(vector)
        c.line(f"np.add({variance}, {c.scalar(self.epsilon, type.dtype)}, out={deviation})")
        c.line(f"np.sqrt({deviation}, out={deviation})")
        c.line(f"np.divide({to_scale}, {deviation}, out={to_scale})")
        c.line(f"np.divide({to_scale}, {deviation}, out={amount})")
        c.line(f"np.multiply({amount}, {share}, out={amount})")
        c.line(f"np.multiply({middle}, {c.view(amount, columns)}, out={middle})")
        c.line(f"np.subtract({c.view(gradient, cube)}, {middle}, out={target})")
        c.line(f"np.multiply({to_bias}, {share}, out={amount})")
        c.line(f"np.subtract({target}, {c.view(amount, columns)}, out={target})")
        if len(c.inputs) > 4:
            c.line(f"np.divide({row_major(c, 4)}, {deviation}, out={deviation})")
        else:
            c.line(f"np.reciprocal({deviation}, out={deviation})")
        c.line(f"np.multiply({target}, {c.view(deviation, columns)}, out={target})")

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        images, rows = TensorType(DType.F32, (N, 2, 3, W)), TensorType(DType.F32, (N, 5))
        two, five = TensorType(DType.F32, (2,)), TensorType(DType.F32, (5,))
        return (
            Sample(cls(0.125), (images, images, two, two, two), 0.25, 2, SIZES),
            Sample(cls(0.125), (images, images, two, two), 0.25, 2, SIZES),
            Sample(cls(0.125), (rows, rows, five, five, five), 0.25, 2, SIZES),
            Sample(cls(0.125), (rows, rows, five, five), 0.25, 2, SIZES),
        )


def trained(
    b: Emit, x: Value, running: Sequence[Value], parameters: Sequence[Value], eps: float, momentum: float
) -> tuple[Value, Value, Value]:
    """The norm of x ``[N, C, …]`` by the statistics of the batch, and the ``running`` mean and variance after it, of
    which ``momentum`` is the batch's share. The variance counts in its unbiased form, as in PyTorch.

    Raises TypeMismatch where there is one value of each channel.
    """
    count = product((x.type.shape[0], *x.type.shape[2:]))
    if count == 1:
        raise TypeMismatch(
            "E0301",
            f"batch_norm can't be trained on {x.type}, which has one value of each channel",
            "less its own mean it is always 0",
            ("train with more samples at once, or take layer_norm, which needs no batch",),
        )
    result, mean, variance = b.add_node(BatchNorm(eps), (x, *parameters))
    dtype = running[1].type.dtype
    unbiased = b.mul(variance, b.div(b.size(count, dtype), b.size(count - 1, dtype)))
    pairs = zip(running, (mean, unbiased), strict=True)
    after_mean, after_variance = (b.add(b.mul(old, 1.0 - momentum), b.mul(new, momentum)) for old, new in pairs)
    return result, after_mean, after_variance
