"""Algebraic identities: what can be computed with less, or not at all.

Results stay the same but for rounding, and but for two things: the sign of a zero (``x + 0`` is ``x`` here), and
``(-inf) ** 0.5``. Infinities and NaN count: for floats ``x * 0`` and ``x - x`` stand as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import frexp

import numpy as np

from compiler.ir.graph import Value
from compiler.ir.types import DType
from compiler.ops.activation import Relu
from compiler.ops.choose import Mask, Select
from compiler.ops.compare import Equal, LogicalAnd, LogicalNot, LogicalOr, NotEqual
from compiler.ops.convert import Cast, StopGradient
from compiler.ops.elementwise import Add, Divide, Maximum, Minimum, Multiply, Power, Subtract
from compiler.ops.emit import Emit
from compiler.ops.unary import Absolute, Ceil, Floor, Negative, Reciprocal, Round, Sign, Sqrt, Square
from compiler.passes.pattern import Made, Match, Numeral, made, number
from compiler.passes.rewrite import RewritePass, Rule
from compiler.passes.simplify_views import VIEWS

Make = Callable[[Emit, Match], Value]
Condition = Callable[[Match], str | None]


def _identity(name: str, pattern: Made, make: Make, condition: Condition | None = None) -> Rule:
    """A rule whose result is repeated to the shape that the matched operands broadcast to."""

    def replace(b: Emit, m: Match) -> Value:
        return b.expand(make(b, m), m.type.shape)

    return Rule(name, pattern, replace) if condition is None else Rule(name, pattern, replace, condition)


def _x(b: Emit, m: Match) -> Value:
    return m["x"]


def _all(value: float) -> Make:
    """The number ``value`` everywhere."""
    return lambda b, m: b.scalar(value, m.type.dtype)


def _integers(m: Match) -> str | None:
    return "infinite and NaN elements would get lost" if m.type.dtype.is_float else None


def _signed(m: Match) -> str | None:
    return f"{m.type.dtype} has no negative numbers" if m.type.dtype in (DType.U8, DType.U32) else None


def _as_large(m: Match) -> str | None:
    # Few reciprocals and many products take less time than many divisions.
    return None if m["y"].type == m.type else f"{m['y']} has fewer elements than the result"


def _exact_reciprocal(m: Match) -> str | None:
    divisor = float(m.number("c"))
    exact = abs(frexp(divisor)[0]) == 0.5 and _is_normal(1 / divisor, m.type.dtype)
    return None if exact else f"1/{divisor:g} is not a number of {m.type.dtype}, and would round the result anew"


def _product_is_normal(m: Match) -> str | None:
    if not m.type.dtype.is_float:
        return "only factors of floats are joined"
    product = float(m.number("c")) * float(m.number("d"))
    return None if _is_normal(product, m.type.dtype) else f"the product {product:g} of the constants is out of range"


def _is_normal(number: float, dtype: DType) -> bool:
    """Whether the dtype holds the number with its full precision."""
    low, high = _NORMAL[dtype]
    return low <= abs(number) <= high


_NORMAL = {
    DType.F16: (2.0**-14, 65504.0),
    DType.BF16: (2.0**-126, 3.38e38),
    DType.F32: (2.0**-126, float(np.finfo(np.float32).max)),
    DType.F64: (2.0**-1022, float(np.finfo(np.float64).max)),
}

_C, _D = Numeral("c"), Numeral("d")

_SUMS = (
    _identity("add-zero", made(Add, "x", number(0)), _x),
    _identity("subtract-zero", made(Subtract, "x", number(0)), _x),
    _identity("zero-minus", made(Subtract, number(0), "x"), lambda b, m: b.neg(m["x"]), _signed),
    _identity("subtract-itself", made(Subtract, "x", "x"), _all(0), _integers),
    _identity("add-negative", made(Add, "x", made(Negative, "y")), lambda b, m: b.sub(m["x"], m["y"])),
    _identity("subtract-negative", made(Subtract, "x", made(Negative, "y")), lambda b, m: b.add(m["x"], m["y"])),
    _identity("negate-twice", made(Negative, made(Negative, "x")), _x),
    _identity(
        "negate-difference", made(Negative, made(Subtract, "x", "y", once=True)), lambda b, m: b.sub(m["y"], m["x"])
    ),
)

_PRODUCTS = (
    _identity("multiply-by-one", made(Multiply, "x", number(1)), _x),
    _identity("multiply-by-minus-one", made(Multiply, "x", number(-1)), lambda b, m: b.neg(m["x"]), _signed),
    _identity("multiply-by-zero", made(Multiply, "x", number(0)), _all(0), _integers),
    _identity("multiply-by-itself", made(Multiply, "x", "x"), lambda b, m: b.square(m["x"])),
    _identity(
        "multiply-by-reciprocal",
        made(Multiply, "x", made(Reciprocal, "y", once=True)),
        lambda b, m: b.div(m["x"], m["y"]),
        _as_large,
    ),
    _identity(
        "multiply-negatives",
        made(Multiply, made(Negative, "x"), made(Negative, "y")),
        lambda b, m: b.mul(m["x"], m["y"]),
    ),
    _identity("scale-negative", made(Multiply, made(Negative, "x"), _C), lambda b, m: b.mul(m["x"], -m.number("c"))),
    _identity(
        "negate-scaled", made(Negative, made(Multiply, "x", _C, once=True)), lambda b, m: b.mul(m["x"], -m.number("c"))
    ),
    _identity(
        "join-factors",
        made(Multiply, made(Multiply, "x", _C), _D),
        lambda b, m: b.mul(m["x"], m.number("c") * m.number("d")),
        _product_is_normal,
    ),
    _identity("divide-by-one", made(Divide, "x", number(1)), _x),
    _identity("divide-by-minus-one", made(Divide, "x", number(-1)), lambda b, m: b.neg(m["x"])),
    _identity(
        "divide-by-power-of-two",
        made(Divide, "x", _C),
        lambda b, m: b.mul(m["x"], 1 / m.number("c")),
        _exact_reciprocal,
    ),
    _identity("one-divided-by", made(Divide, number(1), "x"), lambda b, m: b.reciprocal(m["x"])),
)

_POWERS = (
    _identity("power-0", made(Power, "x", number(0)), _all(1)),
    _identity("power-1", made(Power, "x", number(1)), _x),
    _identity("power-2", made(Power, "x", number(2)), lambda b, m: b.square(m["x"])),
    _identity("power-3", made(Power, "x", number(3)), lambda b, m: b.mul(b.square(m["x"]), m["x"])),
    _identity("power-1/2", made(Power, "x", number(0.5)), lambda b, m: b.sqrt(m["x"])),
    _identity("power-minus-1/2", made(Power, "x", number(-0.5)), lambda b, m: b.reciprocal(b.sqrt(m["x"]))),
    _identity("power-minus-1", made(Power, "x", number(-1)), lambda b, m: b.reciprocal(m["x"])),
    _identity("square-of-sign-free", made(Square, made((Negative, Absolute), "x")), lambda b, m: b.square(m["x"])),
    _identity("absolute-of-negative", made(Absolute, made(Negative, "x")), lambda b, m: b.abs(m["x"])),
    _identity("root-of-square", made(Sqrt, made(Square, "x")), lambda b, m: b.abs(m["x"])),
)


def _first(b: Emit, m: Match) -> Value:
    """The first operand of the root."""
    return m.inputs[0]


_ONCE_IS_ENOUGH = tuple(
    _identity(f"{operation.opcode}-twice", made(operation, made(operation, "x")), _first)
    for operation in (Relu, Absolute, Sign, Floor, Ceil, Round)
)


def _from_bool(m: Match) -> str | None:
    if not m.type.dtype.is_float:
        return "only floats are masked"
    return None if m["c"].type.dtype is DType.BOOL else f"{m['c']} holds numbers, not truth values"


def _outer(choose: np.ufunc) -> Make:
    """The larger or smaller of the constants c and d; NaN where one of them is."""
    return lambda b, m: b.scalar(choose(m.number("c"), m.number("d")).item(), m.type.dtype)


_CHOICES = (
    _identity("select-between-equals", made(Select, "c", "x", "x"), _x),
    _identity("select-where-true", made(Select, number(True), "x", "y"), _x),
    _identity("select-where-false", made(Select, number(False), "y", "x"), _x),
    _identity(
        "select-by-negation",
        made(Select, made(LogicalNot, "c"), "x", "y"),
        lambda b, m: b.select(m["c"], m["y"], m["x"]),
    ),
    _identity("mask-where-true", made(Mask, "x", number(True)), _x),
    _identity("mask-twice", made(Mask, made(Mask, "x", "c"), "c"), _first),
    _identity(
        "multiply-by-truth",
        made(Multiply, "x", made(Cast, "c", once=True)),
        lambda b, m: b.mask(m["x"], m["c"]),
        _from_bool,
    ),
    _identity("maximum-of-equals", made((Maximum, Minimum), "x", "x"), _x),
    _identity(
        "join-lower-bounds",
        made(Maximum, made(Maximum, "x", _C), _D),
        lambda b, m: b.maximum(m["x"], _outer(np.maximum)(b, m)),
    ),
    _identity(
        "join-upper-bounds",
        made(Minimum, made(Minimum, "x", _C), _D),
        lambda b, m: b.minimum(m["x"], _outer(np.minimum)(b, m)),
    ),
)

_LOGIC = (
    _identity("not-twice", made(LogicalNot, made(LogicalNot, "x")), _x),
    _identity(
        "not-equal", made(LogicalNot, made(Equal, "x", "y", once=True)), lambda b, m: b.not_equal(m["x"], m["y"])
    ),
    _identity(
        "not-unequal", made(LogicalNot, made(NotEqual, "x", "y", once=True)), lambda b, m: b.equal(m["x"], m["y"])
    ),
    _identity("and-true", made(LogicalAnd, "x", number(True)), _x),
    _identity("or-false", made(LogicalOr, "x", number(False)), _x),
    _identity("and-itself", made((LogicalAnd, LogicalOr), "x", "x"), _x),
)


def _lossless(m: Match) -> str | None:
    before, between = m["x"].type.dtype, m.inputs[0].type.dtype
    if before is between or between in _WIDER[before]:
        return None
    return f"not every number of {before} is one of {between}"


# The types that hold every number of a type exactly.
_WIDER: dict[DType, tuple[DType, ...]] = {
    DType.BOOL: tuple(DType),
    DType.U8: (DType.U32, DType.I32, DType.I64, DType.F16, DType.BF16, DType.F32, DType.F64),
    DType.I8: (DType.I32, DType.I64, DType.F16, DType.BF16, DType.F32, DType.F64),
    DType.U32: (DType.I64, DType.F64),
    DType.I32: (DType.I64, DType.F64),
    DType.I64: (),
    DType.F16: (DType.F32, DType.F64),
    DType.BF16: (DType.F32, DType.F64),
    DType.F32: (DType.F64,),
    DType.F64: (),
}


def _own_type(m: Match) -> str | None:
    return None if m["x"].type == m.type else f"{m['x'].type.dtype} is not {m.type.dtype}"


_CASTS = (
    Rule("cast-to-own-type", made(Cast, "x"), _x, _own_type),
    Rule("cast-twice", made(Cast, made(Cast, "x")), lambda b, m: b.cast(m["x"], m.type.dtype), _lossless),
)


@dataclass(frozen=True)
class Simplify(RewritePass):
    """Algebraic identities, and views of views."""

    name = "simplify"
    rules = (*_SUMS, *_PRODUCTS, *_POWERS, *_ONCE_IS_ENOUGH, *_CHOICES, *_LOGIC, *_CASTS, *VIEWS)


@dataclass(frozen=True)
class DropStopGradient(RewritePass):
    """Removes what cuts gradients off: of no use once the gradients are made, or where none are asked for."""

    name = "drop-stop-gradient"
    never_followed_by = ("gradient",)
    rules = (Rule("drop-stop-gradient", made(StopGradient, "x"), _x),)
