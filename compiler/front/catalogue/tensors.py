"""Functions on tensors: mathematics by name, indices, shapes."""

from __future__ import annotations

from compiler.front.catalogue import functions
from compiler.front.catalogue.entry import ArgumentError, Context, Dim, DType, Value, entry
from compiler.ir.types import TypeMismatch
from compiler.ops.cumsum import CumSum

entry("function", "where")(functions.select)


@entry("function")
def sign(c: Context, x: Value) -> Value:
    """-1, 0 or 1 for each element, by its sign."""
    return c.b.sign(x)


@entry("function")
def floor(c: Context, x: Value) -> Value:
    """The largest whole number that is not above each element."""
    return c.b.floor(x)


@entry("function")
def ceil(c: Context, x: Value) -> Value:
    """The smallest whole number that is not below each element."""
    return c.b.ceil(x)


@entry("function")
def round(c: Context, x: Value) -> Value:
    """The nearest whole number to each element, the even one for halves."""
    return c.b.round(x)


@entry("function")
def sin(c: Context, x: Value) -> Value:
    """The sine of each element, in radians."""
    return c.b.sin(x)


@entry("function")
def cos(c: Context, x: Value) -> Value:
    """The cosine of each element, in radians."""
    return c.b.cos(x)


@entry("function")
def erf(c: Context, x: Value) -> Value:
    """The error function of each element."""
    return c.b.erf(x)


@entry("function")
def log1p(c: Context, x: Value) -> Value:
    """log(1 + x) of each element, exact near 0."""
    return c.b.log1p(x)


@entry("function")
def expm1(c: Context, x: Value) -> Value:
    """exp(x) - 1 of each element, exact near 0."""
    return c.b.expm1(x)


@entry("function")
def clip(c: Context, x: Value, low: float, high: float) -> Value:
    """Each element, but no less than ``low`` and no more than ``high``; where it is cut the gradient is 0."""
    if low > high:
        raise ArgumentError("low", f"clip takes the lower bound first: {low} is above {high}")
    if not x.type.dtype.is_float and not (low.is_integer() and high.is_integer()):
        raise ArgumentError("low", f"{x.type} is clipped to whole numbers, not to {low} and {high}")
    return c.b.clip(x, low, high)


@entry("function")
def arange(c: Context, length: Dim, dtype: DType = DType.I64) -> Value:
    """0, 1, 2, … up to, not including, ``length``, which may be a symbol: ``arange(T)``."""
    return c.b.arange(length, dtype)


@entry("function")
def one_hot(c: Context, x: Value, classes: int, dtype: DType = DType.F32) -> Value:
    """A vector of ``classes`` elements for each index, 1 at the index and 0 elsewhere, along a new last dimension."""
    if classes < 1:
        raise ArgumentError("classes", f"one_hot needs at least one class, not {classes}")
    c.index_range(x, classes)
    return c.b.one_hot(x if x.type.dtype is DType.I32 else _indices(c, x, "one_hot"), classes, dtype)


@entry("function")
def gather(c: Context, x: Value, indices: Value, axis: int = 0) -> Value:
    """The slices of x along ``axis`` that ``indices`` name, in their order: dimension ``axis`` gives way to theirs.

    As numpy.take. Indices count from 0.
    """
    _check_axis(x, axis)
    c.index_range(indices, x.type.shape[axis])
    return c.b.gather(x, _indices(c, indices, "gather"), axis)


@entry("function")
def take_along(c: Context, x: Value, indices: Value, axis: int = -1) -> Value:
    """For each place the element of x along ``axis`` that the index there names; all other sizes are the same.

    As numpy.take_along_axis. Indices count from 0.
    """
    _check_axis(x, axis)
    c.index_range(indices, x.type.shape[axis])
    return c.b.take_along(x, _indices(c, indices, "take_along"), axis)


def _indices(c: Context, indices: Value, function: str) -> Value:
    if not indices.type.dtype.is_integer:
        raise TypeMismatch(
            "E0303",
            f"{function} takes indices, which are whole numbers, not {indices.type}",
            f"this is {indices.type.dtype}",
            ("convert them: cast(i64)",),
        )
    return indices if indices.type.dtype is DType.I32 else c.b.cast(indices, DType.I64)


@entry("function")
def cumsum(c: Context, x: Value, axis: int = -1) -> Value:
    """The sum of the elements up to and including each, along ``axis``."""
    _check_axis(x, axis)
    return c.b.add(CumSum(axis), x)


@entry("function")
def expand(c: Context, x: Value, *shape: Dim) -> Value:
    """x repeated to ``shape`` along dimensions of size 1, and along new ones in front."""
    return c.b.expand(x, shape)


@entry("function")
def stack(c: Context, *values: Value, axis: int = 0) -> Value:
    """The values, which have one shape, side by side along a new dimension ``axis``."""
    if not values:
        raise ArgumentError("values", "stack needs at least one value")
    place = _new_axis(values[0], axis)
    return c.b.concat([unsqueeze(c, value, place) for value in values], place)


@entry("function")
def unsqueeze(c: Context, x: Value, axis: int) -> Value:
    """x with a new dimension of size 1 at ``axis``."""
    place = _new_axis(x, axis)
    return c.b.reshape(x, (*x.type.shape[:place], 1, *x.type.shape[place:]))


def _new_axis(x: Value, axis: int) -> int:
    rank = x.type.rank + 1
    if not -rank <= axis < rank:
        raise ArgumentError("axis", f"a new dimension of {x.type} stands at 0 to {rank - 1}, not at {axis}")
    return axis % rank


@entry("function")
def squeeze(c: Context, x: Value, *axis: int) -> Value:
    """x without the dimensions ``axis``, which have size 1; without arguments, without all that have."""
    for place in axis:
        _check_axis(x, place)
        if x.type.shape[place] != 1:
            raise ArgumentError("axis", f"dimension {place} of {x.type} is {x.type.shape[place]}, not 1")
    gone = [place % x.type.rank for place in axis] if axis else [i for i, dim in enumerate(x.type.shape) if dim == 1]
    return c.b.reshape(x, tuple(dim for place, dim in enumerate(x.type.shape) if place not in gone))


def _check_axis(x: Value, axis: int) -> None:
    if not -x.type.rank <= axis < x.type.rank:
        raise ArgumentError("axis", f"{x.type} has no dimension {axis}")
