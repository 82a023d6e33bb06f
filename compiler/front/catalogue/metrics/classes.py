"""Metrics of classification."""

from __future__ import annotations

from typing import Literal, TypeAlias

from compiler.front.catalogue.entry import ArgumentError, Context, Totals, Value, entry
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.losses.common import (
    Given,
    at_labels,
    checked_axis,
    class_labels,
    class_logarithms,
)
from compiler.front.catalogue.metrics.common import (
    Decisions,
    counted_samples,
    decisions,
    ratio,
    size,
    sum_of_counted,
)
from compiler.ir.types import DType
from compiler.ops.emit import Emit

Average: TypeAlias = Literal["macro", "micro"]


@entry("metric")
def accuracy(
    c: Context,
    x: Value,
    target: Value,
    *,
    ignore: int | None = None,
    mask: Value | None = None,
    given: Given = "auto",
    axis: int = -1,
) -> Totals:
    """The share of samples that are classified right.

    ``x`` with class indices as ``target`` (one dimension fewer), or with one-hot vectors of its own shape: right where
    the largest score along ``axis`` is. ``x`` [N] or [N, 1] with a target of the same shape: two classes, right on the
    same side of 1/2 (logits: of 0; a value made by sigmoid is a probability). Samples with the label ``ignore`` do not
    count, nor do those where ``mask``, which has the shape of the samples or the first dimensions of it, is 0 or false.
    """
    b = c.b
    found = decisions(c, "accuracy", x, target, given, axis, ignore, mask)
    correct, count = sum_of_counted(b, b.equal(found.predicted, found.truth), found.counted)
    return Totals({"correct": correct, "count": count}, ratio, "higher")


@entry("metric")
def top_k(
    c: Context,
    x: Value,
    target: Value,
    k: int = 5,
    *,
    ignore: int | None = None,
    mask: Value | None = None,
    axis: int = -1,
) -> Totals:
    """The share of samples whose class is among the ``k`` with the largest scores along ``axis``.

    ``target`` holds class indices. Of equal scores the first is the larger, as it is for ``accuracy``, which is
    ``top_k(1)``. ``ignore`` and ``mask`` are those of ``accuracy``.
    """
    b = c.b
    need_float(x, "top_k")
    axis = checked_axis(x, axis)
    labels = class_labels(c, "top_k", x, target, axis, ignore)
    if not 1 <= k <= labels.classes:
        raise ArgumentError("k", f"k lies from 1 to the number of classes, {labels.classes}: {k} does not")
    shape = x.type.shape
    column = (*shape[:axis], 1, *shape[axis + 1 :])
    own = b.reshape(at_labels(b, x, labels.indices, axis), column)
    places = b.reshape(b.arange(labels.classes), (labels.classes, *(1,) * (x.type.rank - axis - 1)))
    earlier = b.logical_and(b.equal(x, own), b.less(places, b.reshape(labels.indices, column)))
    ahead = b.sum(b.cast(b.logical_or(b.greater(x, own), earlier), labels.indices.type.dtype), (axis,))
    correct, count = sum_of_counted(b, b.less(ahead, k), counted_samples(b, "top_k", labels, mask))
    return Totals({"correct": correct, "count": count}, ratio, "higher")


@entry("metric")
def precision(
    c: Context,
    x: Value,
    target: Value,
    *,
    average: Average = "macro",
    ignore: int | None = None,
    mask: Value | None = None,
    given: Given = "auto",
    axis: int = -1,
) -> Totals:
    """The share of right ones among the samples that are taken for a class; 0 where none is.

    The operands are those of ``accuracy``. Two classes told apart by one score: that of class 1. Otherwise ``average``
    is ``macro``, the mean over the classes that occur in the target or the predictions, or ``micro``, over all
    decisions together, which is the accuracy where each sample has one class.
    """
    found = decisions(c, "precision", x, target, given, axis, ignore, mask)

    def finish(b: Emit, right: Value, predicted: Value, actual: Value) -> Value:
        return _averaged(b, right, predicted, b.add(predicted, actual), found.binary, average)

    return Totals(_counts(c.b, found), finish, "higher")


@entry("metric")
def recall(
    c: Context,
    x: Value,
    target: Value,
    *,
    average: Average = "macro",
    ignore: int | None = None,
    mask: Value | None = None,
    given: Given = "auto",
    axis: int = -1,
) -> Totals:
    """The share of the samples of a class that are found; 0 where there are none.

    ``average`` is that of ``precision``.
    """
    found = decisions(c, "recall", x, target, given, axis, ignore, mask)

    def finish(b: Emit, right: Value, predicted: Value, actual: Value) -> Value:
        return _averaged(b, right, actual, b.add(predicted, actual), found.binary, average)

    return Totals(_counts(c.b, found), finish, "higher")


@entry("metric")
def f1(
    c: Context,
    x: Value,
    target: Value,
    *,
    average: Average = "macro",
    ignore: int | None = None,
    mask: Value | None = None,
    given: Given = "auto",
    axis: int = -1,
) -> Totals:
    """The harmonic mean of precision and recall; 0 where there is nothing right. ``average`` is that of ``precision``.

    The macro average is the mean of the classes' figures, not the figure of mean precision and mean recall.
    """
    found = decisions(c, "f1", x, target, given, axis, ignore, mask)

    def finish(b: Emit, right: Value, predicted: Value, actual: Value) -> Value:
        both = b.add(predicted, actual)
        return _averaged(b, b.mul(right, 2.0), both, both, found.binary, average)

    return Totals(_counts(c.b, found), finish, "higher")


@entry("metric")
def balanced_accuracy(
    c: Context,
    x: Value,
    target: Value,
    *,
    ignore: int | None = None,
    mask: Value | None = None,
    given: Given = "auto",
    axis: int = -1,
) -> Totals:
    """The mean over the classes of the share of their samples that are found: accuracy if all were equally frequent.

    The operands are those of ``accuracy``. Classes without a sample do not count.
    """
    found = decisions(c, "balanced_accuracy", x, target, given, axis, ignore, mask)

    def finish(b: Emit, right: Value, predicted: Value, actual: Value) -> Value:
        return _averaged(b, right, actual, actual, False, "macro")

    return Totals(_counts(c.b, found), finish, "higher")


@entry("metric")
def confusion(
    c: Context,
    x: Value,
    target: Value,
    *,
    ignore: int | None = None,
    mask: Value | None = None,
    given: Given = "auto",
    axis: int = -1,
) -> Totals:
    """The confusion matrix: how many samples of the class of the row were taken for that of the column.

    The operands are those of ``accuracy``. It is a table [classes, classes] rather than a number: ``dlc eval`` shows
    it, ``dlc train`` shows that of the held-out samples when it is done, and nothing can be stopped by it.
    """
    b = c.b
    found = decisions(c, "confusion", x, target, given, axis, ignore, mask)
    classes = found.classes
    cells = b.add(b.mul(found.truth, classes), found.predicted)
    one = b.expand(b.scalar(1, DType.I64), found.truth.type.shape)
    counts = b.scatter_add((classes**2,), cells, one if found.counted is None else found.counted)

    def finish(b: Emit, counts: Value) -> Value:
        return b.reshape(b.cast(counts, DType.I64), (classes, classes))

    return Totals({"counts": counts}, finish, None)


@entry("metric")
def iou(
    c: Context,
    x: Value,
    target: Value,
    *,
    ignore: int | None = None,
    mask: Value | None = None,
    given: Given = "auto",
    axis: int = 1,
) -> Totals:
    """The mean intersection over union of class maps, from their areas in the whole data set.

    ``x`` ``[N, C, …]`` has the scores of the classes at each place, ``target`` ``[N, …]`` the class indices. The mean
    is over the classes that occur in the target or the predictions. With one channel, and a target of the same shape,
    it is the figure of class 1. ``ignore`` and ``mask`` are those of ``accuracy``.
    """
    found = decisions(c, "iou", x, target, given, axis, ignore, mask)

    def finish(b: Emit, right: Value, predicted: Value, actual: Value) -> Value:
        union = b.sub(b.add(predicted, actual), right)
        return _averaged(b, right, union, union, found.binary, "macro")

    return Totals(_counts(c.b, found), finish, "higher")


@entry("metric")
def perplexity(
    c: Context,
    x: Value,
    target: Value,
    *,
    ignore: int | None = None,
    mask: Value | None = None,
    given: Given = "auto",
    axis: int = -1,
) -> Totals:
    """e to the power of the mean cross-entropy: among how many equally likely classes a language model chooses.

    ``x`` has the scores along ``axis``; ``target`` holds class indices. ``ignore`` and ``mask`` are those of
    ``accuracy``. The mean is over all samples of the data set, and the power is taken once.
    """
    b = c.b
    need_float(x, "perplexity")
    axis = checked_axis(x, axis)
    labels = class_labels(c, "perplexity", x, target, axis, ignore)
    each = b.neg(at_labels(b, class_logarithms(b, x, given, axis), labels.indices, axis))
    counted = counted_samples(b, "perplexity", labels, mask)
    count = size(b, each.type.shape) if counted is None else b.sum(counted)
    total = b.sum(each if counted is None else b.mul(each, b.cast(counted, each.type.dtype)))
    return Totals({"total": total, "count": count}, lambda b, total, count: b.exp(ratio(b, total, count)), "lower")


def _counts(b: Emit, found: Decisions) -> dict[str, Value]:
    """For each class: the samples taken for it rightly, all those taken for it, and those that are of it (i64)."""
    one = b.expand(b.scalar(1, found.truth.type.dtype), found.truth.type.shape)
    counted = one if found.counted is None else found.counted
    right = b.mul(counted, b.cast(b.equal(found.predicted, found.truth), found.truth.type.dtype))
    per_class = (found.classes,)
    return {
        "right": b.scatter_add(per_class, found.truth, right),
        "predicted": b.scatter_add(per_class, found.predicted, counted),
        "actual": b.scatter_add(per_class, found.truth, counted),
    }


def _averaged(b: Emit, part: Value, whole: Value, present: Value, binary: bool, average: Average) -> Value:
    """One figure of ``part / whole`` by class; classes where ``present`` is 0 have no share in the macro average."""
    if binary:
        return b.sum(ratio(b, b.slice(part, (1,), (2,)), b.slice(whole, (1,), (2,))))
    if average == "micro":
        return ratio(b, b.sum(part), b.sum(whole))
    return ratio(b, b.sum(ratio(b, part, whole)), b.sum(b.minimum(present, 1.0)))
