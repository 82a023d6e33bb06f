"""What metrics have in common: which samples count, and the classes that scores decide for."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.front.catalogue.entry import ArgumentError, Context, Value
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.losses.common import (
    Given,
    Labels,
    are_labels,
    are_probabilities,
    checked_axis,
    class_count,
    class_labels,
    mask_as,
    same_shape,
)
from compiler.ir.dims import Dim, product
from compiler.ir.types import DType
from compiler.ops.emit import Emit


@dataclass(frozen=True, slots=True)
class Decisions:
    """The class that was decided for and the true one, by sample (i64); ``counted`` is 1 where a sample counts and 0
    elsewhere (i64), None where all do. ``binary`` is for two classes told apart by one score."""

    predicted: Value
    truth: Value
    counted: Value | None
    classes: int
    binary: bool


def decisions(
    c: Context,
    metric: str,
    x: Value,
    target: Value,
    given: Given,
    axis: int,
    ignore: int | None,
    mask: Value | None,
) -> Decisions:
    """What the scores ``x`` decide.

    Class indices as ``target`` (one dimension fewer), or one-hot vectors of the shape of ``x``: the class of the
    largest score along ``axis``. One dimension, or one score along ``axis``, with a target of the same shape: two
    classes, on either side of 1/2 (logits: of 0).
    """
    b = c.b
    need_float(x, metric)
    if are_labels(x, target):
        axis = checked_axis(x, axis)
        labels = class_labels(c, metric, x, target, axis, ignore)
        return Decisions(
            b.argmax(x, axis), labels.indices, counted_samples(b, metric, labels, mask), labels.classes, False
        )
    same_shape(metric, x, target)
    axis = checked_axis(x, axis) if x.type.rank > 1 else 0
    if x.type.rank > 1 and x.type.shape[axis] != 1:
        if ignore is not None:
            title = f"a label can be ignored among class indices, but the target is {target.type}"
            raise ArgumentError("ignore", title)
        truth = b.argmax(target, axis)
        labels = Labels(truth, None, class_count(metric, x, axis))
        return Decisions(b.argmax(x, axis), truth, counted_samples(b, metric, labels, mask), labels.classes, False)
    border = 0.5 if are_probabilities(b, x, given, "sigmoid") else 0.0
    predicted = b.cast(b.greater(x, border), DType.I64)
    truth = b.cast(b.greater(b.cast(target, DType.F32), 0.5), DType.I64)
    counted = None if ignore is None else b.not_equal(b.cast(target, DType.I64), ignore)
    return Decisions(predicted, truth, counted_samples(b, metric, Labels(truth, counted, 2), mask), 2, True)


def counted_samples(b: Emit, metric: str, labels: Labels, mask: Value | None) -> Value | None:
    """1 for the samples that count and 0 for the others (i64), None where all do."""
    counted = None if labels.counted is None else b.cast(labels.counted, DType.I64)
    if mask is None:
        return counted
    chosen = mask if mask.type.dtype is DType.BOOL else b.not_equal(mask, 0)
    factors = mask_as(b, metric, chosen, labels.indices)
    return factors if counted is None else b.mul(counted, factors)


def sum_of_counted(b: Emit, hits: Value, counted: Value | None) -> tuple[Value, Value]:
    """How many of the samples that count are hits (bool), and how many count."""
    each = b.cast(hits, DType.I64)
    if counted is None:
        return b.sum(each), size(b, hits.type.shape)
    return b.sum(b.mul(each, counted)), b.sum(counted)


def size(b: Emit, shape: tuple[Dim, ...]) -> Value:
    """The number of elements of a shape."""
    return b.size(product(shape), DType.I64)


def ratio(b: Emit, total: Value, count: Value) -> Value:
    """``total / count``, and 0 where nothing was counted."""
    return b.div(total, b.select(b.equal(count, 0), 1.0, count))
