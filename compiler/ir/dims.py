"""Dimensions: integer polynomials over symbols and floor divisions, kept in normal form.

A dimension is an ``int`` where its size is known, and a :class:`Poly` where it depends on symbols such
as the batch size. Arithmetic always returns the normal form, so that equal expressions are equal
objects: ``(2*N + 4)//2 == N + 2``. Every symbol stands for a size, so it is at least 1.

Comparison has three values: ``True``, ``False`` and ``None`` for "it depends on the symbols".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import gcd, inf, prod
from typing import TypeAlias

from compiler.ir.estimate import bounds_of, estimate
from compiler.ir.monomials import (
    Atom,
    Floor,
    Monomial,
    Symbol,
    Terms,
    collect,
    common_symbols,
    divide,
    multiply,
    terms_of,
    text,
)

__all__ = [
    "Atom", "Dim", "Floor", "Monomial", "Poly", "Symbol", "as_symbol", "bounds", "ceil_divide", "equal", "evaluate",
    "floor_divide", "less_equal", "product", "substitute", "symbol", "symbols",
]  # fmt: skip


@dataclass(frozen=True)
class Poly:
    """A sum of monomials with integer coefficients that is not a constant. Made by arithmetic only."""

    terms: Terms

    def __add__(self, other: Dim) -> Dim:
        return _dim((*self.terms, *terms_of(other)))

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return Poly(tuple((monomial, -coefficient) for monomial, coefficient in self.terms))

    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    def __rsub__(self, other: Dim) -> Dim:
        return -self + other

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            return Poly(tuple((monomial, n * other) for monomial, n in self.terms)) if other else 0
        return _dim((multiply(a, b), m * n) for a, m in self.terms for b, n in other.terms)

    __rmul__ = __mul__

    def __pow__(self, exponent: int) -> Dim:
        return product([self] * exponent)

    def __floordiv__(self, other: Dim) -> Dim:
        return floor_divide(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floor_divide(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return self - floor_divide(self, other) * other

    def __rmod__(self, other: Dim) -> Dim:
        return other - floor_divide(other, self) * self

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """See :func:`bounds`."""
        return estimate(self.terms)

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """See :func:`symbols`."""
        found: dict[str, Symbol] = {}
        for monomial, _ in self.terms:
            for atom, _ in monomial:
                if isinstance(atom, Symbol):
                    found[atom.name] = atom
                else:
                    found |= {s.name: s for part in (atom.numerator, atom.denominator) for s in symbols(part)}
        return tuple(found[name] for name in sorted(found))

    @cached_property
    def _text(self) -> str:
        return text(self.terms)

    @cached_property
    def _hash(self) -> int:
        return hash(self.terms)

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Poly({self._text})"


Dim: TypeAlias = int | Poly


def symbol(name: str, upper: int | None = None, lower: int = 1) -> Poly:
    """The dimension that is just the symbol ``name``."""
    return _atom(Symbol(name, upper, lower))


def as_symbol(dim: Dim) -> Symbol | None:
    """The symbol that ``dim`` consists of, or None where it is a number or an expression."""
    atom = _as_atom(dim)
    return atom if isinstance(atom, Symbol) else None


def floor_divide(numerator: Dim, denominator: Dim) -> Dim:
    """``numerator // denominator`` rounded down, in normal form.

    Common factors cancel, ``(2*N)//4 == N//2``; whole multiples of the denominator are taken out,
    ``(k*q + r)//k == q + r//k``; nested divisions are joined, ``(a//b + c)//d == (a + b*c)//(b*d)``;
    and what can have only one value is that value. Raises ZeroDivisionError for the constant 0.
    """
    if isinstance(numerator, int) and isinstance(denominator, int):
        return numerator // denominator
    if denominator == 0:
        raise ZeroDivisionError("division of a dimension by zero")
    if bounds(denominator)[1] < 0:
        numerator, denominator = -numerator, -denominator
    numerator, denominator = _cancelled(numerator, denominator)
    quotient, rest = _split_multiples(numerator, denominator)
    if rest == 0:
        return quotient
    return quotient + _divide_rest(rest, denominator)


def ceil_divide(numerator: Dim, denominator: Dim) -> Dim:
    """``numerator / denominator`` rounded up, for a positive denominator."""
    return floor_divide(numerator + (denominator - 1), denominator)


def product(dims: Iterable[Dim]) -> Dim:
    """The product of ``dims``; 1 for none."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def equal(a: Dim, b: Dim) -> bool | None:
    """Whether the sizes are the same: always, never, or (None) for some values of the symbols."""
    difference = a - b
    if isinstance(difference, int):
        return difference == 0
    low, high = bounds(difference)
    if low > 0 or high < 0:
        return False
    constant = sum(c for monomial, c in difference.terms if not monomial)
    common = gcd(*(c for monomial, c in difference.terms if monomial))
    return False if constant % common else None


def less_equal(a: Dim, b: Dim) -> bool | None:
    """Whether ``a <= b``: always, never, or (None) for some values of the symbols."""
    low, high = bounds(b - a)
    return True if low >= 0 else False if high < 0 else None


def bounds(dim: Dim) -> tuple[float, float]:
    """The least and greatest value that ``dim`` can be shown to take: exact integers, or infinities where open."""
    return bounds_of(dim)


def symbols(dim: Dim) -> tuple[Symbol, ...]:
    """Every symbol in ``dim``, those inside floor divisions included, in order of name."""
    return () if isinstance(dim, int) else dim.symbols


def substitute(dim: Dim, replacements: Mapping[str, Dim]) -> Dim:
    """``dim`` with each named symbol replaced, all at once."""
    if isinstance(dim, int):
        return dim
    terms: list[tuple[Monomial, int]] = []
    for monomial, coefficient in dim.terms:
        factors = (_substituted(atom, replacements) for atom, power in monomial for _ in range(power))
        terms += terms_of(coefficient * product(factors))
    return _dim(terms)


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """The size of ``dim`` where every symbol has the given size. Raises KeyError for one that has none."""
    if isinstance(dim, int):
        return dim
    return sum(
        coefficient * prod(_atom_value(atom, sizes) ** power for atom, power in monomial)
        for monomial, coefficient in dim.terms
    )


def _dim(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    collected = collect(terms)
    if len(collected) > 1 or (collected and collected[0][0]):
        return Poly(collected)
    return collected[0][1] if collected else 0


def _atom(atom: Atom) -> Poly:
    return Poly(((((atom, 1),), 1),))


def _as_atom(dim: Dim) -> Atom | None:
    match dim:
        case Poly(((((atom, 1),), 1),)):
            return atom
    return None


def _substituted(atom: Atom, replacements: Mapping[str, Dim]) -> Dim:
    if isinstance(atom, Symbol):
        return replacements[atom.name] if atom.name in replacements else _atom(atom)
    return floor_divide(substitute(atom.numerator, replacements), substitute(atom.denominator, replacements))


def _atom_value(atom: Atom, sizes: Mapping[str, int]) -> int:
    if isinstance(atom, Symbol):
        return sizes[atom.name]
    return evaluate(atom.numerator, sizes) // evaluate(atom.denominator, sizes)


def _cancelled(numerator: Dim, denominator: Dim) -> tuple[Dim, Dim]:
    """Both without the symbols, and then without the number, that they have as a common factor.

    The constant of the numerator need not have the number ``g`` as a factor where the denominator is positive:
    ``(g*a + c)//(g*b) == (a + c//g)//b``.
    """
    above, below = terms_of(numerator), terms_of(denominator)
    shared = common_symbols(monomial for monomial, _ in (*above, *below))
    if shared:
        above, below = _without(above, shared), _without(below, shared)
    positive = bounds(denominator)[0] > 0
    number = gcd(*(c for _, c in below), *(c for monomial, c in above if monomial or not positive))
    if number > 1:
        above, below = (tuple((m, c // number) for m, c in terms) for terms in (above, below))
    return _dim(above), _dim(below)


def _without(terms: Terms, factor: Monomial) -> Terms:
    divided = ((divide(monomial, factor), coefficient) for monomial, coefficient in terms)
    return tuple((monomial, coefficient) for monomial, coefficient in divided if monomial is not None)


def _split_multiples(numerator: Dim, denominator: Dim) -> tuple[Dim, Dim]:
    """``(q, r)`` with ``numerator == q*denominator + r``: polynomial division by the denominator's first term.

    What is left has coefficients from 0 to that of the first term wherever its monomial divides. A denominator such as
    ``64 - T``, whose first term is negative, is divided by only where nothing is left.
    """
    divisor = terms_of(denominator)
    lead, leading = divisor[0]
    quotient: Dim = 0
    rest = numerator
    while piece := _next_multiple(rest, lead, leading):
        quotient = quotient + piece
        rest = rest - piece * denominator
    if leading < 0 and len(divisor) > 1 and rest != 0:
        return 0, numerator
    return quotient, rest


def _next_multiple(rest: Dim, lead: Monomial, leading: int) -> Dim:
    pieces = []
    for monomial, coefficient in terms_of(rest):
        reduced = divide(monomial, lead)
        if reduced is not None and coefficient // leading:
            pieces.append((reduced, coefficient // leading))
    return _dim(pieces)


def _divide_rest(rest: Dim, denominator: Dim) -> Dim:
    """``rest // denominator`` where no multiple can be taken out of ``rest``."""
    if isinstance(denominator, int) and (least := _same_quotient(rest, denominator)) is not None:
        return least
    for quotient in (0, -1):
        below, above = quotient * denominator, (quotient + 1) * denominator
        if less_equal(below, rest) and less_equal(rest + 1, above):
            return quotient
    nested = _nested_division(rest)
    if nested is not None and bounds(denominator)[0] > 0:
        others = rest - _atom(nested)
        return floor_divide(nested.numerator + others * nested.denominator, nested.denominator * denominator)
    return _atom(Floor(rest, denominator))


def _same_quotient(rest: Dim, denominator: int) -> int | None:
    low, high = bounds(rest)
    if low == -inf or high == inf or low // denominator != high // denominator:
        return None
    return int(low // denominator)


def _nested_division(dim: Dim) -> Floor | None:
    """The floor division in ``dim``, where there is one only, and it stands alone in its term, once."""
    divided = [term for term in terms_of(dim) if any(isinstance(atom, Floor) for atom, _ in term[0])]
    match divided:
        case [((((Floor() as division), 1),), 1)]:
            return division
    return None
