"""Averaged weights: a running mean of each, which evaluation and export take instead of the weights themselves."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.graph import Graph, Role
from compiler.ir.types import DType, TensorType
from compiler.ops.emit import Emit
from compiler.passes.update import STEP


def average_name(weight: str) -> str:
    """The state that holds the mean of a weight."""
    return f"{weight}.average"


def average_graph(weights: Sequence[tuple[str, TensorType]], keep: float) -> Graph:
    """The graph ``average``, which is to be run after each step: ``mean + (weight - mean) · max(1 - keep, 1 / n)``.

    n counts the steps, so that the mean is a plain one at first, in which the first weights have no more to say than
    others; then ``keep`` of it stays. Polyak and Juditsky, 1992, with the exponential mean that Adam's authors give.
    """
    b = Emit("average")
    # The step has been counted already.
    steps = b.cast(b.input(STEP, TensorType(DType.I64), Role.STATE), DType.F64)
    share = b.maximum(b.reciprocal(b.maximum(steps, 1.0)), 1.0 - keep)
    for name, type in weights:
        weight = b.input(name, type, Role.WEIGHT)
        mean = b.input(average_name(name), type, Role.STATE)
        moved = b.mul(b.sub(weight, mean), b.cast(share, type.dtype))
        b.output(average_name(name), b.add(mean, moved), updates=average_name(name))
    return b.finish()
