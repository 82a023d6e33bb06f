"""The matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
        return gradients_of_product(b, left, right, gradients[0])

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


@operation
@dataclass(frozen=True)
class TransposedMatMul(Op):
    """The matrix product of operands of which those are transposed, in their last two axes, that ``transposed`` says.

    Gradients of products are such: there a transposition takes no time.
    """

    transposed: tuple[bool, bool]

    opcode = "transposed_matmul"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return MatMul().infer(_multiplied_types(inputs, self.transposed))

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        return MatMul().macs(_multiplied_types(inputs, self.transposed), outputs)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        left, right = inputs
        return gradients_of_product(b, left, right, gradients[0], *self.transposed)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        pairs = zip(cut.operands, cut.axes, self.transposed, strict=True)
        axes = tuple(_other_axis(type, axis) if turned else axis for type, axis, turned in pairs)
        return MatMul().in_parts(replace(cut, operands=_multiplied_types(cut.operands, self.transposed), axes=axes))

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        pairs = zip(operands, self.transposed, strict=True)
        return MatMul().reference(sizes, *(np.swapaxes(array, -1, -2) if turned else array for array, turned in pairs))

    def numpy(self, c: NumpyLowering) -> None:
        lower_matmul(c, c.outputs[0], self.transposed)

    def onnx(self, c: OnnxLowering) -> None:
        if all(type.rank == 2 for type in c.input_types):
            named = {"transA": self.transposed[0], "transB": self.transposed[1]}
            c.node("Gemm", c.inputs, c.outputs, **{name: 1 for name, turned in named.items() if turned})
            return
        triples = zip(c.inputs, c.input_types, self.transposed, strict=True)
        operands = [_onnx_turned(c, name, type.rank) if turned else name for name, type, turned in triples]
        c.node("MatMul", operands, c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        n, t = symbol("N"), symbol("T")

        def sample(left: bool, right: bool, *shapes: tuple[Dim, ...]) -> Sample:
            types = tuple(TensorType(DType.F32, shape) for shape in shapes)
            return Sample(cls((left, right)), types, sizes={"N": 3, "T": 5})

        return (
            sample(True, False, (n, 4), (n, 2)),
            sample(False, True, (n, 4), (3, 4)),
            sample(True, True, (4, n), (3, 4)),
            sample(False, True, (n, t, 4), (3, 4)),
            sample(True, False, (n, 4, t), (4, 3)),
            sample(False, True, (n, t, 4), (n, t, 4)),
            sample(True, False, (2, 3, 4, n), (3, 4, 2)),
            sample(True, True, (n, 4, t), (n, 2, 4)),
        )


def gradients_of_product(
    b: Emit, left: Value, right: Value, given: Value, left_turned: bool = False, right_turned: bool = False
) -> tuple[Value, Value]:
    """The gradients by both operands, each as it is before it is transposed, of a product with the gradient ``given``:
    with y = l r, those are g rᵀ and lᵀ g, and the transposes of these are r gᵀ and gᵀ l."""
    if left_turned:
        to_left = multiplied(b, right, given, right_turned, True)
    else:
        to_left = multiplied(b, given, right, False, not right_turned)
    if left.type.rank > 2 and right.type.rank == 2 and not left_turned:
        # One product over all rows at once, where a product for each matrix would have to be summed.
        left, given = (b.reshape(value, flat_rows(value.type)) for value in (left, given))
    if right_turned:
        return to_left, multiplied(b, given, left, True, left_turned)
    return to_left, multiplied(b, left, given, not left_turned, False)


def multiplied(b: Emit, left: Value, right: Value, left_turned: bool, right_turned: bool) -> Value:
    """The product of two matrices, or stacks of them, each transposed or not."""
    turned = (left_turned, right_turned)
    return b.add(TransposedMatMul(turned) if any(turned) else MatMul(), left, right)


def _multiplied_types(types: Sequence[TensorType], transposed: tuple[bool, bool]) -> tuple[TensorType, ...]:
    """The types of the operands as they are multiplied."""
    return tuple(_transpose(type) if turned else type for type, turned in zip(types, transposed, strict=True))


def _transpose(type: TensorType) -> TensorType:
    *batch, rows, columns = type.shape
    return type.with_shape((*batch, columns, rows))


def _other_axis(type: TensorType, axis: int | None) -> int | None:
    """Where an axis is found in the transpose."""
    return axis if axis is None or axis < type.rank - 2 else 2 * type.rank - 3 - axis


def _onnx_turned(c: OnnxLowering, name: str, rank: int) -> str:
    return c.node("Transpose", (name,), perm=[*range(rank - 2), rank - 1, rank - 2])


def lower_matmul(c: NumpyLowering, out: str, transposed: tuple[bool, bool] = (False, False)) -> None:
    """Write what fills ``out`` with the product of the first two operands, ``transposed`` where it says so."""
    left, right = _multiplied_types(c.input_types[:2], transposed)
    a, b = (_turned_view(c, index) if turned else c.inputs[index] for index, turned in enumerate(transposed))
    stacked = left.rank > 2 or right.rank > 2
    # NumPy multiplies a stack of matrices one by one; as the rows of one matrix they are a single call of the BLAS.
    if left.rank > 2 and right.rank == 2 and c.contiguous(0) and not transposed[0]:
        rows, stacked = product(left.shape[:-1]), False
        a = c.view(a, f"reshape({c.shape((rows, left.shape[-1]))})")
        out = c.view(out, f"reshape({c.shape((rows, right.shape[-1]))})")
    elif not stacked and (share := _share_of(c, left)) is not None:
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


def _share_of(c: NumpyLowering, left: TensorType) -> _Share | None:
    """How to share the product with a left operand of this type; None where one had better make the result."""
    result = c.output_types[0]
    lengths = [dim if isinstance(dim, int) else 0 for dim in result.shape]
    if max(lengths) < 2 * _LEAST_ROWS:
        return None
    known = max((type.size for type in (*c.input_types[:2], result) if isinstance(type.size, int)), default=0)
    work = result.size * left.shape[-1] + FROM_MEMORY * known
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


def _turned_view(c: NumpyLowering, index: int) -> str:
    return c.view(c.inputs[index], "T" if c.input_types[index].rank == 2 else "swapaxes(-1, -2)")


def _axes(rank: int) -> str:
    return "no axes" if rank == 0 else "one axis"


def _transposition(a: TensorType, b: TensorType) -> tuple[str, ...]:
    if equal(a.shape[-1], b.shape[-1]):
        return (f"the right operand may have to be transposed: it has {b.shape[-1]} columns",)
    if equal(a.shape[-2], b.shape[-2]):
        return (f"the left operand may have to be transposed: it has {a.shape[-2]} rows",)
    return ("the left operand's last axis has to be as long as the right operand's last but one",)
