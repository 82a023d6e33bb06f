"""Arrays that the NumPy statements of several operations need: operands in row-major order, tables, means of rows."""

from __future__ import annotations

from compiler.ir.dims import Dim, product
from compiler.ir.types import DType, TensorType
from compiler.ops.base import NumpyLowering
from compiler.ops.samples import typical


def row_major(c: NumpyLowering, index: int) -> str:
    """The array of operand ``index``, or a copy of it in row-major order where it is not known to be in that."""
    if c.contiguous(index):
        return c.inputs[index]
    copied = c.scratch(c.input_types[index])
    c.line(f"np.copyto({copied}, {c.inputs[index]})")
    return copied


def channel_axes(rank: int) -> tuple[int, ...]:
    """Every axis but that of the channels, the second one."""
    return (0, *range(2, rank))


def to_last(rank: int) -> tuple[int, ...]:
    """The order of axes that makes [N, *spatial, C] of [N, C, *spatial] with so many spatial axes."""
    return (0, *range(2, rank + 2), 1)


def to_first(rank: int) -> tuple[int, ...]:
    """The inverse of :func:`to_last`."""
    return (0, rank + 1, *range(1, rank + 1))


def by_channels(c: NumpyLowering, index: int) -> str:
    """Operand ``index`` [N, C, *spatial] as [N, C, places]: each sample is a matrix or the transpose of one."""
    samples, channels, *spatial = c.input_types[index].shape
    if c.channels_last(index) and not c.contiguous(index):
        rows = c.shape((samples, product(spatial), channels))
        turned = c.view(c.inputs[index], f"transpose({to_last(len(spatial))})")
        return c.view(c.view(turned, f"reshape({rows})"), "swapaxes(-1, -2)")
    return c.view(row_major(c, index), f"reshape({c.shape((samples, channels, product(spatial)))})")


def filled(c: NumpyLowering, length: Dim, value: str, dtype: DType) -> str:
    """A vector of ``length`` elements that are all ``value``, an expression of sizes; with it, ``np.dot`` sums rows or
    columns several times as fast as ``np.add.reduce`` does."""
    vector = f"np.full({c.dim(length)}, {value}, {c.scalar(0, dtype)}.dtype)"
    return c.bound(vector, TensorType(dtype, (length,)))


# Rows that are summed by products with ones are no longer than this: sums of more numbers would lose digits.
LONGEST = 1 << 14


def sum_by_product(c: NumpyLowering, axes: tuple[int, ...], value: str = "1") -> bool:
    """Write the statement that fills the result with the sums of the operand over ``axes``, from 0, times ``value``, an
    expression of sizes, where the BLAS does that: false, and nothing written, where it does not.

    A product with a vector takes a third of the time of ``np.add.reduce`` and less, however large the operand is.
    """
    type = c.input_types[0]
    first, last = tuple(range(len(axes))), tuple(range(type.rank - len(axes), type.rank))
    if type.dtype not in (DType.F32, DType.F64) or not axes or axes not in (first, last) or not c.contiguous(0):
        return False
    summed = product(type.shape[axis] for axis in axes)
    if axes == last and typical(summed) > LONGEST:
        return False
    vector = filled(c, summed, value, type.dtype)
    if len(axes) == type.rank:
        c.line(f"{c.view(c.inputs[0], 'reshape(-1)')}.dot({vector}, out={c.view(c.outputs[0], 'reshape(())')})")
        return True
    out = c.outputs[0] if c.output_types[0].rank == 1 else c.view(c.outputs[0], "reshape(-1)")
    rest = product(type.shape[len(axes) :] if axes == first else type.shape[: -len(axes)])
    shape = (summed, rest) if axes == first else (rest, summed)
    rows = c.inputs[0] if type.shape == shape else c.view(c.inputs[0], f"reshape({c.shape(shape)})")
    c.line(f"{vector}.dot({rows}, out={out})" if axes == first else f"{rows}.dot({vector}, out={out})")
    return True


def number(c: NumpyLowering, value: str, dtype: DType) -> str:
    """A 0-d array of ``value``, an expression of sizes, which NumPy takes faster than a Python number."""
    return c.bound(f"np.full((), {value}, {c.scalar(0, dtype)}.dtype)", TensorType(dtype))


def sum_channels(
    c: NumpyLowering, x: str, factor: str, shape: tuple[Dim, ...], dtype: DType, out: str, weight: str = "1"
) -> None:
    """Write the statements that fill ``out`` [channels] with the sums over samples and places of ``x``, or of
    ``x * factor`` where there is one; ``shape`` is [samples, channels, places], in which the arrays lie in memory.

    ``weight``, an expression of sizes, is multiplied into the sums of ``x``.
    """
    samples, channels, places = shape
    rows = f"reshape({c.shape((samples * channels, places))})"
    sums = c.scratch(TensorType(dtype, (samples, channels)))
    by_row = c.view(sums, "reshape(-1)")
    if factor:
        c.line(f"np.vecdot({c.view(x, rows)}, {c.view(factor, rows)}, out={by_row})")
    else:
        c.line(f"np.dot({c.view(x, rows)}, {filled(c, places, weight, dtype)}, out={by_row})")
    c.line(f"np.add.reduce({sums}, axis=0, out={out})")


def sum_last_channels(c: NumpyLowering, x: str, shape: tuple[Dim, ...], dtype: DType, out: str) -> None:
    """The same for ``x`` [samples, channels, places] that lies in memory as [samples, places, channels]."""
    samples, channels, places = shape
    sums = c.scratch(TensorType(dtype, (samples, 1, channels)))
    ones = c.view(filled(c, places, "1", dtype), "reshape(1, -1)")
    c.line(f"np.matmul({ones}, {c.view(x, 'swapaxes(-1, -2)')}, out={sums})")
    c.line(f"np.add.reduce({sums}, axis=(0, 1), out={out})")


def sum_products(c: NumpyLowering, a: str, b: str, type: TensorType, out: str) -> None:
    """Write the statements that fill ``out`` [columns] with the sums over the rows of ``a * b``, which are of ``type``
    [rows, columns]."""
    if type.dtype is not DType.BF16:
        c.line(f"np.einsum('ij,ij->j', {a}, {b}, out={out})")
        return
    # NumPy's einsum does not know this type.
    products = c.scratch(type)
    c.line(f"np.multiply({a}, {b}, out={products})")
    c.line(f"np.add.reduce({products}, axis=0, out={out})")
