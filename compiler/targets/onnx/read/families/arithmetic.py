"""Arithmetic, comparisons, logic and conversions, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

from compiler.ir.graph import Value
from compiler.ir.types import DType
from compiler.ops.emit import Emit
from compiler.targets.onnx.read.node import Node, Results, reads
from compiler.targets.onnx.read.tensors import Unsupported, dtype_of

# Integers that f64 holds exactly, quotients of which it tells from the next whole number.
_SMALL = (DType.U8, DType.I8, DType.U32, DType.I32)


def _divide(b: Emit, x: Value, y: Value) -> Value:
    if x.type.dtype.is_float:
        return b.div(x, y)
    if x.type.dtype not in _SMALL:
        raise Unsupported(f"it divides whole numbers of type {x.type.dtype}")
    return b.cast(_truncated(b, b.div(b.cast(x, DType.F64), b.cast(y, DType.F64))), x.type.dtype)


def _truncated(b: Emit, x: Value) -> Value:
    return b.mul(b.sign(x), b.floor(b.abs(x)))


def _power(b: Emit, x: Value, y: Value) -> Value:
    if not x.type.dtype.is_float:
        raise Unsupported(f"it raises whole numbers of type {x.type.dtype}")
    return b.pow(x, b.cast(y, x.type.dtype))


_PAIRS: dict[str, Callable[[Emit, Value, Value], Value]] = {
    "Add": lambda b, x, y: b.add(x, y),
    "And": lambda b, x, y: b.logical_and(x, y),
    "Div": _divide,
    "Equal": lambda b, x, y: b.equal(x, y),
    "Greater": lambda b, x, y: b.greater(x, y),
    "GreaterOrEqual": lambda b, x, y: b.greater_equal(x, y),
    "Less": lambda b, x, y: b.less(x, y),
    "LessOrEqual": lambda b, x, y: b.less_equal(x, y),
    "Mul": lambda b, x, y: b.mul(x, y),
    "Or": lambda b, x, y: b.logical_or(x, y),
    "Pow": _power,
    "Sub": lambda b, x, y: b.sub(x, y),
    "Xor": lambda b, x, y: b.not_equal(x, y),
}


def _reader(function: Callable[[Emit, Value, Value], Value]) -> Callable[[Node], Value]:
    return lambda n: function(n.b, n.value(0), n.value(1))


for _kind in _PAIRS:
    reads(_kind)(_reader(_PAIRS[_kind]))


@reads("Max", "Min", "Sum", "Mean")
def several(n: Node) -> Value:
    """Any number of operands, broadcast together."""
    pair: dict[str, Callable[[Value, Value], Value]] = {"Max": n.b.maximum, "Min": n.b.minimum}
    found = reduce(pair.get(n.kind, n.b.add), n.values())
    return n.b.div(found, n.count) if n.kind == "Mean" else found


@reads("Mod")
def modulo(n: Node) -> Value:
    x, y = n.value(0), n.value(1)
    if not n.attribute("fmod", 0):
        return n.b.mod(x, y)
    if x.type.dtype in (DType.U8, DType.U32):
        return n.b.mod(x, y)
    return n.b.mul(n.b.sign(x), n.b.mod(n.b.abs(x), n.b.abs(y)))


def _tangent(b: Emit, x: Value) -> Value:
    return b.div(b.sin(x), b.cos(x))


def _sinh(b: Emit, x: Value) -> Value:
    """By expm1, which keeps numbers near 0 exact."""
    grown = b.expm1(b.abs(x))
    return b.mul(b.sign(x), b.mul(b.add(grown, b.div(grown, b.add(grown, 1))), 0.5))


def _cosh(b: Emit, x: Value) -> Value:
    return b.mul(b.add(b.exp(x), b.exp(b.neg(x))), 0.5)


def _asinh(b: Emit, x: Value) -> Value:
    size = b.abs(x)
    square = b.square(size)
    rest = b.div(square, b.add(b.sqrt(b.add(square, 1)), 1))
    return b.mul(b.sign(x), b.log1p(b.add(size, rest)))


def _acosh(b: Emit, x: Value) -> Value:
    above = b.sub(x, 1)
    return b.log1p(b.add(above, b.sqrt(b.add(b.square(above), b.mul(above, 2)))))


def _atanh(b: Emit, x: Value) -> Value:
    return b.mul(b.sub(b.log1p(x), b.log1p(b.neg(x))), 0.5)


_SINGLE: dict[str, Callable[[Emit, Value], Value]] = {
    "Abs": lambda b, x: x if x.type.dtype in (DType.U8, DType.U32) else b.abs(x),
    "Acosh": _acosh,
    "Asinh": _asinh,
    "Atanh": _atanh,
    "Ceil": lambda b, x: b.ceil(x),
    "Cos": lambda b, x: b.cos(x),
    "Cosh": _cosh,
    "Erf": lambda b, x: b.erf(x),
    "Exp": lambda b, x: b.exp(x),
    "Floor": lambda b, x: b.floor(x),
    "IsNaN": lambda b, x: b.not_equal(x, x),
    "Log": lambda b, x: b.log(x),
    "Neg": lambda b, x: b.neg(x),
    "Not": lambda b, x: b.logical_not(x),
    "Reciprocal": lambda b, x: b.reciprocal(x),
    "Round": lambda b, x: b.round(x),
    "Sign": lambda b, x: b.sign(x),
    "Sin": lambda b, x: b.sin(x),
    "Sinh": _sinh,
    "Sqrt": lambda b, x: b.sqrt(x),
    "Tan": _tangent,
}


def _single(function: Callable[[Emit, Value], Value]) -> Callable[[Node], Value]:
    return lambda n: function(n.b, n.value(0))


for _kind in _SINGLE:
    reads(_kind)(_single(_SINGLE[_kind]))


@reads("IsInf")
def infinite(n: Node) -> Value:
    x = n.value(0)
    above, below = n.attribute("detect_positive", 1), n.attribute("detect_negative", 1)
    if above and below:
        return n.b.equal(n.b.abs(x), math.inf)
    if not above and not below:
        return n.b.less(n.b.abs(x), 0)
    return n.b.equal(x, math.inf if above else -math.inf)


@reads("BitwiseNot", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift")
def bits(n: Node) -> Value:
    raise Unsupported("there is no operation on the bits of numbers")


@reads("Identity", "Dropout")
def same(n: Node) -> Results:
    """A dropout of inference, which keeps everything."""
    if n.kind == "Identity":
        return n.content(0, "content") if n.is_known(0) and not n.is_weight(0) else n.value(0)
    if n.has(2) and n.known(2, "training mode").any():
        raise Unsupported("it is a dropout that is training")
    x = n.value(0)
    if not n.reads(1):
        return x
    return x, n.b.expand(n.b.equal(n.b.scalar(0, DType.I32), 0), x.type.shape)


@reads("Cast", "CastLike")
def cast(n: Node) -> Results:
    wanted = n.type(1).dtype if n.kind == "CastLike" else dtype_of(n.attribute("to"))
    if n.kind == "CastLike" and n.is_known(0) and not n.is_weight(0):
        return n.known(0, "content").astype(wanted.numpy)
    x = n.value(0)
    return n.b.cast(x, wanted)


@reads("Where")
def where(n: Node) -> Value:
    return n.b.select(n.value(0), n.value(1), n.value(2))


@reads("Clip")
def clip(n: Node) -> Value:
    """The bounds are attributes before opset 11, and may be worked out since."""
    x = n.value(0)
    if n.opset < 11:
        low, high = n.attribute("min"), n.attribute("max")
        x = x if low is None else n.b.maximum(x, low)
        return x if high is None else n.b.minimum(x, high)
    low, high = n.optional(1), n.optional(2)
    x = x if low is None else n.b.maximum(x, low)
    return x if high is None else n.b.minimum(x, high)
