"""What to do about an array that does not fit what a program takes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from compiler.ir.graph import Value
from compiler.ir.types import DType
from runtime.data.columns import ArrayOrColumn, blocks

# Axes of which all orders are tried.
_AXES = 5


def for_type(value: Value, array: ArrayOrColumn) -> str:
    """Advice for an array of another element type: a conversion, if it keeps the values."""
    name, wanted = value.name, value.type.dtype
    if array.dtype.kind in "USV":
        return f"number the words first: np.unique({name}, return_inverse=True)[1]"
    if not wanted.is_float and array.dtype.kind in "iuf" and not _keeps(array, wanted):
        found = DType.of(array.dtype) or array.dtype
        return (
            f"{wanted} can't hold its values: let the train block and the model take {found}, or another type that does"
        )
    return f"convert it: {name}.astype(np.{wanted.numpy.name})"


def for_shape(value: Value, array: ArrayOrColumn) -> str:
    """Advice for an array of another shape: another order of its axes, or a reshape, that makes it fit."""
    rest, given = value.type.shape[1:], array.shape[1:]
    sizes = tuple(dim for dim in rest if isinstance(dim, int))
    if array.ndim and len(array) and len(sizes) == len(rest):
        if advice := for_order(value.name, given, sizes):
            return advice
        if int(np.prod(given, dtype=np.int64)) == int(np.prod(sizes, dtype=np.int64)):
            text = ", ".join(["-1", *map(str, sizes)])
            return f"the elements are right in number: {value.name}.reshape({text})"
    if not value.type.dtype.is_float and array.ndim == len(value.type.shape) + 1:
        return f"rows that have a 1 for the class and 0 elsewhere become numbers: {value.name}.argmax(-1)"
    return f"change the data, or the type of `{value.name}` in the train block"


def for_order(name: str, given: Sequence[int], wanted: Sequence[int]) -> str | None:
    """Advice for an array whose axes behind the first are ``given`` where they should be ``wanted``, if those are the
    same in another order: the one that changes least."""
    if sorted(given) != sorted(wanted) or not 1 < len(given) <= _AXES:
        return None
    orders = (order for order in permutations(range(len(given))) if [given[axis] for axis in order] == list(wanted))
    axes = ", ".join(str(axis) for axis in (0, *(axis + 1 for axis in min(orders, key=_moves))))
    return f"the axes are in another order: {name}.transpose({axes})"


def _keeps(array: ArrayOrColumn, wanted: DType) -> bool:
    """Whether all values of the array are values of the whole numbers ``wanted``."""
    with np.errstate(invalid="ignore"):
        return all(bool((block.astype(wanted.numpy) == block).all()) for _, block in blocks(array))


def _moves(order: Sequence[int]) -> int:
    """How many pairs of axes change places."""
    return sum(first > second for index, first in enumerate(order) for second in order[index + 1 :])
