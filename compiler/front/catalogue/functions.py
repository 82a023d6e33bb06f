"""Functions: arithmetic by name, random tensors, penalties. They have no weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from compiler.front.catalogue.entry import (
    ArgumentError,
    Context,
    Dim,
    ModelWeights,
    Operand,
    Value,
    entry,
)
from compiler.ir.types import DType


@entry("function")
def stop_gradient(c: Context, x: Value) -> Value:
    """x itself, through which no gradient flows back."""
    return c.b.stop_gradient(x)


@entry("function")
def exp(c: Context, x: Value) -> Value:
    """e to the power of each element."""
    return c.b.exp(x)


@entry("function")
def log(c: Context, x: Value) -> Value:
    """The natural logarithm of each element."""
    return c.b.log(x)


@entry("function")
def sqrt(c: Context, x: Value) -> Value:
    """The square root of each element."""
    return c.b.sqrt(x)


@entry("function")
def square(c: Context, x: Value) -> Value:
    """Each element times itself."""
    return c.b.square(x)


@entry("function")
def abs(c: Context, x: Value) -> Value:
    """Each element without its sign."""
    return c.b.abs(x)


@entry("function")
def maximum(c: Context, a: Operand, b: Operand) -> Value:
    """The larger of the two, element by element; one of them may be a number."""
    _one_is_a_tensor("maximum", a, b)
    return c.b.maximum(a, b)


@entry("function")
def minimum(c: Context, a: Operand, b: Operand) -> Value:
    """The smaller of the two, element by element; one of them may be a number."""
    _one_is_a_tensor("minimum", a, b)
    return c.b.minimum(a, b)


@entry("function")
def select(c: Context, condition: Value, then: Operand, otherwise: Operand) -> Value:
    """``then`` where the condition holds, ``otherwise`` elsewhere, element by element."""
    b = c.b
    if isinstance(then, Value):
        return b.select(condition, then, otherwise)
    if isinstance(otherwise, Value):
        return b.select(condition, b.scalar(then, otherwise.type.dtype), otherwise)
    return b.select(condition, b.scalar(then, DType.F32), b.scalar(otherwise, DType.F32))


@entry("function")
def sum(c: Context, x: Value, *axis: int, keep: bool = False) -> Value:
    """The sum over the given dimensions, or over all; ``keep=true`` keeps them with size 1."""
    return c.b.sum(x, _axes(x, axis), keep)


@entry("function")
def mean(c: Context, x: Value, *axis: int, keep: bool = False) -> Value:
    """The mean over the given dimensions, or over all; ``keep=true`` keeps them with size 1."""
    return c.b.mean(x, _axes(x, axis), keep)


@entry("function")
def max(c: Context, x: Value, *axis: int, keep: bool = False) -> Value:
    """The largest element over the given dimensions, or over all."""
    return c.b.max(x, _axes(x, axis), keep)


@entry("function")
def min(c: Context, x: Value, *axis: int, keep: bool = False) -> Value:
    """The smallest element over the given dimensions, or over all."""
    return c.b.min(x, _axes(x, axis), keep)


@entry("function")
def argmax(c: Context, x: Value, axis: int = -1) -> Value:
    """The position of the largest element along ``axis``, the first of equal ones, as i64."""
    (checked,) = _axes(x, (axis,)) or (axis,)
    return c.b.argmax(x, checked)


@entry("function")
def concat(c: Context, *values: Value, axis: int = 1) -> Value:
    """The values side by side along ``axis``; all their other sizes have to be the same."""
    if not values:
        raise ArgumentError("values", "concat needs at least one value")
    _axes(values[0], (axis,))
    return c.b.concat(values, axis)


@entry("function")
def transpose(c: Context, x: Value, *permutation: int) -> Value:
    """Dimensions in another order: ``transpose(0, 2, 1)``; without arguments the last two change places."""
    rank = x.type.rank
    if not permutation:
        if rank < 2:
            raise ArgumentError("x", f"transpose takes at least two dimensions, not {x.type}")
        permutation = (*range(rank - 2), rank - 1, rank - 2)
    if sorted(permutation) != list(range(rank)):
        shown = ", ".join(map(str, permutation))
        raise ArgumentError("permutation", f"({shown}) is not an order of the {rank} dimensions of {x.type}")
    return c.b.transpose(x, permutation)


@entry("function")
def normal(c: Context, *shape: Dim, mean: float = 0.0, deviation: float = 1.0) -> Value:
    """Normally distributed random f32 numbers of the given shape, new ones at each step."""
    return c.b.normal(_sizes(shape), *c.random(), mean, deviation)


@entry("function")
def uniform(c: Context, *shape: Dim, low: float = 0.0, high: float = 1.0) -> Value:
    """Random f32 numbers of the given shape, uniform from ``low`` up to ``high``, new ones at each step."""
    return c.b.uniform(_sizes(shape), *c.random(), low, high)


@entry("function")
def l2(c: Context, model: ModelWeights) -> Value:
    """The sum of the squares of the kernels of a model, or of a labelled part of one; biases are left out, as is usual.

    Added to a loss as ``1e-4 * l2(Digits)`` or ``1e-4 * l2(Digits.head)``. There is no factor 1/2: the gradient of a
    weight w is 2w.
    """
    return _total(c, model, c.b.square)


@entry("function")
def l1(c: Context, model: ModelWeights) -> Value:
    """The sum of the absolute values of a model's kernels, or of a part's; biases are left out, as is usual."""
    return _total(c, model, c.b.abs)


def _total(c: Context, model: ModelWeights, term: Callable[[Value], Value]) -> Value:
    if not model.decaying:
        raise ArgumentError("model", f"{model.name} has no kernels to regularise")
    return reduce(c.b.add, (c.b.sum(term(weight)) for weight in model.decaying))


def _one_is_a_tensor(name: str, a: Operand, b: Operand) -> None:
    if not isinstance(a, Value) and not isinstance(b, Value):
        text = f"{name} compares tensors, and {a} and {b} are both numbers"
        raise ArgumentError("b", text, help=(f"choose between constants with if: {a} if {a} > {b} else {b}",))


def _axes(x: Value, axes: tuple[int, ...]) -> tuple[int, ...] | None:
    for axis in axes:
        if not -x.type.rank <= axis < x.type.rank:
            raise ArgumentError("axis", f"{x.type} has no dimension {axis}")
    return axes or None


def _sizes(shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    for dim in shape:
        if isinstance(dim, int) and dim < 1:
            raise ArgumentError("shape", f"a size is at least 1, not {dim}")
    return shape
