"""What a loss holds against each other, for reports: read off its arguments, whichever loss it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compiler.front.catalogue.losses.common import are_labels, are_probabilities
from compiler.ir.dims import equal
from compiler.ir.graph import Value
from compiler.ops.emit import Emit
from compiler.program import Compared


def comparisons(b: Emit, arguments: Mapping[str, Any]) -> Iterator[Compared]:
    """What a loss with these arguments, by name, compares: one thing, or nothing where it has no target of that kind.

    The names ``x``, ``target``, ``axis``, ``ignore`` and ``given`` mean the same in every loss of the catalogue. Scores
    of several classes against a target of their own shape are classes only where there is an ``axis`` to find them.
    """
    x, target = arguments.get("x"), arguments.get("target")
    if not (isinstance(x, Value) and isinstance(target, Value)) or x.type.rank == 0:
        return
    axis, given = arguments.get("axis"), arguments.get("given", "auto")
    if are_labels(x, target):
        axis = -1 if axis is None else axis
        yield Compared("classes", x, target, axis, are_probabilities(b, x, given, "softmax"), arguments.get("ignore"))
    elif len(x.type.shape) != len(target.type.shape) or not all(map(equal, x.type.shape, target.type.shape)):
        return
    elif axis is not None and isinstance(x.type.shape[axis], int) and x.type.shape[axis] != 1:
        yield Compared("classes", x, target, axis, are_probabilities(b, x, given, "softmax"))
    elif "given" in arguments and x.type.shape[1:] in ((), (1,)):
        yield Compared("binary", x, target, -1, are_probabilities(b, x, given, "sigmoid"))
    else:
        yield Compared("numbers", x, target)
