"""Regression: distances to numbers."""

from __future__ import annotations

from compiler.front.catalogue.entry import Context, Operand, Value, entry
from compiler.front.catalogue.losses.common import check_positive, comparable, mean_of


@entry("loss")
def mse(c: Context, x: Value, target: Operand, *, mask: Value | None = None) -> Value:
    """The mean squared error over all elements.

    ``mask`` has the shape of ``x``, or the first dimensions of it: 0 or false leaves an element out, other numbers
    weigh it.
    """
    return mean_of(c, "mse", c.b.square(_difference(c, "mse", x, target)), mask)


@entry("loss")
def mae(c: Context, x: Value, target: Operand, *, mask: Value | None = None) -> Value:
    """The mean absolute error over all elements. ``mask`` is that of ``mse``."""
    return mean_of(c, "mae", c.b.abs(_difference(c, "mae", x, target)), mask)


@entry("loss")
def huber(c: Context, x: Value, target: Operand, *, delta: float = 1.0, mask: Value | None = None) -> Value:
    """The mean of d²/2 where the error d is within ``delta``, and of delta·(abs(d) - delta/2) beyond it.

    Squares near the target, absolute errors far from it, so that outliers do not rule. ``mask`` is that of ``mse``.
    Huber, Robust estimation of a location parameter, 1964; the default of ``delta`` is PyTorch's and Keras's.
    """
    b = c.b
    check_positive("delta", delta, "delta, where squares end,")
    distance = b.abs(_difference(c, "huber", x, target))
    near = b.minimum(distance, delta)
    return mean_of(c, "huber", b.mul(near, b.sub(distance, b.mul(near, 0.5))), mask)


def _difference(c: Context, loss: str, x: Value, target: Operand) -> Value:
    comparable(loss, x, target)
    return c.b.sub(x, target)
