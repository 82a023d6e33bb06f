"""The vocabulary: a builder with one short method for each operation, which gradients, layers and passes write in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, overload

import numpy as np

from compiler.ir.builder import Builder
from compiler.ir.dims import Dim
from compiler.ir.graph import Operation, Value
from compiler.ir.types import DType, TypeMismatch
from compiler.ops import activation, along, choose, clip, compare, elementwise, normalise, reduce, unary
from compiler.ops.avg_pool import AvgPool
from compiler.ops.base import Array
from compiler.ops.broadcast import broadcast_axes
from compiler.ops.checks import normal_axes, normal_axis
from compiler.ops.constant import Constant, Size
from compiler.ops.conv import Conv, ConvTranspose
from compiler.ops.convert import Cast, StopGradient
from compiler.ops.ctc import Ctc
from compiler.ops.erf import Erf
from compiler.ops.extend import Extend
from compiler.ops.gather import Gather, ScatterAdd
from compiler.ops.matmul import MatMul
from compiler.ops.pool import MaxPool
from compiler.ops.positions import Arange
from compiler.ops.random import RandomBits, RandomKeep, RandomUniform
from compiler.ops.resize import Resize
from compiler.ops.shape import Expand, Reshape, Transpose
from compiler.ops.slice import Concat, Pad, Slice
from compiler.ops.split import Split
from compiler.ops.window import Window

# A tensor, or a number that becomes a constant of the other operand's element type.
Operand: TypeAlias = Value | float


class Emit(Builder):
    """A builder that speaks in operations.

    Where several operands broadcast together, one of them at least is a value, and numbers take its element type.
    Axes may count from the end. What would change nothing (a reshape to the same shape, a sum over no axes…) adds
    no node. Operands that do not fit raise TypeMismatch.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._scalars: dict[tuple[DType, str], Value] = {}

    # Values without operands.

    def constant(self, array: Array) -> Value:
        return self.add(Constant(array))

    def scalar(self, number: float, dtype: DType) -> Value:
        """A 0-d constant, which is the same one for the same number. Raises TypeMismatch for a number that ``dtype``
        does not have: a fraction, or too large."""
        key = dtype, repr(number)
        known = self._scalars.get(key)
        # What stood for it may have been taken back since.
        if known is None or self.producer(known) is None:
            known = self._scalars[key] = self.constant(_scalar(number, dtype))
        return known

    def size(self, dim: Dim, dtype: DType = DType.I64) -> Value:
        """The size of a dimension as a 0-d value."""
        return self.scalar(dim, dtype) if isinstance(dim, int) else self.add(Size(dim, dtype))

    def arange(self, length: Dim, dtype: DType = DType.I64) -> Value:
        """0, 1, … up to, not including, ``length``."""
        return self.add(Arange(length, dtype))

    # Arithmetic.

    @overload
    def add(self, operation: Operation, *inputs: Value) -> Value: ...

    @overload
    def add(self, operation: Operand, *inputs: Operand) -> Value: ...

    def add(self, operation: Operation | Operand, *inputs: Operand) -> Value:
        """``a + b``; or, as every builder has it, a node for an operation."""
        if isinstance(operation, Operation):
            return super().add(operation, *(value for value in inputs if isinstance(value, Value)))
        return self._broadcast(elementwise.Add(), operation, *inputs)

    def sub(self, a: Operand, b: Operand) -> Value:
        return self._broadcast(elementwise.Subtract(), a, b)

    def mul(self, a: Operand, b: Operand) -> Value:
        return self._broadcast(elementwise.Multiply(), a, b)

    def div(self, a: Operand, b: Operand) -> Value:
        """``a / b`` of floats."""
        return self._broadcast(elementwise.Divide(), a, b)

    def pow(self, a: Operand, b: Operand) -> Value:
        """``a ** b`` of floats."""
        return self._broadcast(elementwise.Power(), a, b)

    def maximum(self, a: Operand, b: Operand) -> Value:
        return self._broadcast(elementwise.Maximum(), a, b)

    def minimum(self, a: Operand, b: Operand) -> Value:
        return self._broadcast(elementwise.Minimum(), a, b)

    def mod(self, a: Operand, b: Operand) -> Value:
        """The floor modulo, of the sign of ``b``."""
        return self._broadcast(elementwise.Modulo(), a, b)

    def neg(self, x: Value) -> Value:
        return self.add(unary.Negative(), x)

    def abs(self, x: Value) -> Value:
        return self.add(unary.Absolute(), x)

    def sign(self, x: Value) -> Value:
        return self.add(unary.Sign(), x)

    def exp(self, x: Value) -> Value:
        return self.add(unary.Exp(), x)

    def log(self, x: Value) -> Value:
        return self.add(unary.Log(), x)

    def log1p(self, x: Value) -> Value:
        """``log(1 + x)``, exact near 0."""
        return self.add(unary.Log1p(), x)

    def expm1(self, x: Value) -> Value:
        """``exp(x) - 1``, exact near 0."""
        return self.add(unary.Expm1(), x)

    def sqrt(self, x: Value) -> Value:
        return self.add(unary.Sqrt(), x)

    def square(self, x: Value) -> Value:
        return self.add(unary.Square(), x)

    def reciprocal(self, x: Value) -> Value:
        return self.add(unary.Reciprocal(), x)

    def sin(self, x: Value) -> Value:
        return self.add(unary.Sin(), x)

    def cos(self, x: Value) -> Value:
        return self.add(unary.Cos(), x)

    def erf(self, x: Value) -> Value:
        return self.add(Erf(), x)

    def floor(self, x: Value) -> Value:
        return self.add(unary.Floor(), x)

    def ceil(self, x: Value) -> Value:
        return self.add(unary.Ceil(), x)

    def round(self, x: Value) -> Value:
        """To the nearest whole number, halves to the even one."""
        return self.add(unary.Round(), x)

    # Activations.

    def tanh(self, x: Value) -> Value:
        return self.add(activation.Tanh(), x)

    def sigmoid(self, x: Value) -> Value:
        return self.add(activation.Sigmoid(), x)

    def relu(self, x: Value) -> Value:
        return self.add(activation.Relu(), x)

    def softplus(self, x: Value) -> Value:
        return self.add(activation.Softplus(), x)

    def leaky_relu(self, x: Value, slope: float = 0.01) -> Value:
        return self.add(activation.LeakyRelu(slope), x)

    def elu(self, x: Value, alpha: float = 1.0) -> Value:
        return self.add(activation.Elu(alpha), x)

    def gelu(self, x: Value, approximate: str = "none") -> Value:
        """``approximate`` is "none" or "tanh"."""
        return self.add(activation.Gelu(approximate), x)

    def silu(self, x: Value) -> Value:
        return self.add(activation.Silu(), x)

    def selu(self, x: Value) -> Value:
        return self.add(clip.Selu(), x)

    def softsign(self, x: Value) -> Value:
        return self.add(clip.Softsign(), x)

    def hard_sigmoid(self, x: Value) -> Value:
        return self.add(clip.HardSigmoid(), x)

    def prelu(self, x: Value, slope: Value) -> Value:
        """``slope`` broadcasts to the shape of ``x``."""
        return self.add(clip.PRelu(), x, slope)

    def clip(self, x: Value, low: float, high: float) -> Value:
        return self.add(clip.Clip(low, high), x)

    def softmax(self, x: Value, axis: int = -1) -> Value:
        return self.add(normalise.Softmax(axis), x)

    def log_softmax(self, x: Value, axis: int = -1) -> Value:
        return self.add(normalise.LogSoftmax(axis), x)

    def ctc(self, logarithms: Value, labels: Value, lengths: Value, counts: Value, blank: int) -> Value:
        """-log p of each sequence's labels [N]; the operands are those of :class:`compiler.ops.ctc.Ctc`."""
        return self.add_node(Ctc(blank), (logarithms, labels, lengths, counts))[0]

    # Comparisons and choices.

    def equal(self, a: Operand, b: Operand) -> Value:
        return self._broadcast(compare.Equal(), a, b)

    def not_equal(self, a: Operand, b: Operand) -> Value:
        return self._broadcast(compare.NotEqual(), a, b)

    def less(self, a: Operand, b: Operand) -> Value:
        return self._broadcast(compare.Less(), a, b)

    def less_equal(self, a: Operand, b: Operand) -> Value:
        return self._broadcast(compare.LessEqual(), a, b)

    def greater(self, a: Operand, b: Operand) -> Value:
        return self._broadcast(compare.Greater(), a, b)

    def greater_equal(self, a: Operand, b: Operand) -> Value:
        return self._broadcast(compare.GreaterEqual(), a, b)

    def logical_and(self, a: Value, b: Value) -> Value:
        return self.add(compare.LogicalAnd(), a, b)

    def logical_or(self, a: Value, b: Value) -> Value:
        return self.add(compare.LogicalOr(), a, b)

    def logical_not(self, a: Value) -> Value:
        return self.add(compare.LogicalNot(), a)

    def select(self, condition: Value, a: Operand, b: Operand) -> Value:
        """``a`` where the condition holds, ``b`` elsewhere."""
        return self.add(choose.Select(), condition, *self._values(a, b))

    def mask(self, x: Value, condition: Value) -> Value:
        """``x`` where the condition holds, 0 elsewhere, as the product of the two: NaN for an infinite x times 0."""
        return self.add(choose.Mask(), x, condition)

    # Products and reductions. ``axes`` is all of them where it is not given.

    def matmul(self, a: Value, b: Value) -> Value:
        """``numpy.matmul`` of operands with at least two axes each."""
        return self.add(MatMul(), a, b)

    def sum(self, x: Value, axes: Sequence[int] | None = None, keepdims: bool = False) -> Value:
        return self._reduce(reduce.Sum, x, axes, keepdims)

    def mean(self, x: Value, axes: Sequence[int] | None = None, keepdims: bool = False) -> Value:
        return self._reduce(reduce.Mean, x, axes, keepdims)

    def max(self, x: Value, axes: Sequence[int] | None = None, keepdims: bool = False) -> Value:
        return self._reduce(reduce.Max, x, axes, keepdims)

    def min(self, x: Value, axes: Sequence[int] | None = None, keepdims: bool = False) -> Value:
        return self._reduce(reduce.Min, x, axes, keepdims)

    def argmax(self, x: Value, axis: int = -1) -> Value:
        """The index (i64) of the largest element along the axis, which is gone from the result."""
        return self.add(reduce.ArgMax(axis), x)

    # Shapes.

    def reshape(self, x: Value, shape: Sequence[Dim]) -> Value:
        return x if x.type.shape == tuple(shape) else self.add(Reshape(tuple(shape)), x)

    def transpose(self, x: Value, permutation: Sequence[int]) -> Value:
        axes = tuple(normal_axis("transpose", x.type, axis) for axis in permutation)
        return x if axes == tuple(range(x.type.rank)) else self.add(Transpose(axes), x)

    def slice(self, x: Value, starts: Sequence[Dim], stops: Sequence[Dim], steps: Sequence[int] | None = None) -> Value:
        """One range for each axis, ``0 <= start <= stop <= size``; the steps are 1 where not given."""
        operation = Slice(tuple(starts), tuple(stops), (1,) * len(starts) if steps is None else tuple(steps))
        whole = operation == Slice((0,) * x.type.rank, x.type.shape, (1,) * x.type.rank)
        return x if whole else self.add(operation, x)

    def pad(self, x: Value, before: Sequence[Dim], after: Sequence[Dim], value: float = 0.0) -> Value:
        """One amount for each axis and side."""
        nothing = all(amount == 0 for amount in (*before, *after)) and len(before) == len(after) == x.type.rank
        return x if nothing else self.add(Pad(tuple(before), tuple(after), value), x)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        return self.add(Concat(axis), *values)

    def split(self, x: Value, sizes: Sequence[Dim], axis: int) -> tuple[Value, ...]:
        """The parts with these sizes along the axis."""
        return self.add_node(Split(normal_axis("split", x.type, axis), tuple(sizes)), (x,))

    def expand(self, x: Value, shape: Sequence[Dim]) -> Value:
        """The operand repeated to ``shape`` by the rule of broadcasting."""
        return x if x.type.shape == tuple(shape) else self.add(Expand(tuple(shape)), x)

    def sum_to(self, x: Value, shape: Sequence[Dim]) -> Value:
        """The inverse of broadcasting from ``shape``: the sum over the axes that it repeated."""
        axes = broadcast_axes(tuple(shape), x.type.shape)
        return self.reshape(self.sum(x, axes), shape)

    # Windows that slide over the axes behind samples and channels.

    def conv(self, x: Value, weight: Value, bias: Value | None, window: Window, groups: int = 1) -> Value:
        """``weight`` is [outputs, inputs / groups, *kernel]."""
        return self.add(Conv(*window.moves, groups), x, weight, *([] if bias is None else [bias]))

    def conv_transpose(
        self, x: Value, weight: Value, bias: Value | None, window: Window, groups: int, size: Sequence[Dim]
    ) -> Value:
        """The gradient of a convolution to its x, of ``size``; ``weight`` is [inputs, outputs / groups, *kernel]."""
        operation = ConvTranspose(*window.moves, groups, tuple(size))
        return self.add(operation, x, weight, *([] if bias is None else [bias]))

    def max_pool(self, x: Value, window: Window) -> Value:
        return self.add(MaxPool(window.kernel, *window.moves), x)

    def avg_pool(self, x: Value, window: Window, count_padding: bool = True) -> Value:
        """``window`` has no dilations."""
        return self.add(AvgPool(window.kernel, window.strides, window.before, window.after, count_padding), x)

    def resize(self, x: Value, size: Sequence[Dim], mode: str) -> Value:
        """``mode`` is "nearest", "linear" or "corners"."""
        return x if x.type.shape[2:] == tuple(size) else self.add(Resize(tuple(size), mode), x)

    def extend(self, x: Value, before: Sequence[int], after: Sequence[int], mode: str) -> Value:
        """One amount for each axis and side; ``mode`` is "edge" or "reflect"."""
        return self.add(Extend(tuple(before), tuple(after), mode), x) if any((*before, *after)) else x

    # Element types, indices and random numbers.

    def cast(self, x: Value, dtype: DType) -> Value:
        return x if x.type.dtype is dtype else self.add(Cast(dtype), x)

    def stop_gradient(self, x: Value) -> Value:
        return self.add(StopGradient(), x)

    def gather(self, x: Value, indices: Value, axis: int = 0) -> Value:
        """``numpy.take(x, indices, axis)``."""
        return self.add(Gather(normal_axis("gather from", x.type, axis)), x, indices)

    def scatter_add(self, shape: Sequence[Dim], indices: Value, updates: Value, axis: int = 0) -> Value:
        """Zeros of ``shape``, and the updates added where a gather with these indices would read.

        ``axis`` counts from 0.
        """
        return self.add(ScatterAdd(tuple(shape), axis), indices, updates)

    def take_along(self, x: Value, indices: Value, axis: int) -> Value:
        """``numpy.take_along_axis(x, indices, axis)``; all sizes but that of the axis are the same."""
        return self.add(along.TakeAlong(normal_axis("take elements of", x.type, axis)), x, indices)

    def scatter_along(self, shape: Sequence[Dim], indices: Value, updates: Value, axis: int) -> Value:
        """Zeros of ``shape``, and the updates added where a take_along with these indices would read.

        ``axis`` counts from 0.
        """
        return self.add(along.ScatterAlong(tuple(shape), axis), indices, updates)

    def one_hot(self, indices: Value, size: int, dtype: DType = DType.F32) -> Value:
        """A vector of ``size`` for each index, along a new last axis."""
        return self.add(along.OneHot(size, dtype), indices)

    def random_bits(self, shape: Sequence[Dim], seed: Value, counter: Value, stream: int) -> Value:
        """u32 bits; seed and counter are i64 scalars, ``stream`` is a number of this use of theirs."""
        return self.add(RandomBits(tuple(shape), stream), seed, counter)

    def random_keep(self, shape: Sequence[Dim], seed: Value, counter: Value, stream: int, rate: float) -> Value:
        """Truth values of which the share ``rate`` does not hold, by chance."""
        return self.add(RandomKeep(tuple(shape), stream, rate=rate), seed, counter)

    def uniform(
        self,
        shape: Sequence[Dim],
        seed: Value,
        counter: Value,
        stream: int,
        low: float = 0.0,
        high: float = 1.0,
        dtype: DType = DType.F32,
    ) -> Value:
        """Floats evenly distributed over ``low <= x < high`` (rounding may reach ``high`` where ``low`` is not 0)."""
        return self.add(RandomUniform(tuple(shape), stream, 0, dtype, low, high), seed, counter)

    def normal(
        self,
        shape: Sequence[Dim],
        seed: Value,
        counter: Value,
        stream: int,
        mean: float = 0.0,
        deviation: float = 1.0,
        dtype: DType = DType.F32,
    ) -> Value:
        """Normally distributed floats by the method of Box and Muller, from two uniform draws each."""
        first, second = (self.add(RandomUniform(tuple(shape), stream, word, dtype), seed, counter) for word in (0, 1))
        # The uniform draw can be 0 but never 1, and the logarithm takes the contrary.
        radius = self.sqrt(self.mul(self.log(self.sub(1, first)), -2 * deviation**2))
        drawn = self.mul(radius, self.cos(self.mul(second, 2 * math.pi)))
        return drawn if mean == 0 else self.add(drawn, mean)

    # How numbers become values.

    def _broadcast(self, operation: Operation, *operands: Operand) -> Value:
        return self.add(operation, *self._values(*operands))

    def _values(self, *operands: Operand) -> tuple[Value, ...]:
        dtype = next((operand.type.dtype for operand in operands if isinstance(operand, Value)), None)
        if dtype is None:
            raise ValueError(f"one of the operands {operands} has to be a value")
        return tuple(operand if isinstance(operand, Value) else self.scalar(operand, dtype) for operand in operands)

    def _reduce(self, operation: type[reduce.Reduction], x: Value, axes: Sequence[int] | None, keepdims: bool) -> Value:
        every = range(x.type.rank) if axes is None else axes
        chosen = normal_axes(operation.verb, x.type, every)
        return self.add(operation(chosen, keepdims), x) if chosen else x


def _scalar(number: float, dtype: DType) -> Array:
    if not dtype.is_float and number != int(number):
        raise TypeMismatch(
            "E0303",
            f"cannot write {number} as {dtype}: it is not a whole number",
            f"the tensor that it meets is {dtype}",
            ("convert the tensor that it meets first, with cast(f32)",),
        )
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.asarray(number).astype(dtype.numpy)
    if int(array) != number if dtype.is_integer else np.isinf(array) and math.isfinite(number):
        raise TypeMismatch("E0303", f"cannot write {number} as {dtype}", f"it is beyond what {dtype} can hold")
    return array
