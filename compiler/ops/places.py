"""Where indexed elements lie in a flat tensor: NumPy's indexing is fast on one flat axis only."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.dims import Dim, product
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.base import NumpyLowering
from compiler.ops.shape import operand_as, shape_text

I64 = DType.I64


def check_scatter_axis(shape: Sequence[Dim], axis: int) -> None:
    """Raise TypeMismatch unless ``axis``, counted from 0, is one of ``shape``."""
    if not 0 <= axis < len(shape):
        raise TypeMismatch("E0301", f"cannot scatter into {shape_text(shape)}: it has no axis {axis}")


def check_indices(c: NumpyLowering, indices: int, size: Dim) -> None:
    """Have the program raise IndexError at a call where the operand ``indices`` does not lie in 0 to ``size`` - 1:
    NumPy's functions with ``out`` would clip what is out of range, or take it from the other end."""
    check = c.helper("check_indices", CHECK_INDICES)
    c.line(f"{check}({c.inputs[indices]}, {c.dim(size)}, {c.place!r})")


CHECK_INDICES = '''\
def check_indices(indices, size, place):
    """Refuse indices that are not 0 to `size` - 1."""
    # As unsigned numbers, those below 0 are larger than all others.
    unsigned = indices.view(np.uint64 if indices.itemsize == 8 else np.uint32)
    if indices.size and np.maximum.reduce(unsigned, axis=None) >= size:
        wrong = indices[(indices < 0) | (indices >= size)].flat[0]
        raise IndexError(f"{place} is given the index {wrong}, and takes 0 to {size - 1}")
'''


def flat_places(
    c: NumpyLowering, indices: int, wide: tuple[Dim, Dim, Dim], shape: Sequence[Dim], axis: int, result: TensorType
) -> str:
    """Write the statements that work out where the elements lie which the operand ``indices`` picks along ``axis``.

    With a tensor of ``shape`` seen as ``(rows, size, after)`` and the operand as ``wide``, which broadcasts to
    ``(rows, count, after)``, the places are ``(row*size + index)*after + column``. Gives the name of their i64 array,
    which has the shape of ``result``.
    """
    rows, size, after = product(shape[:axis]), shape[axis], product(shape[axis + 1 :])
    columns = "" if after == 1 else f" + np.arange({c.dim(after)})"
    offsets = c.bound(
        f"np.arange({c.dim(rows)})[:, None, None]*{c.dim(size * after)}{columns}", TensorType(I64, (rows, 1, after))
    )
    flat = c.scratch(result.with_dtype(I64))
    count = product(result.shape[axis : result.rank - len(shape) + axis + 1])
    places = c.view(flat, f"reshape({c.shape((rows, count, after))})")
    picked = operand_as(c, indices, f"reshape({c.shape(wide)})")
    if after == 1:
        c.line(f"np.add({picked}, {offsets}, out={places}, dtype=np.int64)")
    else:
        c.line(f"np.multiply({picked}, {c.dim(after)}, out={places}, dtype=np.int64)")
        c.line(f"np.add({places}, {offsets}, out={places})")
    return flat
