"""Metrics of ranking."""

from __future__ import annotations

from compiler.front.catalogue.entry import Context, Totals, Value, entry
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.losses.common import (
    Given,
    are_labels,
    are_probabilities,
    binary_logarithms,
    class_labels,
    class_logarithms,
    same_shape,
)
from compiler.ir.types import DType, TypeMismatch
from compiler.ops.cumsum import CumSum
from compiler.ops.emit import Emit

_BINS = 1 << 14


@entry("metric")
def auc(c: Context, x: Value, target: Value, *, given: Given = "auto") -> Totals:
    """The area under the ROC curve: how often a sample of class 1 has a higher score than one of class 0.

    ``x`` [N] or [N, 1] holds logits or probabilities of class 1 and ``target`` 0 or 1 in the same shape; or ``x``
    [N, 2] holds scores of both classes and ``target`` class indices. Equal scores count half; with one class only it
    is 1/2.

    As scores of a whole data set do not fit into sums, they are counted in 16384 bins of z/(1 + abs(z)), z being the
    log-odds (the logit): 0.00012 wide near z = 0 and 0.015 near z = 10. A pair of both classes that shares a bin counts
    half too, so that the figure is off by at most half the share of such pairs.
    """
    b = c.b
    need_float(x, "auc")
    odds, truth = _log_odds(c, x, target, given)
    # Infinite odds over themselves would not be a number.
    bounded = b.clip(b.cast(odds, DType.F32), -1e30, 1e30)
    squashed = b.div(bounded, b.add(b.abs(bounded), 1.0))
    place = b.cast(b.floor(b.mul(b.add(squashed, 1.0), _BINS / 2)), DType.I64)
    place = b.minimum(b.maximum(place, 0), _BINS - 1)
    totals = {
        "positives": b.scatter_add((_BINS,), place, truth),
        "negatives": b.scatter_add((_BINS,), place, b.sub(1, truth)),
    }
    return Totals(totals, _area, "higher")


def _log_odds(c: Context, x: Value, target: Value, given: Given) -> tuple[Value, Value]:
    """The logits of class 1, and the true class (0 or 1, i64)."""
    b = c.b
    if are_labels(x, target):
        axis = x.type.rank - 1
        labels = class_labels(c, "auc", x, target, axis)
        if labels.classes != 2:
            raise TypeMismatch(
                "E0301",
                f"auc takes two classes, but {x.type} has the scores of {labels.classes}",
                "the last dimension has to be 2",
            )
        zero, one = b.split(class_logarithms(b, x, given, axis), (1, 1), axis)
        return b.reshape(b.sub(one, zero), target.type.shape), labels.indices
    same_shape("auc", x, target)
    truth = b.cast(b.greater(b.cast(target, DType.F32), 0.5), DType.I64)
    if are_probabilities(b, x, given, "sigmoid"):
        positive, negative = binary_logarithms(b, x, given)
        return b.sub(positive, negative), truth
    return x, truth


def _area(b: Emit, positives: Value, negatives: Value) -> Value:
    below = b.sub(b.add(CumSum(0), negatives), b.mul(negatives, 0.5))
    pairs = b.mul(b.sum(positives), b.sum(negatives))
    some = b.greater(pairs, 0)
    return b.select(some, b.div(b.sum(b.mul(positives, below)), b.select(some, pairs, 1.0)), 0.5)
