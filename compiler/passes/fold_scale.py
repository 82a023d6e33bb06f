"""Numbers beside a layer folded into its weights, such as those that bring pixels to 0 … 1 or results to their unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compiler.ir.graph import Value
from compiler.ops.base import Op
from compiler.ops.constant import Constant
from compiler.ops.conv import Conv, ConvTranspose
from compiler.ops.elementwise import Add, Divide, Multiply, Subtract
from compiler.ops.emit import Emit
from compiler.ops.matmul import MatMul
from compiler.ops.shape import Reshape
from compiler.passes.pattern import Made, Match, Numeral, made
from compiler.passes.rewrite import RewritePass, Rule

_SCALES = (Multiply, Divide)
_CONVOLUTIONS = (Conv, ConvTranspose)


def _is_own_kernel(m: Match) -> str | None:
    kernel = m["kernel"]
    if kernel.type.symbols:
        return f"{kernel} is {kernel.type}, which is no weight"
    if not m.is_used_once(kernel):
        return f"{kernel} has other uses"
    return None


def _has_vector(m: Match) -> str | None:
    """A factor for each column of the operand of a product."""
    columns, factor = m["x"].type.shape[-1:], m["factor"]
    made_by = m.builder.producer(factor)
    if made_by is None or not isinstance(made_by.operation, Constant):
        return f"{factor} is no constant"
    if factor.type.shape != columns:
        return f"{factor} is {factor.type}, not one number for each of the columns {list(columns)}"
    if m["kernel"].type.rank != 2:
        return f"{m['kernel']} is {m['kernel'].type}, not one matrix"
    return _is_own_kernel(m)


def _has_vector_bias(m: Match) -> str | None:
    bias = m["bias"]
    if bias.type.symbols or bias.type.shape != m.type.shape[-1:]:
        return f"{bias} is {bias.type}, not one number for each of the columns of {m.type}"
    return None if m.is_used_once(bias) else f"{bias} has other uses"


def _has_own_parts(m: Match) -> str | None:
    return _is_own_kernel(m) or _has_vector_bias(m)


def _scale(m: Match) -> Op:
    """The multiplication or division that is folded."""
    return next(op for op in (m.operation, *(node.operation for node in m.nodes)) if isinstance(op, _SCALES))


def _folded(b: Emit, operation: Op, weight: Value, factor: Value) -> Value:
    """The weight so changed, under a name that shows what it comes from."""
    name = f"{weight.name.removesuffix('.folded')}.folded"
    return b.add_node(operation, (weight, factor), (name,))[0]


def _scaled_operand(b: Emit, m: Match) -> Value:
    """``f(x·s, kernel)`` as ``f(x, kernel·s)``."""
    factor, rest = m["factor"], m.inputs[2:]
    if factor.type.rank:
        factor = b.reshape(factor, (*factor.type.shape, 1))
    kernel = _folded(b, _scale(m), m["kernel"], factor)
    assert isinstance(m.operation, Op)
    return b.add(m.operation, m["x"], kernel, *rest)


def _scaled_result(b: Emit, m: Match) -> Value:
    """``(x @ kernel + bias)·s`` as ``x @ (kernel·s) + bias·s``."""
    scale, factor = _scale(m), m["factor"]
    product = b.matmul(m["x"], _folded(b, scale, m["kernel"], factor))
    return b.add(product, _folded(b, scale, m["bias"], factor)) if "bias" in m.values else product


def _shifted_result(b: Emit, m: Match) -> Value:
    """``x @ kernel + bias + shift`` as ``x @ kernel + (bias + shift)``."""
    assert isinstance(m.operation, Op)
    return b.add(b.matmul(m["x"], m["kernel"]), _folded(b, m.operation, m["bias"], m["shift"]))


def _operand_rules() -> Iterator[Rule]:
    """What stands before a layer, moved behind what only lays it out anew."""
    scaled = made(_SCALES, "x", Numeral("factor"), once=True)
    yield Rule(
        "sink-scale",
        made(Reshape, scaled),
        lambda b, m: b.add(_scale(m), b.add(m.operation, m["x"]), m["factor"]),
    )
    yield Rule("fold-scale", made(MatMul, scaled, "kernel"), _scaled_operand, _is_own_kernel)
    for bias in ((), ("bias",)):
        yield Rule("fold-scale", made(_CONVOLUTIONS, scaled, "kernel", *bias), _scaled_operand, _is_own_kernel)
    each = made(_SCALES, "x", "factor", once=True)
    yield Rule("fold-scales", made(MatMul, each, "kernel"), _scaled_operand, _has_vector)


def _result_rules() -> Iterator[Rule]:
    """What stands behind a dense layer."""
    product = made(MatMul, "x", "kernel", once=True)
    biased: Made = made(Add, product, "bias", once=True)
    yield Rule("fold-scale", made(_SCALES, product, Numeral("factor")), _scaled_result, _is_own_kernel)
    yield Rule("fold-scale", made(_SCALES, biased, Numeral("factor")), _scaled_result, _has_own_parts)
    yield Rule("fold-shift", made((Add, Subtract), biased, Numeral("shift")), _shifted_result, _has_vector_bias)


@dataclass(frozen=True)
class FoldScale(RewritePass):
    """Folds factors before and behind layers, and shifts behind them, into weights that nothing else reads. What is
    computed of weights alone an export works out.

    A shift before a layer stays: there ``x @ w - m @ w`` would lose what ``(x - m) @ w`` keeps where m is large.
    """

    name = "fold-scale"
    rules = (*_operand_rules(), *_result_rules())
