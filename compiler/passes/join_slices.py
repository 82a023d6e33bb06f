"""Columns that are scaled one by one and set side by side again, scaled all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.ir.dims import equal
from compiler.ir.graph import Value
from compiler.ops.elementwise import Add, Divide, Multiply, Subtract
from compiler.ops.emit import Emit
from compiler.ops.slice import Concat, Slice
from compiler.passes.pattern import Match, any_of, uniform
from compiler.passes.rewrite import RewritePass, Rule


@dataclass(frozen=True)
class _Part:
    """``(x[first:last] - shift)·factor`` along the axis that parts are set side by side on."""

    x: Value
    first: int
    last: int
    shift: float = 0.0
    factor: float = 1.0


def _part(b: Emit, value: Value, axis: int) -> _Part | None:
    """What ``value`` is of a slice of something; None where it is nothing of the kind."""
    node = b.producer(value)
    if node is None or not value.type.dtype.is_float:
        return None
    if isinstance(node.operation, Slice):
        return _slice(node.operation, node.inputs[0], axis)
    if not isinstance(node.operation, Add | Subtract | Multiply | Divide):
        return None
    left, right = node.inputs
    number = uniform(b, right)
    if number is None and node.operation.commutative:
        (left, right), number = (right, left), uniform(b, left)
    inner = _part(b, left, axis) if number is not None and left.type == value.type else None
    if inner is None or number is None or (isinstance(node.operation, Multiply | Divide) and number == 0):
        return None
    match node.operation:
        case Multiply():
            return _Part(inner.x, inner.first, inner.last, inner.shift, inner.factor * number)
        case Divide():
            return _Part(inner.x, inner.first, inner.last, inner.shift, inner.factor / number)
        case _:
            sign = -1 if isinstance(node.operation, Add) else 1
            shift = inner.shift + sign * number / inner.factor
            return _Part(inner.x, inner.first, inner.last, shift, inner.factor)


def _slice(operation: Slice, x: Value, axis: int) -> _Part | None:
    """The part that a slice takes, where it takes everything along the other axes."""
    limits = zip(operation.starts, operation.stops, operation.steps, x.type.shape, strict=True)
    for place, (start, stop, step, size) in enumerate(limits):
        if step != 1 or (place != axis and (start != 0 or not equal(stop, size))):
            return None
    first, last = operation.starts[axis], operation.stops[axis]
    return _Part(x, first, last) if isinstance(first, int) and isinstance(last, int) else None


def _parts(m: Match) -> list[_Part] | str:
    """The parts, or why they are not all of one value in its order."""
    axis = m.find(Concat).axis % m.type.rank
    parts: list[_Part] = []
    for value in m.inputs:
        part = _part(m.builder, value, axis)
        if part is None:
            return f"{value} is not a slice times a number plus a number"
        if parts and part.x is not parts[0].x:
            return f"{value} is a slice of {part.x}, not of {parts[0].x}"
        if part.first != (parts[-1].last if parts else 0):
            return f"{value} begins with {part.first}, not where the one before ends"
        parts.append(part)
    whole = parts[0].x.type.shape[axis]
    return parts if equal(parts[-1].last, whole) else f"{parts[-1].last} of {whole} are there"


def _has_parts(m: Match) -> str | None:
    found = _parts(m)
    return found if isinstance(found, str) else None


def _joined(b: Emit, m: Match) -> Value:
    parts, axis = _parts(m), m.find(Concat).axis % m.type.rank
    assert not isinstance(parts, str), "the condition has looked"

    def row(numbers: Sequence[float]) -> Value:
        sizes = [part.last - part.first for part in parts]
        array = np.repeat(np.array(numbers), sizes).astype(m.type.dtype.numpy)
        return b.constant(array.reshape(-1, *(1,) * (m.type.rank - 1 - axis)))

    x = parts[0].x
    if any(part.shift for part in parts):
        x = b.sub(x, row([part.shift for part in parts]))
    return b.mul(x, row([part.factor for part in parts])) if any(part.factor != 1 for part in parts) else x


@dataclass(frozen=True)
class JoinSlices(RewritePass):
    """Makes all slices of a value, in their order and each shifted and scaled by its own numbers, one subtraction and
    one multiplication of the whole."""

    name = "join-slices"
    rules = (Rule("join-slices", any_of((Concat,)), _joined, _has_parts),)
