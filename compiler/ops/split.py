"""Cutting a tensor into parts that lie side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

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
    Storage,
    Values,
    operation,
)
from compiler.ops.broadcast import unknown_equality
from compiler.ops.checks import normal_axis
from compiler.ops.parts import Cut, Joined
from compiler.ops.slice import range_text

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

N = symbol("N")
SIZES = {"N": 4}


@operation
@dataclass(frozen=True)
class Split(Op):
    """The parts of ``sizes`` elements along ``axis``, one result each: the inverse of :class:`Concat`."""

    axis: int
    sizes: tuple[Dim, ...]

    opcode = "split"
    storage = Storage.VIEW

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (type,) = inputs
        axis = normal_axis("split", type, self.axis)
        dim, total = type.shape[axis], sum(self.sizes)
        action = f"split {type} along axis {axis}"
        if not self.sizes:
            raise TypeMismatch("E0301", f"cannot {action} into no parts")
        same = equal(dim, total)
        if same is None:
            raise unknown_equality(action, dim, total, f"the parts have {total} elements together")
        if not same:
            raise TypeMismatch("E0301", f"cannot {action}", f"it has {dim} elements there, and the parts have {total}")
        return tuple(type.with_shape((*type.shape[:axis], size, *type.shape[axis + 1 :])) for size in self.sizes)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.concat(gradients, self.axis),)

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        axis = cut.common
        if axis is None or axis == self.axis % cut.operands[0].rank:
            return None
        return (axis,) * len(self.sizes)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        ends = np.cumsum([evaluate(size, sizes) for size in self.sizes])
        return tuple(np.split(operands[0], ends[:-1], axis=self.axis))

    def numpy(self, c: NumpyLowering) -> None:
        type = c.input_types[0]
        axis = self.axis % type.rank
        stops = list(accumulate(self.sizes))
        for output, start, stop in zip(c.outputs, (0, *stops), stops, strict=False):
            parts = [":"] * axis + [range_text(c, start, stop, 1, type.shape[axis])]
            c.line(f"{output} = {c.inputs[0]}[{', '.join(parts)}]")

    def onnx(self, c: OnnxLowering) -> None:
        c.node("Split", (c.inputs[0], c.shape(self.sizes)), c.outputs, axis=self.axis)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        matrix, cube = TensorType(DType.F32, (N, 6)), TensorType(DType.F32, (2, N, 5))
        return (
            Sample(cls(1, (2, 3, 1)), (matrix,), sizes=SIZES),
            Sample(cls(-1, (4, 1)), (cube,), sizes=SIZES),
            Sample(cls(1, (1, N - 1)), (cube,), sizes=SIZES),
            Sample(cls(0, (2,)), (cube,), sizes=SIZES),
            Sample(cls(0, (3, 4)), (TensorType(DType.I64, (7,)),), -9, 9),
        )
