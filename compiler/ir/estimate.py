"""Between which values a dimension lies, whatever the symbols are.

Three estimates are joined, each a proof, so that the best of them holds:

* interval arithmetic on the terms as they stand;
* the polynomial rewritten in the distance of each symbol from its least value, in which ``N*T - N`` is seen not to be
  negative, and from its greatest, for ``64*N - N*T`` where ``T <= 64``;
* both again after floor divisions by a number were let go: ``a/m - (m - 1)/m <= a//m <= a/m``, so that ``N//2`` and
  ``N`` cancel as far as they can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import ceil, floor, inf
from typing import TYPE_CHECKING, TypeAlias

from compiler.ir.monomials import Atom, Floor, Monomial, Symbol, Terms, multiply, terms_of

if TYPE_CHECKING:
    from compiler.ir.dims import Dim

# Exact numbers, or an infinity.
Number: TypeAlias = int | Fraction | float
Range: TypeAlias = tuple[Number, Number]
_Sum: TypeAlias = Iterable[tuple[Monomial, int | Fraction]]

# Rewriting in distances takes 2**degree steps; shapes have far fewer factors than this.
_GREATEST_DEGREE = 8


def bounds_of(dim: Dim) -> tuple[float, float]:
    """The least and greatest value of ``dim``: exact integers, or infinities."""
    return (dim, dim) if isinstance(dim, int) else dim.bounds


def estimate(terms: Terms) -> tuple[float, float]:
    """The least and greatest value of a sum of terms: exact integers, or infinities."""
    ranges = _ranges(terms)
    low, high = _interval(terms, ranges)
    if _is_monotonic(terms):
        return _up(low), _down(high)
    if max(sum(power for _, power in monomial) for monomial, _ in terms) <= _GREATEST_DEGREE:
        for lower in (terms, _without_floors(terms, below=True)):
            low = max(low, _at_corners(lower)[0])
        for upper in (terms, _without_floors(terms, below=False)):
            high = min(high, _at_corners(upper)[1])
    return _up(low), _down(high)


def _up(number: Number) -> float:
    return ceil(number) if abs(number) != inf else float(number)


def _down(number: Number) -> float:
    return floor(number) if abs(number) != inf else float(number)


def _is_monotonic(terms: Terms) -> bool:
    """Whether interval arithmetic is exact: every symbol, on its own, only makes the sum greater, or only less."""
    signs = {coefficient > 0 for monomial, coefficient in terms if monomial}
    return len(signs) <= 1 and all(isinstance(atom, Symbol) for monomial, _ in terms for atom, _ in monomial)


def _ranges(terms: _Sum) -> dict[Atom, Range]:
    return {atom: _range(atom) for monomial, _ in terms for atom, _ in monomial}


def _range(atom: Atom) -> Range:
    if isinstance(atom, Symbol):
        return atom.lower, inf if atom.upper is None else atom.upper
    low, high = bounds_of(atom.numerator)
    least, greatest = bounds_of(atom.denominator)
    if least < 1:
        return -inf, inf
    return (
        _floor_divide(low, greatest if low >= 0 else least),
        _floor_divide(high, least if high >= 0 else greatest),
    )


def _floor_divide(a: float, b: float) -> float:
    if a in (inf, -inf):
        return a
    if b == inf:
        return 0 if a >= 0 else -1
    return a // b


def _interval(terms: _Sum, ranges: Mapping[Atom, Range]) -> Range:
    low: Number = 0
    high: Number = 0
    for monomial, coefficient in terms:
        term: Range = (coefficient, coefficient)
        for atom, power in monomial:
            for _ in range(power):
                term = _product(term, ranges[atom])
        low, high = low + term[0], high + term[1]
    return low, high


def _product(a: Range, b: Range) -> Range:
    ends = [0 if 0 in (x, y) else x * y for x in a for y in b]
    return min(ends), max(ends)


def _at_corners(terms: _Sum) -> Range:
    """The interval of the sum rewritten in distances from the least, and from the greatest value of each atom."""
    terms = tuple(terms)
    ranges = _ranges(terms)
    low, high = _interval(*_in_distances(terms, ranges, from_least=True))
    if any(least > -inf and greatest < inf for least, greatest in ranges.values()):
        other = _interval(*_in_distances(terms, ranges, from_least=False))
        low, high = max(low, other[0]), min(high, other[1])
    return low, high


def _in_distances(terms: _Sum, ranges: Mapping[Atom, Range], *, from_least: bool) -> tuple[_Sum, dict[Atom, Range]]:
    """The sum with each atom ``x`` standing for its distance from one end of its range, and the new ranges."""
    ends: dict[Atom, tuple[Number, int]] = {}
    distances: dict[Atom, Range] = {}
    for atom, (least, greatest) in ranges.items():
        preferred = (least, 1) if from_least else (greatest, -1)
        other = (greatest, -1) if from_least else (least, 1)
        end, sign = next((e for e in (preferred, other) if e[0] not in (inf, -inf)), (0, 0))
        ends[atom] = (end, sign) if sign else (0, 1)
        distances[atom] = (0, greatest - least) if sign else (least, greatest)
    result: dict[Monomial, int | Fraction] = {}
    for monomial, coefficient in terms:
        for product, number in _expanded(monomial, coefficient, ends):
            result[product] = result.get(product, 0) + number
    return result.items(), distances


def _expanded(monomial: Monomial, coefficient: int | Fraction, ends: Mapping[Atom, tuple[Number, int]]) -> _Sum:
    """The product of ``end + sign * distance`` over the atoms, multiplied out."""
    result: list[tuple[Monomial, int | Fraction]] = [((), coefficient)]
    for atom, power in monomial:
        end, sign = ends[atom]
        for _ in range(power):
            moved = [(multiply(product, ((atom, 1),)), sign * number) for product, number in result]
            kept = [(product, int(end) * number) for product, number in result if end]
            result = moved + kept
    return result


def _without_floors(terms: Terms, *, below: bool) -> _Sum:
    """A sum that is never greater (``below``) or never less, with the divisions by numbers let go.

    Only a division that stands once in its term, beside symbols, which are positive, can be bounded this way.
    """
    pending: list[tuple[Monomial, int | Fraction]] = list(terms)
    result: dict[Monomial, int | Fraction] = {}
    while pending:
        monomial, coefficient = pending.pop()
        division = _lone_division(monomial)
        if division is None:
            result[monomial] = result.get(monomial, 0) + coefficient
            continue
        numerator, divisor, others = division
        share = Fraction(coefficient) / divisor
        pending += [(multiply(others, inner), share * number) for inner, number in terms_of(numerator)]
        if (coefficient > 0) is below:
            pending.append((others, -share * (divisor - 1)))
    return result.items()


def _lone_division(monomial: Monomial) -> tuple[Dim, int, Monomial] | None:
    """Numerator, positive constant divisor and the other factors, where exactly one factor is such a division."""
    floors = [(atom, power) for atom, power in monomial if isinstance(atom, Floor)]
    if len(floors) != 1:
        return None
    (atom, power), divisor = floors[0], floors[0][0].denominator
    if power != 1 or not isinstance(divisor, int) or divisor < 1:
        return None
    return atom.numerator, divisor, tuple(factor for factor in monomial if factor[0] is not atom)
