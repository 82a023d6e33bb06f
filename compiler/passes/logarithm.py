"""The logarithm of a value, written without computing the value, where how it was made allows that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from compiler.ir.graph import Node, Value
from compiler.ir.types import DType
from compiler.ops.activation import Sigmoid
from compiler.ops.along import OneHot, TakeAlong
from compiler.ops.choose import Mask
from compiler.ops.convert import Cast, StopGradient
from compiler.ops.elementwise import Add, Divide, Maximum, Minimum, Multiply, Power, Subtract
from compiler.ops.emit import Emit
from compiler.ops.gather import Gather
from compiler.ops.normalise import Softmax
from compiler.ops.reduce import Max, Sum
from compiler.ops.shape import Expand, Reshape, Transpose
from compiler.ops.slice import Slice
from compiler.ops.unary import Exp, Negative, Reciprocal, Sqrt, Square
from compiler.passes.pattern import uniform

# Writes the logarithm; or else the reason why there is no better form than log(x).
Form: TypeAlias = Callable[[Emit], Value] | str

# An epsilon up to this (1e-6, however the element type rounds it) is a guard against log(0); a larger one is meant.
LARGEST_EPSILON = 1.1e-6
# How many values are looked at before the search is given up: products branch.
_MOST_VALUES = 60
# Those through which a logarithm passes: each element of the result is one of the first operand.
_PICKING = (Reshape, Transpose, Slice, Expand, TakeAlong, Gather, StopGradient)
_NOT_PROBABILITIES = (Exp, Add, Sum, Multiply, Divide, Reciprocal, Square, Sqrt, Power)


def negated(b: Emit, value: Value) -> Value:
    """``-value``, without negating twice."""
    node = b.producer(value)
    return node.inputs[0] if node is not None and isinstance(node.operation, Negative) else b.neg(value)


@dataclass(frozen=True)
class _Under:
    """What stands between the logarithm and the value that is looked at."""

    # The logarithm is that of 1 - value.
    complement: bool = False
    # There is a clip or an epsilon, which would get lost.
    guarded: bool = False
    # There is more than the logarithm: the form has to be finite for all elements, as some may not reach it.
    nested: bool = False


class Logarithm:
    """One search for a form; the values it looks at are counted. Bounds up to ``epsilon`` are taken for guards."""

    def __init__(self, b: Emit, epsilon: float = LARGEST_EPSILON) -> None:
        self._b = b
        self._epsilon = epsilon
        self._left = _MOST_VALUES

    def of(self, value: Value) -> Form:
        """How to write ``log(value)``."""
        return self._form(value, _Under())

    def of_one_plus(self, value: Value, guarded: bool = False) -> Form:
        """How to write ``log(1 + value)``."""
        node = self._b.producer(value)
        if node is None:
            return f"{value} is an input"
        match node.operation:
            case Negative():
                return self._form(node.inputs[0], _Under(complement=True, guarded=guarded))
            case Exp() if not guarded:
                return lambda b: b.softplus(node.inputs[0])
            case Subtract() if self._is_guard(node, 0):
                return self._form(node.inputs[1], _Under(complement=True, guarded=True))
            case Add():
                for place in (0, 1):
                    if self._is_guard(node, place):
                        return self.of_one_plus(node.inputs[1 - place], guarded=True)
        return _nothing_for(node, f"1 + {value}")

    def _form(self, value: Value, under: _Under) -> Form:
        """The form, with the shape of ``value``."""
        self._left -= 1
        node = self._b.producer(value)
        if node is None:
            return f"{value} is an input"
        if self._left < 0:
            return f"too much lies between the logarithm and {value}"
        found = self._picked(node, under) or self._behind_guard(node, under)
        if found is None:
            found = self._complement(node, under) if under.complement else self._plain(node, under)
        if found is None:
            return _nothing_for(node, f"1 - {value}" if under.complement else str(value))
        if isinstance(found, str):
            return found
        write = found
        return lambda b: b.expand(write(b), value.type.shape)

    def _picked(self, node: Node, under: _Under) -> Form | None:
        if not isinstance(node.operation, _PICKING):
            return None
        inner = self._form(node.inputs[0], replace(under, nested=True))
        if isinstance(inner, str):
            return inner
        return lambda b: b.add(node.operation, inner(b), *node.inputs[1:])

    def _behind_guard(self, node: Node, under: _Under) -> Form | None:
        """The form of what stands behind a clip or an epsilon."""
        for place in (0, 1):
            if isinstance(node.operation, Maximum | Minimum | Add) and self._is_guard(node, place):
                return self._form(node.inputs[1 - place], replace(under, guarded=True))
        return None

    def _complement(self, node: Node, under: _Under) -> Form | None:
        """``log(1 - x)``."""
        if isinstance(node.operation, Sigmoid):
            return lambda b: b.neg(b.softplus(node.inputs[0]))
        if isinstance(node.operation, Subtract) and self._is_near_one(node.inputs[0]):
            return self._form(node.inputs[1], replace(under, complement=False))
        return None

    def _plain(self, node: Node, under: _Under) -> Form | None:
        """``log(x)``."""
        operation, x = node.operation, node.inputs[0]
        if isinstance(operation, Softmax):
            return lambda b: b.log_softmax(x, operation.axis)
        if isinstance(operation, Sigmoid):
            return lambda b: b.neg(b.softplus(negated(b, x)))
        if isinstance(operation, Subtract) and self._is_near_one(x):
            return self._form(node.inputs[1], replace(under, complement=True))
        if isinstance(operation, Sum) and (one := self._one_of_each(operation, x, under)) is not None:
            return one
        if not isinstance(operation, _NOT_PROBABILITIES):
            return None
        # What is no probability may be as small as it likes: there a bound is more than a guard.
        return f"{node.output} is kept from being too small" if under.guarded else self._of_powers(node, under)

    def _of_powers(self, node: Node, under: _Under) -> Form | None:
        operation, x = node.operation, node.inputs[0]
        if isinstance(operation, Exp):
            return lambda b: x
        if isinstance(operation, Add):
            return self._one_plus_exp(node)
        if isinstance(operation, Sum):
            return self._log_sum_exp(operation, x)
        return self._product(node, under) if isinstance(operation, Multiply | Divide) else self._power(node)

    def _power(self, node: Node) -> Form:
        """``log(x**y) == y * log(x)`` where x has a form, and so is positive."""
        inner = self._form(node.inputs[0], _Under(nested=True))
        if isinstance(inner, str):
            return inner
        match node.operation:
            case Reciprocal():
                return lambda b: b.neg(inner(b))
            case Square():
                return lambda b: b.mul(inner(b), 2)
            case Sqrt():
                return lambda b: b.mul(inner(b), 0.5)
        return lambda b: b.mul(inner(b), node.inputs[1])

    def _one_plus_exp(self, node: Node) -> Form | None:
        for place in (0, 1):
            power = self._b.producer(node.inputs[place])
            if power is None or not isinstance(power.operation, Exp):
                continue
            if uniform(self._b, node.inputs[1 - place]) == 1:
                x = power.inputs[0]
                return lambda b: b.softplus(x)
        return None

    def _product(self, node: Node, under: _Under) -> Form:
        """``log(x*y) == log(x) + log(y)``, ``log(x/y) == log(x) - log(y)`` where both have forms, and so are positive.

        Directly under the logarithm one is enough: where the other is not positive, the logarithm is undefined anyway.
        """
        x, y = node.inputs
        first, second = (self._form(value, _Under(nested=True)) for value in (x, y))
        if isinstance(first, str) and (isinstance(second, str) or under.nested):
            return first
        if isinstance(second, str) and under.nested:
            return second

        def write(b: Emit) -> Value:
            left = b.log(x) if isinstance(first, str) else first(b)
            right = b.log(y) if isinstance(second, str) else second(b)
            return b.add(left, right) if isinstance(node.operation, Multiply) else b.sub(left, right)

        return write

    def _one_of_each(self, operation: Sum, x: Value, under: _Under) -> Form | None:
        """A sum over the last axis, weighted with one-hot vectors: it picks one element."""
        product = self._b.producer(x)
        if product is None or not isinstance(product.operation, Multiply | Mask):
            return None
        last = x.type.rank - 1
        for value, weights in (product.inputs, product.inputs[::-1]):
            whole = value.type.shape == weights.type.shape and [axis % (last + 1) for axis in operation.axes] == [last]
            if not whole or not self._is_one_hot(weights):
                continue
            inner = self._form(value, replace(under, nested=True))
            if isinstance(inner, str):
                return inner
            write, chosen = inner, weights
            # Not the product, in which -inf would meet 0.
            return lambda b: b.add(operation, b.select(_truth(b, chosen), write(b), 0))
        return None

    def _is_one_hot(self, weights: Value) -> bool:
        maker = self._b.producer(weights)
        while maker is not None and isinstance(maker.operation, Cast):
            maker = self._b.producer(maker.inputs[0])
        return maker is not None and isinstance(maker.operation, OneHot)

    def _log_sum_exp(self, operation: Sum, total: Value) -> Form | None:
        power = self._b.producer(total)
        if power is None or not isinstance(power.operation, Exp):
            return None
        x = power.inputs[0]
        if self._is_moved_by_largest(x):
            return f"the largest element is taken out of {x} already"

        def write(b: Emit) -> Value:
            # The result does not depend on what is taken out, so that no gradient has to go through it. Where all
            # elements are -inf it is the lowest number, so that the result is -inf and not NaN.
            largest = b.maximum(b.max(x, operation.axes, keepdims=True), _lowest(x.type.dtype))
            taken_out = b.stop_gradient(largest)
            powers = b.exp(b.sub(x, taken_out))
            rest = b.log(b.sum(powers, operation.axes, operation.keepdims))
            return b.add(rest, b.reshape(taken_out, rest.type.shape))

        return write

    def _is_moved_by_largest(self, x: Value) -> bool:
        """Whether ``x`` is what is left of something when its largest elements are taken out."""
        node = self._b.producer(x)
        if node is None or not isinstance(node.operation, Subtract):
            return False
        maker = self._b.producer(node.inputs[1])
        while maker is not None and isinstance(maker.operation, StopGradient | Reshape | Expand | Maximum):
            maker = self._b.producer(maker.inputs[0])
        return maker is not None and isinstance(maker.operation, Max) and maker.inputs[0] is node.inputs[0]

    def _is_near_one(self, value: Value) -> bool:
        number = uniform(self._b, value)
        return number is not None and abs(float(number) - 1) <= self._epsilon

    def _is_guard(self, node: Node, place: int) -> bool:
        """Whether operand ``place`` changes the other one, a probability, by no more than an epsilon."""
        bound = uniform(self._b, node.inputs[place])
        if bound is None:
            return False
        if isinstance(node.operation, Minimum):
            return bound >= 1 - self._epsilon
        return 0 <= bound <= self._epsilon


def _truth(b: Emit, weights: Value) -> Value:
    """Where the weights are not 0."""
    return weights if weights.type.dtype is DType.BOOL else b.not_equal(weights, 0)


def _nothing_for(node: Node, what: str) -> str:
    return f"{node.output} is made by {node.operation.opcode}: there is no safer form of log({what})"


def _lowest(dtype: DType) -> float:
    """The most negative finite number; for bf16, as for all, one that the dtype has."""
    return -(2.0**127) if dtype is DType.BF16 else float(np.finfo(dtype.numpy).min)
