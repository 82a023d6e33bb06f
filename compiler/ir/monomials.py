"""The parts of a dimension: symbols, floor divisions, products of their powers, and sums of those with coefficients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from compiler.ir.dims import Dim


@dataclass(frozen=True, slots=True)
class Symbol:
    """A size fixed only when the program runs; at least ``lower``, at most ``upper`` where that is given."""

    name: str
    upper: int | None = None
    lower: int = 1

    def holds(self, size: int) -> bool:
        """Whether ``size`` lies within the bounds."""
        return self.lower <= size and (self.upper is None or size <= self.upper)

    def nearest(self, size: int) -> int:
        """The size within the bounds that is nearest to ``size``."""
        return max(self.lower, size if self.upper is None else min(size, self.upper))

    @property
    def bounds_text(self) -> str:
        """``2 <= T <= 64``, ``2 <= T`` or ``T <= 64``; "" where any size from 1 on will do."""
        below = f"{self.lower} <= " if self.lower > 1 else ""
        above = "" if self.upper is None else f" <= {self.upper}"
        return f"{below}{self.name}{above}" if below or above else ""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Floor:
    """``numerator // denominator`` where the division does not come out even."""

    numerator: Dim
    denominator: Dim

    def __str__(self) -> str:
        return f"{_parenthesised(self.numerator)}//{_parenthesised(self.denominator)}"


Atom: TypeAlias = Symbol | Floor
# A product of atoms with their powers, sorted by text; the empty product is 1.
Monomial: TypeAlias = tuple[tuple[Atom, int], ...]
# A sum of monomials, each once, with coefficients that are not 0, sorted by `order`; the empty sum is 0.
Terms: TypeAlias = tuple[tuple[Monomial, int], ...]


def terms_of(dim: Dim) -> Terms:
    """The sum that ``dim`` is; a number is a sum too."""
    return ((((), dim),) if dim else ()) if isinstance(dim, int) else dim.terms


def order(monomial: Monomial) -> tuple[int, tuple[tuple[str, int], ...]]:
    """The key by which terms are sorted: graded lexicographic, the highest first.

    That is a monomial order (greater factors make greater products), which polynomial division relies on.
    """
    return -sum(power for _, power in monomial), tuple((str(atom), -power) for atom, power in monomial)


def collect(terms: Iterable[tuple[Monomial, int]]) -> Terms:
    """The sum of ``terms``, those with the same monomial joined."""
    totals: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        totals[monomial] = totals.get(monomial, 0) + coefficient
    kept = [term for term in totals.items() if term[1]]
    if len(kept) > 1:
        kept.sort(key=lambda term: order(term[0]))
    return tuple(kept)


def multiply(a: Monomial, b: Monomial) -> Monomial:
    if not a or not b:
        return a or b
    powers: dict[Atom, int] = dict(a)
    for atom, power in b:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: str(item[0])))


def divide(a: Monomial, b: Monomial) -> Monomial | None:
    """``a / b`` where that is a monomial again."""
    powers = dict(a)
    for atom, power in b:
        left = powers.get(atom, 0) - power
        if left < 0:
            return None
        powers[atom] = left
    return tuple((atom, power) for atom, power in powers.items() if power)


def common_symbols(monomials: Iterable[Monomial]) -> Monomial:
    """The greatest product of symbols that divides all of them. (A floor division may be 0, and not cancel.)"""
    first, *others = monomials
    powers = {atom: power for atom, power in first if isinstance(atom, Symbol)}
    for other in others:
        here = dict(other)
        powers = {atom: min(power, here[atom]) for atom, power in powers.items() if atom in here}
    return tuple(powers.items())


def text(terms: Terms) -> str:
    """The sum in Python's notation."""
    shown = ""
    for monomial, coefficient in terms:
        sign = ("- " if coefficient < 0 else "+ ") if shown else ("-" if coefficient < 0 else "")
        shown += f"{' ' if shown else ''}{sign}{_term_text(monomial, coefficient)}"
    return shown


def _term_text(monomial: Monomial, coefficient: int) -> str:
    """The term without its sign; a lone division goes unbracketed only where no minus precedes it."""
    alone = len(monomial) == 1 and coefficient == 1
    factors = [_factor_text(atom, power, alone) for atom, power in monomial]
    if abs(coefficient) != 1 or not factors:
        factors.insert(0, str(abs(coefficient)))
    return "*".join(factors)


def _factor_text(atom: Atom, power: int, alone: bool) -> str:
    shown = str(atom) if isinstance(atom, Symbol) or (alone and power == 1) else f"({atom})"
    return shown if power == 1 else f"{shown}**{power}"


def _parenthesised(dim: Dim) -> str:
    shown = str(dim)
    return shown if shown.isidentifier() or isinstance(dim, int) else f"({shown})"
