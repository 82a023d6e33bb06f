"""Changing the shape but not the elements: reshape, transpose, expand."""

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
    Storage,
    Values,
    operation,
)
from compiler.ops.broadcast import unknown_equality
from compiler.ops.checks import normal_axes
from compiler.ops.parts import Cut, Joined, Place

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32 = DType.F32
N, T = symbol("N"), symbol("T")
SIZES = {"N": 4, "T": 3}


def shape_text(shape: Sequence[Dim]) -> str:
    """``[N, 64]``, as types show it."""
    return f"[{', '.join(map(str, shape))}]"


def operand_as(c: NumpyLowering, index: int, how: str) -> str:
    """An expression for operand ``index`` after ``.how``, some reshape: a copy where the operand is not contiguous."""
    name = c.inputs[index]
    return c.view(name, how) if c.contiguous(index) else f"{name}.{how}"


@operation
@dataclass(frozen=True)
class Reshape(Op):
    """The same elements, in row-major order, in another shape of the same size."""

    shape: tuple[Dim, ...]

    opcode = "reshape"
    storage = Storage.VIEW
    keeps_contiguous = True
    needs_contiguous = True

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (type,) = inputs
        before, after = type.size, product(self.shape)
        same = equal(before, after)
        action = f"reshape {type} to {shape_text(self.shape)}"
        if same is None:
            raise unknown_equality(action, before, after, f"it has {before} elements, and {after} are asked for")
        if not same:
            raise TypeMismatch(
                "E0301",
                f"cannot {action}",
                f"it has {before} elements, and {after} are asked for",
                ("the product of the sizes has to stay the same",),
            )
        return (type.with_shape(self.shape),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.reshape(gradients[0], inputs[0].type.shape),)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        place = self.place_in_parts(cut, 1)
        return None if place is None or place.outer != 1 else (place.axis,)

    def place_in_parts(self, cut: Cut, outer: Dim) -> Place | None:
        """Where the result is cut if the operand is made up of ``outer`` runs along the axis where that is cut."""
        axis, result = cut.common, cut.carrier(cut.results[0])
        if axis is None or result is None:
            return None
        # What comes before the symbol, row by row, is the same in both shapes; what of it stands in the axis itself
        # is left when the axes before are taken away.
        before = product(cut.operands[0].shape[:axis]) * outer
        left = before // product(self.shape[:result])
        return Place(result, left) if equal(left * product(self.shape[:result]), before) else None

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (operands[0].reshape([evaluate(dim, sizes) for dim in self.shape]),)

    def numpy(self, c: NumpyLowering) -> None:
        if c.contiguous(0):
            c.line(f"{c.outputs[0]} = {c.inputs[0]}.reshape({c.shape(self.shape)})")
        else:
            target = c.view(c.outputs[0], f"reshape({c.shape(c.input_types[0].shape)})")
            c.line(f"np.copyto({target}, {c.inputs[0]})")

    def onnx(self, c: OnnxLowering) -> None:
        constant = constant_shape(c.input_types[0].shape, self.shape)
        shape = c.shape(self.shape) if constant is None else c.constant(np.array(constant, np.int64))
        c.node("Reshape", (c.inputs[0], shape), c.outputs, allowzero=int(constant is None))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        type = TensorType(F32, (N, 6))
        stack = TensorType(F32, (N, T, 4))
        return (
            Sample(cls((N, 2, 3)), (type,), sizes=SIZES),
            Sample(cls((6 * N,)), (type,), sizes=SIZES),
            Sample(cls((N * T, 4)), (stack,), sizes=SIZES),
            Sample(cls((2, N, 2 * T)), (stack,), sizes=SIZES),
            Sample(cls((T, N, 4)), (stack,), sizes=SIZES),
            Sample(cls((1, 1)), (TensorType(F32),)),
            Sample(cls(()), (TensorType(F32, (1,)),)),
            Sample(cls((0, 5)), (TensorType(F32, (3, 0)),)),
            Sample(cls((3, 2)), (TensorType(DType.BOOL, (6,)),)),
        )


def constant_shape(before: Sequence[Dim], after: Sequence[Dim]) -> list[int] | None:
    """The shape as ONNX's Reshape takes it without computing sizes: 0 keeps the operand's size, one -1 is worked out.

    None where that does not say the same at every size.
    """
    if any(dim == 0 for dim in (*before, *after)):
        return None
    found = [
        dim if isinstance(dim, int) else 0 if axis < len(before) and dim == before[axis] else -1
        for axis, dim in enumerate(after)
    ]
    return found if found.count(-1) <= 1 else None


@operation
@dataclass(frozen=True)
class Transpose(Op):
    """Axis i of the result is axis ``permutation[i]`` of the operand."""

    permutation: tuple[int, ...]

    opcode = "transpose"
    storage = Storage.VIEW

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (type,) = inputs
        axes = normal_axes("transpose", type, self.permutation)
        if len(axes) != type.rank:
            raise TypeMismatch(
                "E0301",
                f"cannot transpose {type} by {self.permutation}",
                f"the permutation names {len(axes)} of its {type.rank} axes",
                ("name every axis once, in the order in which they shall stand",),
            )
        return (type.with_shape(type.shape[axis] for axis in self.permutation),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        rank = len(self.permutation)
        places = [axis % rank for axis in self.permutation]
        return (b.transpose(gradients[0], tuple(places.index(axis) for axis in range(rank))),)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        if cut.common is None:
            return None
        return ([axis % len(self.permutation) for axis in self.permutation].index(cut.common),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (operands[0].transpose(self.permutation),)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"{c.outputs[0]} = {c.inputs[0]}.transpose({self.permutation})")

    def onnx(self, c: OnnxLowering) -> None:
        rank = len(self.permutation)
        if rank == 0:
            c.alias(c.inputs[0])
        else:
            c.node("Transpose", c.inputs, c.outputs, perm=[axis % rank for axis in self.permutation])

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        cube = TensorType(F32, (N, T, 2))
        return (
            Sample(cls((1, 0)), (TensorType(F32, (N, 3)),), sizes=SIZES),
            Sample(cls((2, 0, 1)), (cube,), sizes=SIZES),
            Sample(cls((0, -1, -2)), (cube,), sizes=SIZES),
            Sample(cls((0, 1, 2)), (cube.with_dtype(DType.U8),), sizes=SIZES),
            Sample(cls(()), (TensorType(F32),)),
        )


@operation
@dataclass(frozen=True)
class Expand(Op):
    """The operand repeated to ``shape`` by the rule of broadcasting, without a copy."""

    shape: tuple[Dim, ...]

    opcode = "expand"
    storage = Storage.VIEW

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (type,) = inputs
        lead = len(self.shape) - type.rank
        action = f"expand {type} to {shape_text(self.shape)}"
        if lead < 0:
            raise TypeMismatch("E0301", f"cannot {action}", f"it has {type.rank} axes, more than {len(self.shape)}")
        for axis, dim in enumerate(type.shape):
            wanted = self.shape[axis + lead]
            same = dim == 1 or equal(dim, wanted)
            if same is None:
                raise unknown_equality(action, dim, wanted, f"dimension {axis} is {dim}")
            if not same:
                raise TypeMismatch(
                    "E0301", f"cannot {action}", f"dimension {axis} is {dim}: only a size of 1 can be repeated"
                )
        return (type.with_shape(self.shape),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return gradients

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        if cut.common is not None:
            return (cut.common + len(self.shape) - cut.operands[0].rank,)
        axis = cut.carrier(cut.results[0])
        return None if axis is None else (axis,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.broadcast_to(operands[0], [evaluate(dim, sizes) for dim in self.shape]),)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"{c.outputs[0]} = np.broadcast_to({c.inputs[0]}, {c.shape(self.shape)})")

    def onnx(self, c: OnnxLowering) -> None:
        # A 1 in ONNX's shape leaves the operand's size, which saves computing those that stay.
        before = c.input_types[0].shape
        lead = len(self.shape) - len(before)
        shape = [1 if axis >= lead and before[axis - lead] == dim else dim for axis, dim in enumerate(self.shape)]
        c.node("Expand", (c.inputs[0], c.shape(shape)), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return (
            Sample(cls((N, 3)), (TensorType(F32, (3,)),), sizes=SIZES),
            Sample(cls((2, N, T)), (TensorType(F32, (N, 1)),), sizes=SIZES),
            Sample(cls((N, 2 * T)), (TensorType(F32),), sizes=SIZES),
            Sample(cls((N, 3)), (TensorType(F32, (N, 3)),), sizes=SIZES),
            Sample(cls((4, N)), (TensorType(DType.I64, (4, 1)),), sizes=SIZES),
        )
