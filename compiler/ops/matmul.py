"""The matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.dims import Dim, equal, product, symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Op,
    Sample,
    Sizes,
    Values,
    operation,
)
from compiler.ops.broadcast import broadcast_shapes, unknown_equality
from compiler.ops.checks import listed, need_floats, need_one_dtype
from compiler.ops.effort import FROM_MEMORY
from compiler.ops.parts import SUM, Cut, Joined

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

VERB = "multiply the matrices"


@operation
@dataclass(frozen=True)
class MatMul(Op):
    """``a @ b`` of floats: ``[…, I, K] @ [K, J]`` or ``[…, I, K] @ […, K, J]`` gives ``[…, I, J]``.

    The leading axes are broadcast together, as ``numpy.matmul`` does; both operands have at least two axes.
    """

    opcode = "matmul"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        a, b = inputs
        need_one_dtype(VERB, a, b)
        need_floats(VERB, a, b)
        for type in inputs:
            if type.rank < 2:
                raise TypeMismatch(
                    "E0301",
                    f"cannot {VERB} {listed(inputs)}: {type} has {_axes(type.rank)}, not at least two",
                    help=("give it the missing axis with reshape",),
                )
        same = equal(a.shape[-1], b.shape[-2])
        if same is None:
            detail = f"{a.shape[-1]} columns meet {b.shape[-2]} rows"
            raise unknown_equality(f"{VERB} {listed(inputs)}", a.shape[-1], b.shape[-2], detail)
        if not same:
            raise TypeMismatch(
                "E0301",
                f"cannot {VERB} {listed(inputs)}",
                f"{a.shape[-1]} columns meet {b.shape[-2]} rows",
                _transposition(a, b),
            )
        batch = broadcast_shapes(VERB, inputs, [type.shape[:-2] for type in inputs])
        return (TensorType(a.dtype, (*batch, a.shape[-2], b.shape[-1])),)

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        return outputs[0].size * inputs[0].shape[-1]

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        left, right = inputs
        to_left = b.matmul(gradients[0], _transposed(b, right))
        if right.type.rank > 2 or left.type.rank == 2:
            return to_left, b.matmul(_transposed(b, left), gradients[0])
        # One product over all rows at once, where a product for each matrix would have to be summed.
        rows = b.reshape(left, flat_rows(left.type))
        return to_left, b.matmul(_transposed(b, rows), b.reshape(gradients[0], flat_rows(gradients[0].type)))

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        left, right = cut.axes
        a, b, rank = *cut.operands, cut.results[0].rank
        if left == a.rank - 1 or right == b.rank - 2:
            return (SUM,) if (left, right) == (a.rank - 1, b.rank - 2) else None
        if right == b.rank - 1:
            return (rank - 1,) if left is None else None
        if left == a.rank - 2:
            return (rank - 2,) if right is None else None
        # What is left are the leading axes, which are broadcast.
        return cut.broadcast()

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        a, b = (operand.astype(np.float64) for operand in operands)
        return (np.einsum("...ik,...kj->...ij", a, b).astype(operands[0].dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        lower_matmul(c, c.outputs[0])

    def onnx(self, c: OnnxLowering) -> None:
        c.node("MatMul", c.inputs, c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        n, t = symbol("N"), symbol("T")
        sizes = {"N": 3, "T": 5}

        def sample(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> Sample:
            return Sample(cls(), (TensorType(DType.F32, a), TensorType(DType.F32, b)), sizes=sizes)

        return (
            sample((n, 4), (4, 2)),
            sample((1, 4), (4, 1)),
            sample((n, t, 4), (4, 2)),
            sample((n, t, 4), (n, 4, t)),
            sample((n, 1, t, 4), (2, 4, 3)),
            sample((2, 4), (n, 4, 3)),
            sample((2, 0), (0, 3)),
        )


def lower_matmul(c: NumpyLowering, out: str) -> None:
    """Write what fills ``out`` with the product of the first two operands."""
    a, b = c.inputs[:2]
    left, right = c.input_types[:2]
    stacked = left.rank > 2 or right.rank > 2
    # NumPy multiplies a stack of matrices one by one; as the rows of one matrix they are a single call of the BLAS.
    if left.rank > 2 and right.rank == 2 and c.contiguous(0):
        rows, stacked = product(left.shape[:-1]), False
        a = c.view(a, f"reshape({c.shape((rows, left.shape[-1]))})")
        out = c.view(out, f"reshape({c.shape((rows, right.shape[-1]))})")
    elif not stacked and (share := _share_of(c)) is not None:
        _write_shared(c, a, b, out, share)
        return
    # The same product, but the method begins half a microsecond sooner.
    c.line(f"np.matmul({a}, {b}, out={out})" if stacked else f"{a}.dot({b}, out={out})")


# What several share of a matrix has at least so many rows, or columns.
_LEAST_ROWS = 64


@dataclass(frozen=True)
class _Share:
    """How several make the result: along which axis they cut it, into how many parts, with how much work in all."""

    side: int
    parts: int
    work: Dim


def _share_of(c: NumpyLowering) -> _Share | None:
    """None where one had better make the result."""
    left, right, result = *c.input_types[:2], c.output_types[0]
    known = max((type.size for type in (left, right, result) if isinstance(type.size, int)), default=0)
    work = result.size * left.shape[-1] + FROM_MEMORY * known
    lengths = [dim if isinstance(dim, int) else 0 for dim in result.shape]
    parts = c.parts(work)
    if parts == 1 or max(lengths) < parts * _LEAST_ROWS:
        return None
    return _Share(lengths.index(max(lengths)), parts, work)


def _write_shared(c: NumpyLowering, a: str, b: str, out: str, share: _Share) -> None:
    side, length = share.side, c.output_types[0].shape[share.side]
    assert isinstance(length, int)
    calls = []
    for number in range(share.parts):
        part = f"{length * number // share.parts}:{length * (number + 1) // share.parts}"
        if side == 0:
            calls.append(f"np.matmul({a}[{part}], {b}, out={out}[{part}])")
        else:
            calls.append(f"np.matmul({a}, {b}[:, {part}], out={out}[:, {part}])")
    c.together(calls, share.work)


def flat_rows(type: TensorType) -> tuple[Dim, Dim]:
    """The shape that lays all matrices of a stack under one another."""
    return product(type.shape[:-1]), type.shape[-1]


def _transposed(b: Emit, value: Value) -> Value:
    rank = value.type.rank
    return b.transpose(value, (*range(rank - 2), rank - 1, rank - 2))


def _axes(rank: int) -> str:
    return "no axes" if rank == 0 else "one axis"


def _transposition(a: TensorType, b: TensorType) -> tuple[str, ...]:
    if equal(a.shape[-1], b.shape[-1]):
        return (f"the right operand may have to be transposed: it has {b.shape[-1]} columns",)
    if equal(a.shape[-2], b.shape[-2]):
        return (f"the left operand may have to be transposed: it has {a.shape[-2]} rows",)
    return ("the left operand's last axis has to be as long as the right operand's last but one",)
