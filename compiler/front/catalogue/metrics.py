"""Metrics: figures over a whole data set, made of sums that add up over batches."""

from __future__ import annotations

from compiler.front.catalogue.entry import Context, Totals, Value, entry
from compiler.front.catalogue.layers import need_float
from compiler.front.catalogue.losses.common import Given, made_by, same_dtype, same_shape
from compiler.ir.dims import Dim, equal, product
from compiler.ir.types import DType, TypeMismatch
from compiler.ops.emit import Emit


def _count(b: Emit, shape: tuple[Dim, ...]) -> Value:
    return b.size(product(shape), DType.I64)


def _ratio(b: Emit, total: Value, count: Value) -> Value:
    return b.div(total, count)


@entry("metric")
def accuracy(c: Context, x: Value, target: Value, *, given: Given = "auto") -> Totals:
    """The share of samples that are classified right.

    ``x`` with class indices as ``target`` (one dimension fewer), or with one-hot rows of its own shape: right where the
    largest score is. ``x`` [N] or [N, 1] with a target of the same shape: two classes, right on the same side of
    1/2 (logits: of 0; a value made by sigmoid is a probability).
    """
    b = c.b
    need_float(x, "accuracy")
    if target.type.rank == x.type.rank - 1 and target.type.dtype.is_integer:
        samples = x.type.shape[:-1]
        if not all(map(equal, target.type.shape, samples)):
            raise TypeMismatch("E0301", f"accuracy compares {x.type} with class indices {target.type}")
        hits = b.equal(b.argmax(x, -1), b.cast(target, DType.I64))
    else:
        same_shape("accuracy", x, target)
        samples = x.type.shape[:-1] or x.type.shape
        if x.type.rank == 1 or x.type.shape[-1] == 1:
            samples = x.type.shape
            probability = given == "probabilities" or (given == "auto" and made_by(b, x, "sigmoid"))
            truth = b.greater(b.cast(target, DType.F32), 0.5)
            hits = b.equal(b.cast(b.greater(x, 0.5 if probability else 0.0), DType.I64), b.cast(truth, DType.I64))
        else:
            hits = b.equal(b.argmax(x, -1), b.argmax(target, -1))
    correct = b.sum(b.cast(hits, DType.I64))
    return Totals({"correct": correct, "count": _count(b, samples)}, _ratio, "higher")


@entry("metric")
def mae(c: Context, x: Value, target: Value) -> Totals:
    """The mean absolute error over all elements."""
    b = c.b
    total = b.sum(b.abs(_difference(c, "mae", x, target)))
    return Totals({"total": total, "count": _count(b, x.type.shape)}, _ratio, "lower")


@entry("metric")
def rmse(c: Context, x: Value, target: Value) -> Totals:
    """The square root of the mean squared error over all elements, taken once over the whole data set."""
    b = c.b
    total = b.sum(b.square(_difference(c, "rmse", x, target)))
    return Totals(
        {"total": total, "count": _count(b, x.type.shape)},
        lambda b, total, count: b.sqrt(_ratio(b, total, count)),
        "lower",
    )


def _difference(c: Context, metric: str, x: Value, target: Value) -> Value:
    need_float(x, metric)
    same_dtype(metric, x, target)
    same_shape(metric, x, target)
    return c.b.sub(x, target)
