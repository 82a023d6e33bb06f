"""The logarithm of a value, written without computing the value, where how it was made allows that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from compiler.ir.graph import Node, Value
from compiler.ir.types import DType
from compiler.ops.activation import Sigmoid
from compiler.ops.along import OneHot, TakeAlong
from compiler.ops.convert import StopGradient
from compiler.ops.elementwise import Add, Divide, Maximum, Minimum, Multiply, Subtract
from compiler.ops.emit import Emit
from compiler.ops.gather import Gather
from compiler.ops.normalise import Softmax
from compiler.ops.reduce import Max, Sum
from compiler.ops.shape import Expand, Reshape, Transpose
from compiler.ops.slice import Slice
from compiler.ops.unary import Exp, Negative
from compiler.passes.pattern import uniform

# Writes the logarithm; or else the reason why there is no better form than log(x).
Form: TypeAlias = Callable[[Emit], Value] | str

# An epsilon up to this (1e-6, however the element type rounds it) is a guard against log(0); a larger one is meant.
_LARGEST_EPSILON = 1.1e-6
# How many values are looked at before the search is given up: products branch.
_MOST_VALUES = 60
# Those through which a logarithm passes: each element of the result is one of the first operand.
_PICKING = (Reshape, Transpose, Slice, Expand, TakeAlong, Gather, StopGradient)


def negated(b: Emit, value: Value) -> Value:
    """``-value``, without negating twice."""
    node = b.producer(value)
    return node.inputs[0] if node is not None and isinstance(node.operation, Negative) else b.neg(value)


class Logarithm:
    """One search for a form; the values it looks at are counted."""

    def __init__(self, b: Emit) -> None:
        self._b = b
        self._left = _MOST_VALUES

    def of(self, value: Value) -> Form:
        """How to write ``log(value)``."""
        return self._form(value, complement=False, guarded=False)

    def of_complement(self, value: Value) -> Form:
        """How to write ``log(1 - value)``."""
        return self._form(value, complement=True, guarded=False)

    def _form(self, value: Value, complement: bool, guarded: bool) -> Form:
        """The form, with the shape of ``value``. ``guarded`` tells of a clip or an epsilon that would get lost."""
        self._left -= 1
        node = self._b.producer(value)
        if node is None:
            return f"{value} is an input"
        if self._left < 0:
            return f"too much lies between the logarithm and {value}"
        found = self._picked(node, complement, guarded) or self._behind_guard(node, complement)
        if found is None:
            found = self._complement(node, guarded) if complement else self._plain(node, guarded)
        if found is None:
            what = f"1 - {value}" if complement else f"{value}"
            return f"{value} is made by {node.operation.opcode}: there is no safer form of log({what})"
        if isinstance(found, str):
            return found
        write = found
        return lambda b: b.expand(write(b), value.type.shape)

    def _picked(self, node: Node, complement: bool, guarded: bool) -> Form | None:
        if not isinstance(node.operation, _PICKING):
            return None
        inner = self._form(node.inputs[0], complement, guarded)
        if isinstance(inner, str):
            return inner
        return lambda b: b.add(node.operation, inner(b), *node.inputs[1:])

    def _behind_guard(self, node: Node, complement: bool) -> Form | None:
        """The form of what stands behind a clip or an epsilon."""
        for place in (0, 1):
            if isinstance(node.operation, Maximum | Minimum | Add):
                bound = uniform(self._b, node.inputs[place])
                if bound is not None and _is_guard(node, float(bound)):
                    return self._form(node.inputs[1 - place], complement, guarded=True)
        return None

    def _complement(self, node: Node, guarded: bool) -> Form | None:
        """``log(1 - x)``."""
        if isinstance(node.operation, Sigmoid):
            return lambda b: b.neg(b.softplus(node.inputs[0]))
        if isinstance(node.operation, Subtract) and self._is_near_one(node.inputs[0]):
            return self._form(node.inputs[1], complement=False, guarded=guarded)
        return None

    def _plain(self, node: Node, guarded: bool) -> Form | None:
        """``log(x)``."""
        operation, x = node.operation, node.inputs[0]
        if isinstance(operation, Softmax):
            return lambda b: b.log_softmax(x, operation.axis)
        if isinstance(operation, Sigmoid):
            return lambda b: b.neg(b.softplus(negated(b, x)))
        if isinstance(operation, Subtract) and self._is_near_one(x):
            return self._form(node.inputs[1], complement=True, guarded=guarded)
        if isinstance(operation, Sum) and (one := self._one_of_each(operation, x, guarded)) is not None:
            return one
        if not isinstance(operation, Exp | Add | Sum | Multiply | Divide):
            return None
        # What is not a probability may be as small as it likes: a bound says what is to be done with it.
        return f"{node.output} is kept from being too small" if guarded else self._of_exponentials(node)

    def _of_exponentials(self, node: Node) -> Form | None:
        operation, x = node.operation, node.inputs[0]
        if isinstance(operation, Exp):
            return lambda b: x
        if isinstance(operation, Add):
            return self._one_plus_exp(node)
        if isinstance(operation, Sum):
            return self._log_sum_exp(operation, x)
        return self._product(node)

    def _one_plus_exp(self, node: Node) -> Form | None:
        for place in (0, 1):
            power = self._b.producer(node.inputs[place])
            if power is None or not isinstance(power.operation, Exp):
                continue
            if uniform(self._b, node.inputs[1 - place]) == 1:
                x = power.inputs[0]
                return lambda b: b.softplus(x)
        return None

    def _product(self, node: Node) -> Form:
        """``log(x*y) == log(x) + log(y)`` and ``log(x/y) == log(x) - log(y)`` where at least one of the two has a form,
        and so is positive."""
        x, y = node.inputs
        first, second = (self._form(value, complement=False, guarded=False) for value in (x, y))
        if isinstance(first, str) and isinstance(second, str):
            return f"neither {x} nor {y} has a logarithm of a safer form"

        def write(b: Emit) -> Value:
            left = b.log(x) if isinstance(first, str) else first(b)
            right = b.log(y) if isinstance(second, str) else second(b)
            return b.add(left, right) if isinstance(node.operation, Multiply) else b.sub(left, right)

        return write

    def _one_of_each(self, operation: Sum, x: Value, guarded: bool) -> Form | None:
        """A sum over the last axis, weighted with one-hot vectors: it picks one element."""
        product = self._b.producer(x)
        if product is None or not isinstance(product.operation, Multiply):
            return None
        for value, weights in (product.inputs, product.inputs[::-1]):
            maker = self._b.producer(weights)
            one_hot = maker is not None and isinstance(maker.operation, OneHot)
            last = x.type.rank - 1
            if not one_hot or value.type != weights.type or [axis % (last + 1) for axis in operation.axes] != [last]:
                continue
            inner = self._form(value, complement=False, guarded=guarded)
            if isinstance(inner, str):
                return inner
            write, chosen = inner, weights
            # Not the product, in which -inf would meet 0.
            return lambda b: b.add(operation, b.select(b.not_equal(chosen, 0), write(b), 0))
        return None

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
        return number is not None and abs(float(number) - 1) <= _LARGEST_EPSILON


def _is_guard(node: Node, bound: float) -> bool:
    """Whether a probability stays the same, but for an epsilon, when it meets ``bound`` in this node."""
    if isinstance(node.operation, Minimum):
        return bound >= 1 - _LARGEST_EPSILON
    return 0 <= bound <= _LARGEST_EPSILON


def _lowest(dtype: DType) -> float:
    """The most negative finite number; for bf16, as for all, one that the dtype has."""
    return -(2.0**127) if dtype is DType.BF16 else float(np.finfo(dtype.numpy).min)
