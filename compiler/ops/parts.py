"""Running an operation on parts of its operands, as processes do that share the samples of a batch.

An operand is cut along the axis that carries a symbol, such as the ``N`` of ``[N, 3, 28, 28]``; each part holds some
consecutive places of it. One without that symbol goes to every part as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from compiler.ir.dims import Dim, symbols
from compiler.ir.types import TensorType

# How the whole of a result is put together: by joining what the parts give along an axis, or by adding it up.
Joined: TypeAlias = int | Literal["sum"]
SUM: Final = "sum"


class Place(NamedTuple):
    """Where a tensor is cut: along ``axis``. It is a run of consecutive places there unless the axis was made of
    several of which the symbol's is not the first, as T·N is: then ``outer``, here T, such runs make it up."""

    axis: int
    outer: Dim = 1


# How a value is put together: along an axis, by adding, or not at all (None), as every part has the whole of it.
Standing: TypeAlias = Place | Literal["sum"] | None


@dataclass(frozen=True)
class Cut:
    """How operands are cut: for each the axis along which, or None for one that every part gets whole."""

    symbol: str
    operands: tuple[TensorType, ...]
    results: tuple[TensorType, ...]
    axes: tuple[int | None, ...]

    def carries(self, dim: Dim) -> bool:
        """Whether a size depends on the symbol."""
        return any(found.name == self.symbol for found in symbols(dim))

    def carrier(self, type: TensorType) -> int | None:
        """The only axis whose size depends on the symbol; None where there is none or more than one."""
        axes = [axis for axis, dim in enumerate(type.shape) if self.carries(dim)]
        return axes[0] if len(axes) == 1 else None

    @property
    def common(self) -> int | None:
        """The axis along which every operand is cut, none being whole; None where there is no such axis."""
        axes = set(self.axes)
        return axes.pop() if len(axes) == 1 else None

    def samples(self, axis: int = 0) -> tuple[Joined, ...] | None:
        """The rule of operations that treat every place of ``axis`` alike and for itself: whatever depends on the
        symbol does so along that axis."""
        for type, cut in zip(self.operands, self.axes, strict=True):
            if cut not in (None, axis) or (cut is None and any(map(self.carries, type.shape))):
                return None
        return (axis,) * len(self.results) if all(self.carrier(type) == axis for type in self.results) else None

    def by_carrier(self) -> tuple[Joined, ...] | None:
        """The rule of operations that treat samples for themselves, whatever axis these are on: results that have a
        place for each of them are joined, and the others are sums over them."""
        for type, cut in zip(self.operands, self.axes, strict=True):
            if cut != self.carrier(type) or (cut is None and any(map(self.carries, type.shape))):
                return None
        carriers = [self.carrier(type) for type in self.results]
        return tuple(SUM if axis is None else axis for axis in carriers)

    def broadcast(self) -> tuple[Joined, ...] | None:
        """The rule of operations that give each element from those at the same place of their operands, broadcast."""
        rank = self.results[0].rank
        found = {
            axis + rank - type.rank for type, axis in zip(self.operands, self.axes, strict=True) if axis is not None
        }
        if len(found) != 1:
            return None
        (axis,) = found
        for type, cut in zip(self.operands, self.axes, strict=True):
            place = axis - rank + type.rank
            if cut is None and place >= 0 and type.shape[place] != 1:
                return None
        return (axis,) * len(self.results)
