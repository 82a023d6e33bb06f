"""Rectifying what was pooled, rather than pooling what was rectified: of a fourth as many elements, as a rule."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.ir.graph import Value
from compiler.ops.activation import Relu
from compiler.ops.emit import Emit
from compiler.ops.pool import MaxPool
from compiler.passes.pattern import Match, made
from compiler.passes.rewrite import RewritePass, Rule


def _rectified(b: Emit, m: Match) -> Value:
    return b.relu(b.add(m.operation, m["x"]))


@dataclass(frozen=True)
class PoolFirst(RewritePass):
    """``max_pool(relu(x))`` becomes ``relu(max_pool(x))``, which is the same, gradients included: where nothing under a
    window is above 0 none gets through either way.

    For training only: ONNX Runtime has one kernel for a convolution with its relu.
    """

    name = "pool-first"
    rules = (Rule("pool-first", made(MaxPool, made(Relu, "x", once=True)), _rectified),)
