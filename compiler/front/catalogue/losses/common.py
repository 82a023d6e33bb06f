"""What losses and metrics have in common: checks of operands, labels, logarithms of probabilities, masked means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from compiler.front.catalogue.entry import ArgumentError, Context, Numbers, Operand, Value
from compiler.front.catalogue.layers import need_float
from compiler.ir.dims import Dim, equal
from compiler.ir.types import DType, TypeMismatch
from compiler.ops.emit import Emit
from compiler.ops.shape import shape_text

Given: TypeAlias = Literal["auto", "logits", "probabilities"]


def made_by(b: Emit, x: Value, opcode: str) -> bool:
    """Whether ``x`` is the result of the operation ``opcode``, views in between aside."""
    while (node := b.producer(x)) is not None:
        if node.operation.opcode in ("reshape", "stop_gradient"):
            x = node.inputs[0]
        else:
            return node.operation.opcode == opcode
    return False


def are_probabilities(b: Emit, x: Value, given: Given, opcode: str) -> bool:
    """Whether ``x`` is to be taken for probabilities, which ``opcode`` (softmax or sigmoid) makes."""
    return given == "probabilities" or (given == "auto" and made_by(b, x, opcode))


def operand(b: Emit, x: Value, other: Operand) -> Value:
    """``other`` as a value: a number becomes a constant of the dtype of ``x``."""
    return other if isinstance(other, Value) else b.scalar(other, x.type.dtype)


def same_shape(loss: str, x: Value, target: Value) -> None:
    """TypeMismatch unless both have one shape: broadcasting in a loss hides mistakes."""
    known = [equal(a, b) for a, b in zip(x.type.shape, target.type.shape, strict=False)]
    if x.type.rank == target.type.rank and all(known):
        return
    code = "E0302" if x.type.rank == target.type.rank and False not in known else "E0301"
    raise TypeMismatch(
        code,
        f"{loss} compares {x.type} with {target.type}",
        "both have to have the same shape",
        ("a loss does not broadcast: reshape one of them",),
    )


def same_dtype(loss: str, x: Value, target: Value) -> None:
    """TypeMismatch unless both have one element type."""
    if x.type.dtype != target.type.dtype:
        raise TypeMismatch(
            "E0303",
            f"{loss} compares {x.type} with {target.type}",
            f"{x.type.dtype} and {target.type.dtype} are different element types",
            (f"convert the target: cast({x.type.dtype})",),
        )


def comparable(loss: str, x: Value, target: Operand) -> None:
    """TypeMismatch unless ``x`` holds floats and ``target`` is a number or a tensor of the same type."""
    need_float(x, loss)
    if isinstance(target, Value):
        same_dtype(loss, x, target)
        same_shape(loss, x, target)


def checked_axis(x: Value, axis: int) -> int:
    """``axis`` counted from 0. ArgumentError where ``x`` has no such dimension."""
    if not -x.type.rank <= axis < x.type.rank:
        raise ArgumentError("axis", f"{x.type} has no dimension {axis}")
    return axis % x.type.rank


def check_smoothing(smoothing: float) -> None:
    if not 0.0 <= smoothing < 1.0:
        raise ArgumentError("smoothing", f"label smoothing lies from 0 up to, not including, 1: {smoothing} does not")


def check_positive(argument: str, value: float, what: str) -> None:
    """ArgumentError unless ``value`` is above 0; NaN is not."""
    if not value > 0:
        raise ArgumentError(argument, f"{what} is above 0, not {value:g}")


def tiny(x: Value) -> float:
    """The smallest normal number of the dtype: keeps the logarithm of a probability finite."""
    return _SMALLEST[x.type.dtype]


_SMALLEST = {DType.F16: 2.0**-14, DType.BF16: 2.0**-126, DType.F32: 2.0**-126, DType.F64: 2.0**-1022}


# Logarithms of probabilities.


def class_logarithms(b: Emit, x: Value, given: Given, axis: int) -> Value:
    """log p of every class along ``axis``."""
    if are_probabilities(b, x, given, "softmax"):
        return b.log(b.maximum(x, tiny(x)))
    return b.log_softmax(x, axis)


def binary_logarithms(b: Emit, x: Value, given: Given) -> tuple[Value, Value]:
    """log p and log(1 - p), element by element, also where p is as good as 0 or 1."""
    if are_probabilities(b, x, given, "sigmoid"):
        return b.log(b.maximum(x, tiny(x))), b.log(b.maximum(b.sub(1.0, x), tiny(x)))
    return b.neg(b.softplus(b.neg(x))), b.neg(b.softplus(x))


# Labels of classes.


@dataclass(frozen=True, slots=True)
class Labels:
    """Class indices (i64), 0 where they are to be ignored; ``counted`` (bool) tells where not, None: everywhere."""

    indices: Value
    counted: Value | None
    classes: int


def are_labels(x: Value, target: Value) -> bool:
    """Whether ``target`` has the form of class indices for the scores ``x``, rather than of its elements."""
    return target.type.dtype.is_integer and target.type.rank == x.type.rank - 1


def class_labels(c: Context, what: str, x: Value, target: Value, axis: int, ignore: int | None = None) -> Labels:
    """The class indices ``target`` for the scores ``x``, which has the classes along ``axis`` (from 0).

    TypeMismatch for another shape or for what is no integer.
    """
    samples = without(x.type.shape, axis)
    if not target.type.dtype.is_integer:
        raise TypeMismatch(
            "E0303",
            f"{what} takes class indices as integers, not {target.type}",
            f"the target is {target.type.dtype}",
            ("declare the labels as i64, or convert them: cast(i64)",),
        )
    if target.type.rank != len(samples) or not all(map(equal, target.type.shape, samples)):
        wanted = x.type.with_shape(samples).with_dtype(target.type.dtype)
        raise TypeMismatch(
            "E0301",
            f"{what} of {x.type} takes class indices of the type {wanted}, not {target.type}",
            f"one index for each row of {x.type.shape[axis]} scores is needed",
        )
    classes = class_count(what, x, axis)
    c.index_range(target, classes, ignore)
    indices = c.b.cast(target, DType.I64)
    if ignore is None:
        return Labels(indices, None, classes)
    counted = c.b.not_equal(indices, ignore)
    return Labels(c.b.select(counted, indices, 0), counted, classes)


def class_count(what: str, x: Value, axis: int) -> int:
    """The number of classes. TypeMismatch where it is a symbol."""
    dim = x.type.shape[axis]
    if isinstance(dim, int):
        return dim
    raise TypeMismatch(
        "E0302",
        f"{what} needs a fixed number of classes, but {x.type} has {dim} of them",
        f"dimension {axis} is {dim}, which is known only when the model runs",
        ("give that dimension a number in the signature of the model",),
    )


def without(shape: tuple[Dim, ...], axis: int) -> tuple[Dim, ...]:
    """The shape without one of its dimensions."""
    return (*shape[:axis], *shape[axis + 1 :])


def at_labels(b: Emit, scores: Value, indices: Value, axis: int) -> Value:
    """The score of each sample's class; ``axis`` is gone from the result."""
    shape = scores.type.shape
    column = b.reshape(indices, (*shape[:axis], 1, *shape[axis + 1 :]))
    return b.reshape(b.take_along(scores, column, axis), without(shape, axis))


def class_weights(b: Emit, what: str, x: Value, axis: int, weights: Numbers | None) -> Value | None:
    """The weight of each class as a constant [classes] of the dtype of ``x``; ArgumentError where they do not fit."""
    if weights is None:
        return None
    classes = class_count(what, x, axis)
    if len(weights) != classes:
        raise ArgumentError(
            "weights",
            f"{what} has {len(weights)} weights for {classes} classes",
            f"{len(weights)} here",
            (f"{x.type} holds {classes} scores along dimension {axis}: give one weight for each",),
        )
    if not all(0 <= weight < np.inf for weight in weights) or not any(weights):
        raise ArgumentError("weights", f"the weights of {what} are numbers from 0 on, at least one of them above 0")
    return b.constant(np.array(weights, x.type.dtype.numpy))


# Means.


def mask_as(b: Emit, what: str, mask: Value, each: Value) -> Value:
    """The mask as factors for the elements; TypeMismatch unless its dimensions are the first of theirs."""
    shape, own = each.type.shape, mask.type.shape
    if not 1 <= len(own) <= len(shape) or not all(map(equal, own, shape)):
        raise TypeMismatch(
            "E0301",
            f"a mask {mask.type} does not fit what {what} takes the mean of, which is {each.type}",
            f"its dimensions have to be the first of {shape_text(shape)}",
            ("1 or true counts an element, 0 or false leaves it out",),
        )
    factors = b.reshape(b.cast(mask, each.type.dtype), (*own, *(1,) * (len(shape) - len(own))))
    return b.expand(factors, shape)


def mean_of(c: Context, what: str, each: Value, mask: Value | None) -> Value:
    """The mean of the elements, weighted by the mask where there is one."""
    if mask is None:
        return c.b.mean(each)
    factors = mask_as(c.b, what, mask, each)
    return share(c.b, c.b.mul(each, factors), factors)


def share(b: Emit, each: Value, factors: Value) -> Value:
    """The sum of the elements, divided by that of the factors; 0 where both are 0, so that a batch in which nothing
    counts teaches nothing."""
    return b.div(b.sum(each), b.maximum(b.sum(factors), tiny(each)))
