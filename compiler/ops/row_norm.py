"""Normalisation of rows: each row of elements is brought to mean 0 and variance 1, or to root mean square 1.

What a row is, an operation says: the last axes of a sample (layer_norm, rms_norm), or a group of channels with all
their places (group_norm). Here is what they have in common: the meaning, the NumPy statements, and the gradient, an
operation of its own, which works out the statistics again rather than keep a normalised copy of every operand.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from compiler.ir.dims import Dim, equal, evaluate
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.arrays import filled, number, row_major, sum_channels, sum_products
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
    registry,
)
from compiler.ops.checks import need_floats, need_one_dtype
from compiler.ops.expansion import expansion_of, lower_expansion
from compiler.ops.fused import FusedOp
from compiler.ops.parts import Cut, Joined
from compiler.ops.shape import shape_text

if TYPE_CHECKING:
    from compiler.ir.graph import Value
    from compiler.ops.emit import Emit


class RowNorm(Op):
    """Operands: x of floats, and optionally scale and bias, which every row is multiplied by and added to.

    ``(x - mean) / sqrt(variance + epsilon) * scale + bias`` for each row, with the mean of squares in the place of the
    variance where it is not ``centred``. The variance is that of the row itself (its sum is divided by the length).
    """

    epsilon: float

    inplace = (0,)
    centred: ClassVar[bool] = True
    verb: ClassVar[str]  # as in "cannot take the layer norm of …"

    @abstractmethod
    def rows(self, x: TensorType) -> tuple[Dim, Dim]:
        """How many rows x has, and the length of each. Raises TypeMismatch where it has none."""

    @abstractmethod
    def parameters(self, x: TensorType) -> tuple[Dim, ...]:
        """The shape of scale and bias: numbers."""

    @abstractmethod
    def grid(self, x: TensorType) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
        """Shapes of x and of scale and bias in which these broadcast against x: [rows, length] and [length], or
        [samples, channels, places] and [channels, 1]."""

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        x, *parameters = inputs
        need_floats(self.verb, x)
        self.rows(x)
        wanted = self.parameters(x)
        for type in parameters:
            need_one_dtype(self.verb, x, type)
            if type.rank != len(wanted) or not all(map(equal, type.shape, wanted)):
                action = f"cannot {self.verb} {x} with parameters {type}"
                raise TypeMismatch("E0301", action, f"they have to be {shape_text(wanted)}")
        return (x,)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        operands = (gradients[0], *inputs[:2])
        return b.add_node(RowNormGradient(self, len(inputs)), operands)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        # Cut through its leading axes x has fewer rows, which are as long as before.
        count, length = self.rows(cut.operands[0])
        return None if cut.carries(length) or not cut.carries(count) else cut.samples()

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x = operands[0].astype(np.float64)
        type = TensorType(DType.F64, x.shape)
        rows = x.reshape([evaluate(dim, sizes) for dim in self.rows(type)])
        if self.centred:
            rows = rows - rows.mean(axis=1, keepdims=True)
        rows = rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + self.epsilon)
        whole, placed = ([evaluate(dim, sizes) for dim in shape] for shape in self.grid(type))
        result = rows.reshape(whole)
        for parameter, combine in zip(operands[1:], (np.multiply, np.add), strict=False):
            result = combine(result, parameter.reshape(placed).astype(np.float64))
        return (result.reshape(x.shape).astype(operands[0].dtype),)

    def standardise(self, b: Emit, x: Value) -> tuple[Value, Value]:
        """The rows without scale and bias, and what each was divided by: [rows, length] and [rows, 1]."""
        rows = b.reshape(x, self.rows(x.type))
        if self.centred:
            rows = b.sub(rows, b.mean(rows, (1,), keepdims=True))
        deviation = b.sqrt(b.add(b.mean(b.square(rows), (1,), keepdims=True), self.epsilon))
        return b.div(rows, deviation), deviation

    def expand(self, b: Emit, x: Value, *parameters: Value) -> tuple[Value, ...]:
        """The operations that this one stands for, made with ``b``."""
        whole, placed = self.grid(x.type)
        result = b.reshape(self.standardise(b, x)[0], whole)
        scale, bias = (*(b.reshape(parameter, placed) for parameter in parameters), None, None)[:2]
        if scale is not None:
            result = b.mul(result, scale)
        if bias is not None:
            result = b.add(result, bias)
        return (b.reshape(result, x.type.shape),)

    def onnx(self, c: OnnxLowering) -> None:
        if c.input_types[0].dtype is DType.F64:
            # ONNX's norms have an epsilon of f32, and ONNX Runtime's CPU provider lacks some of them for f64.
            lower_expansion(c, expansion_of(self.opcode, c.input_types, self.expand))
        else:
            self.onnx_whole(c)

    @abstractmethod
    def onnx_whole(self, c: OnnxLowering) -> None:
        """Write the nodes for element types other than f64."""

    def numpy(self, c: NumpyLowering) -> None:
        type = c.input_types[0]
        whole, placed = self.grid(type)
        numpy_standardise(c, self, type, row_major(c, 0), c.outputs[0])
        out = c.view(c.outputs[0], f"reshape({c.shape(whole)})")
        for parameter, ufunc in zip(range(1, len(c.inputs)), ("multiply", "add"), strict=False):
            value = c.view(row_major(c, parameter), f"reshape({c.shape(placed)})")
            c.line(f"np.{ufunc}({out}, {value}, out={out})")


def numpy_standardise(c: NumpyLowering, norm: RowNorm, type: TensorType, x: str, out: str) -> str:
    """Write the statements that fill ``out`` with the standardised rows of ``x``, both in row-major order; gives the
    column [rows, 1] of what they were divided by."""
    count, length = norm.rows(type)
    column = c.scratch(type.with_shape((count, 1)))
    sums = c.view(column, "reshape(-1)")
    rows = (f"reshape({c.shape((count, length))})",)
    source, target = c.view(x, *rows), c.view(out, *rows)
    share = number(c, f"1/{c.dim(length)}", type.dtype)
    if norm.centred:
        c.line(f"np.dot({source}, {filled(c, length, f'1/{c.dim(length)}', type.dtype)}, out={sums})")
        c.line(f"np.subtract({source}, {column}, out={target})")
        source = target
    c.line(f"np.vecdot({source}, {source}, out={sums})")
    c.line(f"np.multiply({column}, {share}, out={column})")
    c.line(f"np.add({column}, {c.scalar(norm.epsilon, type.dtype)}, out={column})")
    c.line(f"np.sqrt({column}, out={column})")
    c.line(f"np.divide({source}, {column}, out={target})")
    return column


@operation
@dataclass(frozen=True)
class RowNormGradient(FusedOp):
    """The gradients of a row norm by its ``count`` operands, of the result's gradient, x and, where there is one,
    the scale.

    With ``s`` the standardised row, ``d`` its deviation and ``g`` the gradient times the scale, the gradient to x is
    ``(g - mean(g) - s*mean(g*s)) / d``, without ``mean(g)`` where the norm does not centre.
    """

    norm: RowNorm
    count: int

    opcode = "row_norm_gradient"
    inplace = (0,)

    def expand(self, b: Emit, *inputs: Value) -> tuple[Value, ...]:
        gradient, x, *scale = inputs
        norm = self.norm
        (count, length), (whole, placed) = norm.rows(x.type), norm.grid(x.type)
        standard, deviation = norm.standardise(b, x)
        received, spread = b.reshape(gradient, whole), b.reshape(standard, whole)
        shape = norm.parameters(x.type)
        to_parameters = [
            b.reshape(b.sum_to(value, placed), shape) for value in (b.mul(received, spread), received)[: self.count - 1]
        ]
        scaled = b.mul(received, b.reshape(scale[0], placed)) if scale else received
        rows = b.reshape(scaled, (count, length))
        along = b.mean(b.mul(rows, standard), (1,), keepdims=True)
        left = b.sub(rows, b.mul(standard, along))
        if norm.centred:
            left = b.sub(left, b.mean(rows, (1,), keepdims=True))
        return (b.reshape(b.div(left, deviation), x.type.shape), *to_parameters)

    def numpy(self, c: NumpyLowering) -> None:
        type = c.input_types[1]
        (count, length), (whole, placed) = self.norm.rows(type), self.norm.grid(type)
        gradient, standard = row_major(c, 0), c.scratch(type)
        deviation = numpy_standardise(c, self.norm, type, row_major(c, 1), standard)
        self._to_parameters(c, gradient, standard)
        out = c.outputs[0]
        if len(c.inputs) > 2:
            grid = f"reshape({c.shape(whole)})"
            scale = c.view(row_major(c, 2), f"reshape({c.shape(placed)})")
            c.line(f"np.multiply({c.view(gradient, grid)}, {scale}, out={c.view(out, grid)})")
            gradient = out
        rows = f"reshape({c.shape((count, length))})"
        gradient, standard, out = (c.view(array, rows) for array in (gradient, standard, out))
        along, mean = (c.scratch(type.with_shape((count, 1))) for _ in range(2))
        c.line(f"np.vecdot({gradient}, {standard}, out={c.view(along, 'reshape(-1)')})")
        c.line(f"np.multiply({along}, {number(c, f'1/{c.dim(length)}', type.dtype)}, out={along})")
        if self.norm.centred:
            share = filled(c, length, f"1/{c.dim(length)}", type.dtype)
            c.line(f"np.dot({gradient}, {share}, out={c.view(mean, 'reshape(-1)')})")
        c.line(f"np.multiply({standard}, {along}, out={standard})")
        c.line(f"np.subtract({gradient}, {standard}, out={out})")
        if self.norm.centred:
            c.line(f"np.subtract({out}, {mean}, out={out})")
        c.line(f"np.divide({out}, {deviation}, out={out})")

    def _to_parameters(self, c: NumpyLowering, gradient: str, standard: str) -> None:
        """Write the sums over what scale and bias were repeated over, as far as there are any."""
        type = c.input_types[1]
        whole, _ = self.norm.grid(type)
        results = list(zip(c.outputs[1:], (True, False), strict=False))
        if len(whole) == 2:
            flat = f"reshape({c.shape(whole)})"
            gradient, standard = c.view(gradient, flat), c.view(standard, flat)
            for result, product in results:
                out = c.view(result, "reshape(-1)")
                if product:
                    sum_products(c, gradient, standard, type.with_shape(whole), out)
                else:
                    c.line(f"np.dot({filled(c, whole[0], '1', type.dtype)}, {gradient}, out={out})")
            return
        for result, product in results:
            sum_channels(c, gradient, standard if product else "", whole, type.dtype, result)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        norms = (norm for norm in registry().values() if issubclass(norm, RowNorm))
        return [_gradient_sample(sample) for norm in norms for sample in norm.samples()]


def _gradient_sample(sample: Sample) -> Sample:
    norm, (x, *parameters) = sample.operation, sample.operands
    assert isinstance(norm, RowNorm)
    operation = RowNormGradient(norm, 1 + len(parameters))
    values = sample.values and (np.sign(sample.values[0]), *sample.values[:2])
    return replace(sample, operation=operation, operands=(x, x, *parameters[:1]), values=values)
