"""Picking slices by index along an axis, and the inverse, which adds them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.ir.dims import Dim, equal, evaluate, symbol
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
from compiler.ops.checks import need_indices, need_numbers, normal_axis
from compiler.ops.parts import SUM, Cut, Joined
from compiler.ops.places import check_indices, check_scatter_axis, flat_places
from compiler.ops.shape import operand_as, shape_text

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32, I32, I64 = DType.F32, DType.I32, DType.I64
N = symbol("N")
SIZES = {"N": 4}


@operation
@dataclass(frozen=True)
class Gather(Op):
    """``numpy.take(x, indices, axis)``: operands x and indices (i32 or i64); the axis gives way to the indices' shape.

    Indices count from 0. One outside of the axis is an error while a program runs, in ONNX Runtime too.
    """

    axis: int

    opcode = "gather"

    def may_refuse(self, inputs: tuple[TensorType, ...]) -> bool:
        return True

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        x, indices = inputs
        need_indices("gather by", indices)
        axis = normal_axis("gather from", x, self.axis)
        return (x.with_shape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        x, indices = inputs
        return b.scatter_add(x.type.shape, indices, gradients[0], self.axis % x.type.rank), None

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        x, indices = cut.axes
        place, rank = self.axis % cut.operands[0].rank, cut.operands[1].rank
        if x is None and indices is not None:
            return (place + indices,)
        if x in (None, place) or indices is not None:
            return None
        return (x if x < place else x + rank - 1,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, indices = operands
        return (np.asarray(np.take(x, indices, axis=self.axis)),)

    def numpy(self, c: NumpyLowering) -> None:
        check_indices(c, 1, c.input_types[0].shape[self.axis])
        # With mode="raise" NumPy makes a copy of the result to write it at once.
        c.line(f"np.take({c.inputs[0]}, {c.inputs[1]}, axis={self.axis}, out={c.outputs[0]}, mode='clip')")

    def onnx(self, c: OnnxLowering) -> None:
        c.node("Gather", c.inputs, c.outputs, axis=self.axis)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        table = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)
        type = TensorType(F32, (5, 3))
        repeated = np.array([[4, 0], [0, 2], [4, 4], [1, 0]])
        stack = np.linspace(-2, 2, 24, dtype=np.float32).reshape(4, 3, 2)
        return (
            Sample(cls(0), (type, TensorType(I64, (N, 2))), sizes=SIZES, values=(table, repeated)),
            Sample(cls(-1), (type, TensorType(I32, (2,))), values=(table, np.array([2, 0], np.int32))),
            Sample(cls(0), (type, TensorType(I64)), values=(table, np.array(3))),
            Sample(
                cls(1),
                (TensorType(F32, (N, 3, 2)), TensorType(I64, (4,))),
                sizes=SIZES,
                values=(stack, np.array([0, 0, 2, 1])),
            ),
            Sample(
                cls(0), (TensorType(I64, (3,)), TensorType(I64, (2,))), values=(np.array([7, 8, 9]), np.array([2, 2]))
            ),
        )


@operation
@dataclass(frozen=True)
class ScatterAdd(Op):
    """The inverse of :class:`Gather`: zeros of ``shape``, and each slice of the updates added where its index points.

    Operands: indices (i32 or i64) and updates, of the shape that a gather with these indices would give.
    ``axis`` counts from 0.
    """

    shape: tuple[Dim, ...]
    axis: int

    opcode = "scatter_add"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        indices, updates = inputs
        need_indices("scatter by", indices)
        need_numbers("scatter", updates)
        result, axis = updates.with_shape(self.shape), self.axis
        check_scatter_axis(self.shape, axis)
        expected = (*self.shape[:axis], *indices.shape, *self.shape[axis + 1 :])
        fits = len(expected) == updates.rank and all(
            equal(one, other) for one, other in zip(expected, updates.shape, strict=True)
        )
        if not fits:
            raise TypeMismatch(
                "E0301",
                f"cannot scatter {updates} by {indices} into {shape_text(self.shape)} along axis {axis}",
                f"the updates have to be {shape_text(expected)}",
            )
        return (result,)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return None, b.gather(gradients[0], inputs[0], self.axis)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        indices, updates = cut.axes
        rank = cut.operands[0].rank
        if indices is not None:
            return (SUM,) if updates == self.axis + indices else None
        if updates is None or self.axis <= updates < self.axis + rank:
            return None
        return (updates if updates < self.axis else updates - rank + 1,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        indices, updates = operands
        result = np.zeros([evaluate(dim, sizes) for dim in self.shape], updates.dtype)
        lead: tuple[Any, ...] = (slice(None),) * self.axis
        for place in np.ndindex(indices.shape):
            result[(*lead, indices[place])] += updates[(*lead, *place)]
        return (result,)

    def numpy(self, c: NumpyLowering) -> None:
        # np.add.at is fast for one flat axis only.
        flat = flat_places(c, 0, (1, c.input_types[0].size, 1), self.shape, self.axis, c.input_types[1])
        c.line(f"{c.outputs[0]}.fill(0)")
        out, flat = c.view(c.outputs[0], "reshape(-1)"), c.view(flat, "reshape(-1)")
        c.line(f"np.add.at({out}, {flat}, {operand_as(c, 1, 'reshape(-1)')})")

    def onnx(self, c: OnnxLowering) -> None:
        """ScatterND wants the indexed axes first: the others are moved behind them and back."""
        indices, updates = c.input_types
        moved = (*range(self.axis, self.axis + indices.rank), *range(self.axis))
        front = (*moved, *range(self.axis + indices.rank, updates.rank))
        shape = (self.shape[self.axis], *self.shape[: self.axis], *self.shape[self.axis + 1 :])
        zeros = c.node("Expand", (c.scalar(0, updates.dtype), c.shape(shape)))
        wide = c.node("Cast", (c.inputs[0],), to=I64) if indices.dtype is I32 else c.inputs[0]
        places = c.node("Unsqueeze", (wide, c.constant(np.array([-1], np.int64))))
        if self.axis == 0:
            c.node("ScatterND", (zeros, places, c.inputs[1]), c.outputs, reduction="add")
            return
        ordered = c.node("Transpose", (c.inputs[1],), perm=front)
        result = c.node("ScatterND", (zeros, places, ordered), reduction="add")
        back = (*range(1, self.axis + 1), 0, *range(self.axis + 1, len(shape)))
        c.node("Transpose", (result,), c.outputs, perm=back)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def updates(*shape: int) -> Array:
            return np.linspace(-1, 2, int(np.prod(shape)), dtype=np.float32).reshape(shape)

        repeated = np.array([[4, 0], [0, 2], [4, 4], [1, 0]])
        return (
            Sample(
                cls((5, 3), 0),
                (TensorType(I64, (N, 2)), TensorType(F32, (N, 2, 3))),
                sizes=SIZES,
                values=(repeated, updates(4, 2, 3)),
            ),
            Sample(
                cls((N, 5, 2), 1),
                (TensorType(I32, (3,)), TensorType(F32, (N, 3, 2))),
                sizes=SIZES,
                values=(np.array([1, 4, 1], np.int32), updates(4, 3, 2)),
            ),
            Sample(
                cls((2, N, 5), 2),
                (TensorType(I64, (2, 2)), TensorType(F32, (2, N, 2, 2))),
                sizes=SIZES,
                values=(np.array([[1, 4], [1, 0]]), updates(2, 4, 2, 2)),
            ),
            Sample(cls((5, 3), 0), (TensorType(I64), TensorType(F32, (3,))), values=(np.array(2), updates(3))),
            Sample(
                cls((4,), 0),
                (TensorType(I64, (3,)), TensorType(I64, (3,))),
                values=(np.array([3, 0, 3]), np.array([5, 6, 7])),
            ),
        )
