"""Picking one element for each place along an axis, and the inverse; one-hot vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.dims import Dim, equal, evaluate, product, symbol
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
    f32,
    operation,
)
from compiler.ops.broadcast import unknown_equality
from compiler.ops.checks import need_indices, need_numbers, normal_axis
from compiler.ops.parts import Cut, Joined
from compiler.ops.places import check_indices, check_scatter_axis, flat_places
from compiler.ops.shape import operand_as, shape_text

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

BOOL, F32, I32, I64 = DType.BOOL, DType.F32, DType.I32, DType.I64
N = symbol("N")
SIZES = {"N": 3}


def _check(verb: str, x: TensorType, indices: TensorType, axis: int) -> int:
    need_indices("index by", indices)
    axis = normal_axis(verb, x, axis)
    action = f"{verb} {x} by {indices} along axis {axis}"
    if x.rank != indices.rank:
        raise TypeMismatch("E0301", f"cannot {action}", f"{x.rank} axes meet {indices.rank}")
    for place, (one, other) in enumerate(zip(x.shape, indices.shape, strict=True)):
        same = place == axis or equal(one, other)
        if same is None:
            raise unknown_equality(action, one, other, f"dimension {place} is {one} here and {other} there")
        if not same:
            raise TypeMismatch("E0301", f"cannot {action}", f"dimension {place} differs: {one} and {other}")
    return axis


def _flat_places(c: NumpyLowering, indices: int, shape: Sequence[Dim], axis: int) -> str:
    type = c.input_types[indices]
    wide = (product(shape[:axis]), type.shape[axis], product(shape[axis + 1 :]))
    return flat_places(c, indices, wide, shape, axis, type)


@operation
@dataclass(frozen=True)
class TakeAlong(Op):
    """``numpy.take_along_axis(x, indices, axis)``: operands x and indices (i32 or i64), of one shape but for the axis.

    Indices count from 0. One outside of the axis is an error while a program runs, in ONNX Runtime too.
    """

    axis: int

    opcode = "take_along"

    def may_refuse(self, inputs: tuple[TensorType, ...]) -> bool:
        return True

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        x, indices = inputs
        _check("take elements of", x, indices, self.axis)
        return (x.with_shape(indices.shape),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        x, indices = inputs
        return b.scatter_along(x.type.shape, indices, gradients[0], self.axis % x.type.rank), None

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return None if cut.common in (None, self.axis % cut.results[0].rank) else (cut.common,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, indices = operands
        return (np.take_along_axis(x, indices, axis=self.axis),)

    def numpy(self, c: NumpyLowering) -> None:
        type = c.input_types[0]
        check_indices(c, 1, type.shape[self.axis])
        flat = _flat_places(c, 1, type.shape, self.axis % type.rank)
        c.line(f"{operand_as(c, 0, 'reshape(-1)')}.take({flat}, out={c.outputs[0]}, mode='clip')")

    def onnx(self, c: OnnxLowering) -> None:
        c.node("GatherElements", c.inputs, c.outputs, axis=self.axis)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        type, stack = TensorType(F32, (N, 4)), TensorType(F32, (2, N, 4))
        x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
        deep = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)
        picks = np.array([[[1, 0, 2, 2], [0, 0, 1, 2]], [[2, 1, 0, 1], [2, 2, 2, 2]]])
        return (
            Sample(cls(-1), (type, TensorType(I64, (N, 1))), sizes=SIZES, values=(x, np.array([[3], [0], [2]]))),
            Sample(
                cls(0),
                (type, TensorType(I32, (2, 4))),
                sizes=SIZES,
                values=(x, np.array([[0, 1, 2, 0], [2, 1, 0, 0]], np.int32)),
            ),
            Sample(cls(1), (stack, TensorType(I64, (2, 2, 4))), sizes=SIZES, values=(deep, picks)),
            Sample(
                cls(0),
                (TensorType(BOOL, (2,)), TensorType(I64, (3,))),
                values=(np.array([True, False]), np.array([1, 0, 1])),
            ),
        )


@operation
@dataclass(frozen=True)
class ScatterAlong(Op):
    """The inverse of :class:`TakeAlong`: zeros of ``shape``, and each update added where its index points to.

    Operands: indices (i32 or i64) and updates, of one shape. ``axis`` counts from 0.
    """

    shape: tuple[Dim, ...]
    axis: int

    opcode = "scatter_along"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        indices, updates = inputs
        need_numbers("scatter", updates)
        result = updates.with_shape(self.shape)
        check_scatter_axis(self.shape, self.axis)
        _check("scatter into", result, indices, self.axis)
        if updates.shape != indices.shape:
            raise TypeMismatch(
                "E0301",
                f"cannot scatter {updates} by {indices}",
                f"the updates have to be {shape_text(indices.shape)}, as the indices are",
            )
        return (result,)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return None, b.take_along(gradients[0], inputs[0], self.axis)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return None if cut.common in (None, self.axis) else (cut.common,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        indices, updates = operands
        result = np.zeros([evaluate(dim, sizes) for dim in self.shape], updates.dtype)
        for place in np.ndindex(indices.shape):
            target = list(place)
            target[self.axis] = int(indices[place])
            result[tuple(target)] += updates[place]
        return (result,)

    def numpy(self, c: NumpyLowering) -> None:
        flat = _flat_places(c, 0, self.shape, self.axis)
        flat = c.view(flat, "reshape(-1)")
        out, updates = c.view(c.outputs[0], "reshape(-1)"), operand_as(c, 1, "reshape(-1)")
        c.line(f"{c.outputs[0]}.fill(0)")
        if c.input_types[0].shape[self.axis] == 1:
            # No place is met twice, so that nothing has to be added.
            c.line(f"{out}[{flat}] = {updates}")
        else:
            c.line(f"np.add.at({out}, {flat}, {updates})")

    def onnx(self, c: OnnxLowering) -> None:
        zeros = c.node("Expand", (c.scalar(0, c.output_types[0].dtype), c.shape(self.shape)))
        c.node("ScatterElements", (zeros, *c.inputs), c.outputs, axis=self.axis, reduction="add")

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        one, many = TensorType(I64, (N, 1)), TensorType(I32, (2, 3))
        x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
        column = f32([[1], [2], [-3]])
        return (
            Sample(cls((N, 4), 1), (one, one.with_dtype(F32)), sizes=SIZES, values=(np.array([[3], [0], [2]]), column)),
            Sample(
                cls((2, 4), 1),
                (many, many.with_dtype(F32)),
                values=(np.array([[3, 3, 0], [1, 2, 1]], np.int32), x),
            ),
            Sample(
                cls((N, 3), 0),
                (many, many.with_dtype(F32)),
                sizes=SIZES,
                values=(np.array([[2, 0, 0], [2, 1, 0]], np.int32), x),
            ),
        )


@operation
@dataclass(frozen=True)
class OneHot(Op):
    """For each index (i32 or i64) a vector of ``size`` elements, 1 at the index and 0 elsewhere, along a new last axis.

    An index outside of 0 to ``size - 1`` gives zeros.
    """

    size: int
    dtype: DType = F32

    opcode = "one_hot"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (indices,) = inputs
        need_indices("make one-hot vectors of", indices)
        return (TensorType(self.dtype, (*indices.shape, self.size)),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (None,)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return None if cut.common is None else (cut.common,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        result = np.zeros((*operands[0].shape, self.size), self.dtype.numpy)
        for place in np.ndindex(operands[0].shape):
            if 0 <= operands[0][place] < self.size:
                result[(*place, operands[0][place])] = 1
        return (result,)

    def numpy(self, c: NumpyLowering) -> None:
        classes = c.constant(np.arange(self.size, dtype=c.input_types[0].dtype.numpy))
        if self.dtype is BOOL:
            c.line(f"np.equal({c.inputs[0]}[..., None], {classes}, out={c.outputs[0]})")
        else:
            chosen = c.scratch(c.output_types[0].with_dtype(BOOL))
            c.line(f"np.equal({c.inputs[0]}[..., None], {classes}, out={chosen})")
            c.line(f"np.copyto({c.outputs[0]}, {chosen})")

    def onnx(self, c: OnnxLowering) -> None:
        # OneHot of ONNX Runtime has kernels for few combinations of types, and counts negative indices from the end.
        column = c.node("Unsqueeze", (c.inputs[0], c.constant(np.array([-1], np.int64))))
        classes = c.constant(np.arange(self.size, dtype=c.input_types[0].dtype.numpy))
        if self.dtype is BOOL:
            c.node("Equal", (column, classes), c.outputs)
        else:
            c.node("Cast", (c.node("Equal", (column, classes)),), c.outputs, to=self.dtype)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return (
            Sample(cls(4), (TensorType(I64, (N,)),), 0, 3, SIZES),
            Sample(cls(5, I64), (TensorType(I32, (N, 2)),), -2, 6, SIZES),
            Sample(cls(3, BOOL), (TensorType(I64),), 0, 2),
        )
