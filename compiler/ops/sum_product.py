"""The sum of a product, which BLAS takes in one pass over the operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.ir.dims import product, symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType
from compiler.ops.arrays import channel_axes, row_major, sum_channels, sum_products
from compiler.ops.base import NumpyLowering, Sample, operation
from compiler.ops.emit import Emit
from compiler.ops.fused import FusedOp
from compiler.ops.reduce import Sum


@operation
@dataclass(frozen=True)
class SumProduct(FusedOp):
    """``sum(a * b)`` over ``axes``, counted from 0: operands a and b of one shape."""

    axes: tuple[int, ...]
    keepdims: bool = False

    opcode = "sum_product"

    def expand(self, b: Emit, *inputs: Value) -> tuple[Value, ...]:
        return (b.add(Sum(self.axes, self.keepdims), b.mul(*inputs)),)

    @staticmethod
    def takes(type: TensorType, axes: Sequence[int]) -> bool:
        """Whether there is a quick way to sum products of this type over these axes: over the first or the last ones,
        or over all but that of the channels."""
        first, last = tuple(range(len(axes))), tuple(range(type.rank - len(axes), type.rank))
        shaped = tuple(axes) in (first, last, channel_axes(type.rank))
        return shaped and len(axes) > 0 and type.dtype in (DType.F32, DType.F64)

    def numpy(self, c: NumpyLowering) -> None:
        type, count = c.input_types[0], len(self.axes)
        a, b = row_major(c, 0), c.inputs[1] if c.inputs[1] == c.inputs[0] and c.contiguous(0) else row_major(c, 1)
        if self.axes == tuple(range(type.rank - count, type.rank)):
            rows = c.shape((product(type.shape[: type.rank - count]), product(type.shape[type.rank - count :])))
            a, b = (c.view(array, f"reshape({rows})") for array in (a, b))
            c.line(f"np.vecdot({a}, {b}, out={c.view(c.outputs[0], 'reshape(-1)')})")
        elif self.axes == channel_axes(type.rank):
            grid = (type.shape[0], type.shape[1], product(type.shape[2:]))
            sum_channels(c, a, b, grid, type.dtype, c.view(c.outputs[0], "reshape(-1)"))
        else:
            whole = (product(type.shape[:count]), product(type.shape[count:]))
            a, b = (c.view(array, f"reshape({c.shape(whole)})") for array in (a, b))
            sum_products(c, a, b, type.with_shape(whole), c.view(c.outputs[0], "reshape(-1)"))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        n = symbol("N")

        def sample(axes: tuple[int, ...], *shape: object, keepdims: bool = False) -> Sample:
            type = TensorType(DType.F32, shape)  # type: ignore[arg-type]
            return Sample(cls(axes, keepdims), (type, type), sizes={"N": 5})

        return (
            sample((0,), n, 4),
            sample((1,), n, 4),
            sample((0, 1), n, 4),
            sample((1, 2), 2, n, 4, keepdims=True),
            sample((0, 2), n, 3, 4),
            sample((0, 2, 3), n, 3, 2, 2, keepdims=True),
            sample((0, 1), 2, n, 3),
        )
