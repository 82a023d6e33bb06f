"""Numerically safe forms of what would overflow or lose its digits, however it was spelled.

Logarithms of probabilities are made from the logits: ``log(softmax(x))``, ``log(sigmoid(z))``, ``log(1 - sigmoid(z))``
and ``log(sum(exp(x)))``, also where views, products, or a clip or an epsilon against log(0) stand between. Such a clip
is of no use then and goes, and with it the zero gradients that it gave to the samples that are most wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.ir.graph import Value
from compiler.ops.activation import Softplus
from compiler.ops.elementwise import Add, Divide, Multiply, Subtract
from compiler.ops.emit import Emit
from compiler.ops.logistic_loss import LogisticLoss
from compiler.ops.normalise import LogSoftmax, Softmax
from compiler.ops.reduce import Sum, reduced_shape
from compiler.ops.shape import Expand, Reshape
from compiler.ops.unary import Exp, Log, Log1p, Negative, Reciprocal
from compiler.passes.logarithm import LARGEST_EPSILON, Form, Logarithm, negated
from compiler.passes.pattern import Made, Match, made, number
from compiler.passes.rewrite import RewritePass, Rule

# Logarithms.


def _logarithms(epsilon: float) -> tuple[Rule, ...]:
    """The rules for logarithms; a clip or an addition that changes a probability by up to ``epsilon`` goes."""
    return (
        _written(made(Log, "p"), "stable-log", lambda b, p: Logarithm(b, epsilon).of(p)),
        _written(made(Log1p, "p"), "stable-log1p", lambda b, p: Logarithm(b, epsilon).of_one_plus(p)),
    )


def _written(pattern: Made, name: str, search: Callable[[Emit, Value], Form]) -> Rule:
    def refuse(m: Match) -> str | None:
        found = search(m.builder, m["p"])
        return found if isinstance(found, str) else None

    def write(b: Emit, m: Match) -> Value:
        found = search(b, m["p"])
        assert not isinstance(found, str), "the condition of the rule"
        return b.expand(found(b), m.type.shape)

    return Rule(name, pattern, write, refuse)


# The logistic function in other words.

_ONE_PLUS_EXP = made(Add, number(1), made(Exp, "x"))


def _sigmoid_of_negative(b: Emit, m: Match) -> Value:
    return b.expand(b.sigmoid(negated(b, m["x"])), m.type.shape)


_SIGMOIDS = (
    Rule("sigmoid", made(Reciprocal, _ONE_PLUS_EXP), _sigmoid_of_negative),
    Rule("sigmoid", made(Divide, number(1), _ONE_PLUS_EXP), _sigmoid_of_negative),
    *(
        Rule("sigmoid", pattern, lambda b, m: b.expand(b.sigmoid(m["x"]), m.type.shape))
        for pattern in (
            made(Divide, made(Exp, "x"), _ONE_PLUS_EXP),
            made(Multiply, made(Exp, "x"), made(Reciprocal, _ONE_PLUS_EXP)),
        )
    ),
)

# Binary cross-entropy, of which the logarithms are in their safe forms already.


def _logits_are_whole(m: Match) -> str | None:
    return None if m["z"].type == m.type else f"{m['z']} is repeated"


_LOG_P = made(Negative, made(Softplus, made(Negative, "z")))
_LOG_REST = made(Negative, made(Softplus, "z"))
_CROSS_ENTROPIES = (
    Rule(
        "logistic-loss",
        made(Add, made(Multiply, "t", _LOG_P), made(Multiply, made(Subtract, number(1), "t"), _LOG_REST)),
        lambda b, m: b.neg(b.add(LogisticLoss(), m["z"], m["t"])),
        _logits_are_whole,
    ),
    Rule(
        "logistic-loss",
        made(Subtract, made(Softplus, "z"), made(Multiply, "t", "z")),
        lambda b, m: b.add(LogisticLoss(), m["z"], m["t"]),
        _logits_are_whole,
    ),
)

# Softmax in other words.


def _softmax_axis(b: Emit, x: Value, total: Value) -> int | str:
    """The axis along which ``total`` sums the exponentials of ``x``, shaped to divide them; or else why it does not."""
    node = b.producer(total)
    while node is not None and isinstance(node.operation, Expand):
        total, node = node.inputs[0], b.producer(node.inputs[0])
    shape = total.type.shape
    while node is not None and isinstance(node.operation, Reshape):
        node = b.producer(node.inputs[0])
    if node is None or not isinstance(node.operation, Sum):
        return f"{total} is not a sum"
    made_of = b.producer(node.inputs[0])
    if made_of is None or not isinstance(made_of.operation, Exp) or made_of.inputs[0] is not x:
        return f"{total} is not the sum of exp({x})"
    axes = tuple(axis % x.type.rank for axis in node.operation.axes)
    if len(axes) != 1:
        return f"{total} sums over {len(axes)} axes"
    kept = reduced_shape(x.type.shape, axes, True)
    if (*(1,) * (len(kept) - len(shape)), *shape) != kept:
        return f"{total} does not stand along axis {axes[0]} of {x}"
    return axes[0]


def _is_softmax(m: Match) -> str | None:
    found = _softmax_axis(m.builder, m["x"], m["total"])
    return found if isinstance(found, str) else None


def _softmax(b: Emit, m: Match) -> Value:
    axis = _softmax_axis(b, m["x"], m["total"])
    assert isinstance(axis, int), "the condition of the rule"
    return b.softmax(m["x"], axis)


def _same_along_axis(m: Match) -> str | None:
    """A softmax does not change where all elements along its axis are moved by one amount."""
    operation, x, amount = m.operation, m["x"], m["amount"]
    assert isinstance(operation, Softmax | LogSoftmax)
    if x.type != m.type:
        return f"{x} is repeated"
    place = operation.axis % x.type.rank - (x.type.rank - amount.type.rank)
    if place >= 0 and amount.type.shape[place] != 1:
        return f"{amount} differs along axis {operation.axis}"
    return None


_SOFTMAXES = (
    Rule("softmax", made(Divide, made(Exp, "x"), "total"), _softmax, _is_softmax),
    Rule("softmax", made(Multiply, made(Exp, "x"), made(Reciprocal, "total")), _softmax, _is_softmax),
    Rule(
        "softmax-of-moved",
        made((Softmax, LogSoftmax), made(Subtract, "x", "amount")),
        lambda b, m: b.add(m.operation, m["x"]),
        _same_along_axis,
    ),
)


@dataclass(frozen=True)
class Stabilize(RewritePass):
    """Safe forms of logarithms, softmax and sigmoid; runs before the gradients are made, which so are safe too."""

    name = "stabilize"
    # A value has to be seen to meet itself, and the rules name one spelling of what has several.
    after = ("common-subexpressions", "simplify")
    exact = False
    rules = (*_SIGMOIDS, *_SOFTMAXES, *_CROSS_ENTROPIES, *_logarithms(LARGEST_EPSILON))

    def exact_part(self) -> RewritePass:
        return _StabilizeUnguarded()


@dataclass(frozen=True)
class _StabilizeUnguarded(RewritePass):
    """The same without what changes results, the guards' going."""

    name = "stabilize"
    rules = (*_SIGMOIDS, *_SOFTMAXES, *_CROSS_ENTROPIES, *_logarithms(0.0))
