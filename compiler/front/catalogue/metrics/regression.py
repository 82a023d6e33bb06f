"""Metrics of regression."""

from __future__ import annotations

from compiler.front.catalogue.entry import Context, Operand, Totals, Value, entry
from compiler.front.catalogue.losses.common import comparable, mask_as
from compiler.front.catalogue.metrics.common import ratio, size
from compiler.ir.types import DType
from compiler.ops.emit import Emit


@entry("metric")
def mae(c: Context, x: Value, target: Operand, *, mask: Value | None = None) -> Totals:
    """The mean absolute error over all elements.

    ``target`` has the shape of ``x``, or is one number for all elements. ``mask`` has the shape of ``x``, or the first
    dimensions of it: 0 or false leaves an element out, other numbers weigh it.
    """
    comparable("mae", x, target)
    return Totals(_sums(c.b, "mae", c.b.abs(c.b.sub(x, target)), mask), ratio, "lower")


@entry("metric")
def rmse(c: Context, x: Value, target: Operand, *, mask: Value | None = None) -> Totals:
    """The square root of the mean squared error over all elements, taken once over the whole data set.

    ``target`` and ``mask`` are those of ``mae``.
    """
    comparable("rmse", x, target)
    totals = _sums(c.b, "rmse", c.b.square(c.b.sub(x, target)), mask)
    return Totals(totals, lambda b, total, count: b.sqrt(ratio(b, total, count)), "lower")


@entry("metric")
def r2(c: Context, x: Value, target: Value) -> Totals:
    """The coefficient of determination: 1 minus the squared errors' share of the target's squared deviations.

    1 is perfect, 0 no better than the target's mean. ``[N, D]`` with a fixed D: the mean of the figures of the D
    columns, as in scikit-learn; otherwise over all elements. Where the target does not vary it is 0. The sums are made
    in f64.
    """
    b = c.b
    comparable("r2", x, target)
    columns = x.type.rank > 1 and isinstance(x.type.shape[-1], int)
    axes = tuple(range(x.type.rank - columns))
    wanted = b.cast(target, DType.F64)
    rows = x.type.shape[: x.type.rank - columns]
    totals = {
        "count": size(b, rows),
        "errors": b.sum(b.square(b.sub(b.cast(x, DType.F64), wanted)), axes),
        "total": b.sum(wanted, axes),
        "squares": b.sum(b.square(wanted), axes),
    }
    return Totals(totals, _determination, "higher")


def _determination(b: Emit, count: Value, errors: Value, total: Value, squares: Value) -> Value:
    spread = b.sub(squares, b.div(b.square(total), count))
    # What rounding leaves of a constant's deviations is no spread.
    varies = b.greater(spread, b.mul(squares, 1e-13))
    each = b.select(varies, b.sub(1.0, b.div(errors, b.select(varies, spread, 1.0))), 0.0)
    return b.mean(each)


def _sums(b: Emit, metric: str, each: Value, mask: Value | None) -> dict[str, Value]:
    if mask is None:
        return {"total": b.sum(each), "count": size(b, each.type.shape)}
    factors = mask_as(b, metric, mask, each)
    return {"total": b.sum(b.mul(each, factors)), "count": b.sum(factors)}
