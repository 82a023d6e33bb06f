"""How much a source may ask for: bounds that no network comes near, so that a slip of the finger ends in an error and
not in a full memory or a wait of hours."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from compiler.diagnostics import Diagnostic, Span, error
from compiler.ir.dims import Dim, Poly, bounds
from compiler.ir.types import TensorType, TypeMismatch

if TYPE_CHECKING:
    from compiler.front.values import DslValue

LARGEST = 1 << 62  # as a number, and as the number of elements of a tensor
MOST_REPEATS = 10_000  # copies of one body
MOST_STAGES = 50_000  # stages that are run for one graph, in every copy and call
_MOST_ITEMS = 100_000  # elements of a list, those of lists in it included; characters of a text
_LONGEST_SIZE = 1_000  # characters that a size is written with


@dataclass
class Budget:
    """The stages that may still be run for one graph."""

    left: int = MOST_STAGES

    def spend(self) -> bool:
        """Counts one more stage; whether there may be one."""
        self.left -= 1
        return self.left >= 0

    @property
    def just_spent(self) -> bool:
        """Whether the last stage counted was the first one too many."""
        return self.left == -1


def is_too_long(value: DslValue) -> bool:
    """Whether a list or text is longer than any source needs. Looks at no more of it than it has to."""
    if isinstance(value, str):
        return len(value) > _MOST_ITEMS
    left = _MOST_ITEMS
    waiting: list[DslValue] = [value]
    while waiting and left:
        item = waiting.pop()
        left -= 1
        if isinstance(item, tuple):
            waiting += item
    return bool(waiting)


def is_too_large(size: Dim) -> bool:
    """Whether a size is beyond all memory, or an expression that nobody could read."""
    return len(str(size)) > _LONGEST_SIZE if isinstance(size, Poly) else abs(size) > LARGEST


def check_type(type: TensorType) -> None:
    """Raises TypeMismatch for a tensor that no memory can hold, or that certainly has no elements."""
    known = prod(dim for dim in type.shape if isinstance(dim, int))
    if is_too_large(known):
        raise TypeMismatch("E0404", f"{type} has too many elements", "no memory holds that many")
    if any(isinstance(dim, Poly) and is_too_large(dim) for dim in type.shape):
        raise TypeMismatch("E0404", "the size of this tensor is too complicated", "it takes pages to write down")
    if any(bounds(dim)[1] < 1 for dim in type.shape):
        raise TypeMismatch("E0404", f"{type} has no elements", "a size is at least 1")


def nested_too_deeply(at: Span, name: str) -> Diagnostic:
    """E0106 about what takes more levels of calls to work out than Python has. It may be reported again further out,
    where there was no room left to report it."""
    title = f"{name} is nested too deeply to be worked out"
    help = "have fewer blocks, models and constants that need one another in a row"
    return error("E0106", title, at, help=help)
