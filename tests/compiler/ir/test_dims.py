"""Dimensions, held against plain integer arithmetic at sizes chosen by hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from operator import add, floordiv, mod, mul, sub
from typing import Any, TypeAlias

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.ir.dims import (
    Dim,
    Floor,
    Poly,
    Symbol,
    as_symbol,
    bounds,
    ceil_divide,
    equal,
    evaluate,
    floor_divide,
    less_equal,
    product,
    substitute,
    symbol,
    symbols,
)

thorough = settings(max_examples=300)

GREATEST = {"N": 40, "T": 8, "C": 40}
N, T, C = symbol("N"), symbol("T", GREATEST["T"]), symbol("C")
NAMED: dict[str, Dim] = {"N": N, "T": T, "C": C}

# An expression: a number, the name of a symbol, or an operator on two expressions.
Expression: TypeAlias = int | str | tuple[Callable[[Any, Any], Any], Any, Any]

leaves = st.one_of(st.integers(-9, 9), st.sampled_from(list(NAMED)))
divisors = st.one_of(
    st.integers(-9, 9).filter(bool),
    st.sampled_from(list(NAMED)),
    st.tuples(st.just(mul), st.integers(1, 4), st.sampled_from(list(NAMED))),
    st.tuples(st.just(add), st.sampled_from(list(NAMED)), st.integers(0, 3)),
)
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from([add, sub, mul]), inner, inner),
        st.tuples(st.sampled_from([floordiv, mod]), inner, st.one_of(divisors, inner)),
    ),
    max_leaves=9,
)
sizes = st.fixed_dictionaries({name: st.integers(1, most) for name, most in GREATEST.items()})


def work_out(expression: Expression, values: dict[str, Any]) -> Any:
    """The expression with the symbols standing for ``values``: dimensions, or the integers to compare with."""
    if isinstance(expression, str):
        return values[expression]
    if isinstance(expression, int):
        return expression
    operator, a, b = expression
    return operator(work_out(a, values), work_out(b, values))


def both(expression: Expression, at: dict[str, int]) -> tuple[Dim, int]:
    """The expression as a dimension, and as the integer that it is at these sizes."""
    try:
        return work_out(expression, NAMED), work_out(expression, at)
    except ZeroDivisionError:
        assume(False)
        raise


@thorough
@given(expressions, sizes)
def test_arithmetic_agrees_with_integers(expression: Expression, at: dict[str, int]) -> None:
    dim, value = both(expression, at)
    assert evaluate(dim, at) == value
    low, high = bounds(dim)
    assert low <= value <= high


@thorough
@given(expressions, sizes)
def test_text_is_python_for_the_dimension(expression: Expression, at: dict[str, int]) -> None:
    dim, value = both(expression, at)
    assert eval(str(dim), {}, dict(at)) == value
    # The normal form is a fixed point: working it out again changes nothing.
    assert eval(str(dim), {}, dict(NAMED)) == dim


@thorough
@given(expressions, expressions, sizes)
def test_comparisons_are_never_contradicted(a: Expression, b: Expression, at: dict[str, int]) -> None:
    (left, left_value), (right, right_value) = both(a, at), both(b, at)
    assert equal(left, right) in (None, left_value == right_value)
    assert less_equal(left, right) in (None, left_value <= right_value)
    assert (left == right) is (equal(left, right) is True)


@thorough
@given(expressions, st.tuples(st.integers(1, 3), st.integers(0, 3)), sizes)
def test_substitution_agrees_with_integers(
    expression: Expression, scaling: tuple[int, int], at: dict[str, int]
) -> None:
    factor, offset = scaling
    dim, _ = both(expression, at)
    replaced = {"N": C * factor + offset, "C": N}
    value = {**at, "N": at["C"] * factor + offset, "C": at["N"]}
    try:
        substituted, expected = substitute(dim, replaced), evaluate(dim, value)
    except ZeroDivisionError:
        assume(False)
    assert evaluate(substituted, at) == expected


@thorough
@given(expressions, expressions, expressions, sizes)
def test_ring_laws_hold_between_objects(a: Expression, b: Expression, c: Expression, at: dict[str, int]) -> None:
    x, y, z = (both(expression, at)[0] for expression in (a, b, c))
    assert x + y == y + x
    assert x * y == y * x
    assert (x + y) + z == x + (y + z)
    assert (x * y) * z == x * (y * z)
    assert x * (y + z) == x * y + x * z
    assert hash(x * (y + z)) == hash(x * y + x * z)
    assert x - x == 0
    assert not isinstance(x + y - y, Poly) or str(x + y - y) == str(x)


@thorough
@given(expressions, st.one_of(st.integers(1, 9), st.just("C")), sizes)
def test_ceil_divide(expression: Expression, by: int | str, at: dict[str, int]) -> None:
    dim, value = both(expression, at)
    divisor = work_out(by, NAMED)
    assert evaluate(ceil_divide(dim, divisor), at) == -(-value // work_out(by, dict(at)))


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (N + 0, "N"),
        (2 * N + N * 3 - 1, "5*N - 1"),
        (N * T * N, "N**2*T"),
        (3 - N, "-N + 3"),
        ((2 * N + 4) // 2, "N + 2"),
        ((N - 3) // 2 + 1, "(N + 1)//2 - 1"),
        (((N - 1) // 2 + 1 - 1) // 2 + 1, "(N + 3)//4"),
        ((N // 2) // 3, "N//6"),
        ((N // 2 + 1) // 2, "(N + 2)//4"),
        ((5 * N + 7) // 3, "(2*N + 1)//3 + N + 2"),
        ((2 * N) // 4, "N//2"),
        ((2 * N + 1) // 4, "N//2"),
        ((N * C) // (N * T), "C//T"),
        ((N * T * 64) // (N * T), "64"),
        ((N + 1) * C // (N + 1), "C"),
        ((N * N + 2 * N + 1) // (N + 1), "N + 1"),
        ((2 * N) // (N + 1), "1"),
        (-(-N // 2), "N - (N//2)"),
        (T // 9, "0"),
        ((T + 7) // 8, "1"),
        ((N * T) % T, "0"),
        (5 // N, "5//N"),
        (-1 // N, "-1"),
        ((N // 2) ** 2, "(N//2)**2"),
        (N // -2, "-N + N//2"),
    ],
)
def test_normal_form(dim: Dim, text: str) -> None:
    assert str(dim) == text


def test_joined_divisions_do_not_pile_up() -> None:
    dim: Dim = N
    for _ in range(100):
        dim = (dim + 2 - 3) // 2 + 1
    assert dim == (N + (2**100 - 1)) // 2**100


def test_symbols_with_different_bounds_are_different() -> None:
    assert symbol("T", 8) != symbol("T")
    assert symbol("T", 8) == T


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        (N, N, True),
        (N, N + 1, False),
        (2 * N, 2 * T + 1, False),  # even and odd
        (N, T, None),
        (N, 0, False),
        (T, 9, False),
        (T, 8, None),
        (N // 2 + (N + 1) // 2, N, None),  # true, but beyond the normal form
        ((N + 7) // 8 * 8 + 1, N, False),
        (4, 4, True),
        (4, 5, False),
    ],
)
def test_equal(a: Dim, b: Dim, answer: bool | None) -> None:
    assert equal(a, b) is answer
    assert equal(b, a) is answer


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        (1, N, True),
        (2, N, None),
        (N, 0, False),
        (T, 8, True),
        (N, N * T, True),
        (N * T, N * 8, True),
        (N * T, N * 8 - 1, None),
        (N // 2, N, True),
        (N, N // 2, False),
        (N, (N + 7) // 8 * 8, True),
        ((N + 7) // 8 * 8, N + 7, True),
        ((N + 7) // 8 * 8, N - 1, False),
        (N // 2 + T // 2, N + T, True),
        (C * (N // 2), C * N, True),
        (N, C, None),
    ],
)
def test_less_equal(a: Dim, b: Dim, answer: bool | None) -> None:
    assert less_equal(a, b) is answer


@pytest.mark.parametrize(
    ("dim", "expected"),
    [
        (7, (7, 7)),
        (N, (1, inf)),
        (-N, (-inf, -1)),
        (T, (1, 8)),
        (9 - T, (1, 8)),
        (N * T - N, (0, inf)),
        ((N - 1) // 2, (0, inf)),
        ((T + 1) // 2, (1, 4)),
        (N % 8, (0, 7)),
        (5 // N, (0, 5)),
        (T * T - 64, (-63, 0)),
        # Beyond what a float tells apart.
        (N * 2**70 - 1, (2**70 - 1, inf)),
    ],
)
def test_bounds(dim: Dim, expected: tuple[float, float]) -> None:
    assert bounds(dim) == expected


def test_product() -> None:
    assert product([]) == 1
    assert product([2, N, 3]) == 6 * N
    assert product([N, 0]) == 0


def test_as_symbol() -> None:
    assert as_symbol(T) == Symbol("T", 8)
    for dim in (3, 2 * N, N + 1, N * N, N // 2):
        assert as_symbol(dim) is None


def test_symbols_are_found_in_divisions_too() -> None:
    assert symbols((N + T) // C + 1) == (Symbol("C"), Symbol("N"), Symbol("T", 8))
    assert symbols(3) == ()


def test_substitution_is_simultaneous() -> None:
    assert substitute(N * 2 + C, {"N": C, "C": N}) == 2 * C + N
    assert substitute((N + 1) // 2, {"N": 5}) == 3
    assert substitute(5, {"N": 1}) == 5


def test_division_by_zero() -> None:
    with pytest.raises(ZeroDivisionError):
        floor_divide(N, 0)
    with pytest.raises(ZeroDivisionError):
        floor_divide(N, N - N)


def test_evaluate_needs_every_symbol() -> None:
    with pytest.raises(KeyError, match="T"):
        evaluate(N + T, {"N": 1})


def test_a_division_that_does_not_come_out_even_is_one_atom() -> None:
    quotient = N // 2
    assert isinstance(quotient, Poly)
    assert quotient.terms == ((((Floor(N, 2), 1),), 1),)
    assert repr(quotient) == "Poly(N//2)"
