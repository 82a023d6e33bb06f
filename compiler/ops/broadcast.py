"""Broadcasting of shapes whose sizes may be symbols, as NumPy does it, and its inverse."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.dims import Dim, as_symbol, equal
from compiler.ir.types import TensorType, TypeMismatch
from compiler.ops.checks import action


def broadcast_types(verb: str, *types: TensorType) -> tuple[Dim, ...]:
    """The common shape of the operands. Raises TypeMismatch that names the dimension at fault.

    Axes are laid over one another from the last one on; two sizes fit where they are equal or one is 1.
    """
    return broadcast_shapes(verb, types, [type.shape for type in types])


def broadcast_shapes(verb: str, types: Sequence[TensorType], shapes: Sequence[tuple[Dim, ...]]) -> tuple[Dim, ...]:
    """The common shape of ``shapes``, parts of the shapes of ``types``, which a TypeMismatch shows whole."""
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    rank = max(map(len, shapes))
    common: list[Dim] = []
    for axis in range(rank):
        dim: Dim = 1
        for shape in shapes:
            index = axis - rank + len(shape)
            if index >= 0:
                dim = _join(verb, types, axis, dim, shape[index])
        common.append(dim)
    return tuple(common)


def broadcast_axes(shape: tuple[Dim, ...], wider: tuple[Dim, ...]) -> tuple[int, ...]:
    """The axes of ``wider`` over which ``shape`` was repeated to get there."""
    lead = len(wider) - len(shape)
    return tuple(axis for axis, dim in enumerate(wider) if axis < lead or (shape[axis - lead] == 1 and dim != 1))


def unknown_equality(tried: str, a: Dim, b: Dim, detail: str) -> TypeMismatch:
    """The mismatch for two sizes that may or may not be the same; ``tried`` as in "cannot add f32[N] and f32[M]"."""
    if isinstance(a, int) or isinstance(b, int):
        size, other = (a, b) if isinstance(a, int) else (b, a)
        help = f"if {other} is always {size}, say so in the signature: write numbers for its symbols"
    elif as_symbol(a) and as_symbol(b):
        help = "if the two sizes are always the same, give them one name in the signature"
    else:
        help = "nothing in the signature says that these sizes are the same"
    return TypeMismatch("E0302", f"cannot {tried}: whether {a} equals {b} is not known", detail, (help,))


def _join(verb: str, types: Sequence[TensorType], axis: int, a: Dim, b: Dim) -> Dim:
    if a == 1:
        return b
    if b == 1:
        return a
    same = equal(a, b)
    if same:
        return a
    if same is None:
        detail = f"dimension {axis} is {a} here and {b} there"
        raise unknown_equality(action(verb, types), a, b, detail)
    raise TypeMismatch(
        "E0301",
        f"cannot {action(verb, types)}",
        f"dimension {axis} differs: {a} and {b}",
        ("sizes have to be equal, or one of them 1: reshape or project one of the operands",),
    )
