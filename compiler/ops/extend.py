"""Padding with what the tensor itself holds: its edge, or its mirror image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from compiler.ir.dims import Dim, less_equal, symbol
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
from compiler.ops.checks import need_numbers
from compiler.ops.parts import Cut, Joined

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32 = DType.F32
N = symbol("N")
SIZES = {"N": 4}


@dataclass(frozen=True)
class Extending(Op):
    """``before`` and ``after`` cells around each axis. ``mode`` "edge" repeats the outermost elements; "reflect"
    mirrors the tensor at them, without repeating them."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    mode: str

    def check(self, verb: str, type: TensorType) -> None:
        """TypeMismatch where a tensor of this type can't be extended so."""
        need_numbers(verb, type)
        amounts = (*self.before, *self.after)
        if not len(self.before) == len(self.after) == type.rank or min(amounts, default=0) < 0:
            raise TypeMismatch("E0301", f"cannot {verb} {type}: there has to be one amount for each axis and side")
        if self.mode not in ("edge", "reflect"):
            raise TypeMismatch("E0301", f"cannot {verb} {type} by the mode {self.mode}: it is edge or reflect")
        for axis, (a, b) in enumerate(zip(self.before, self.after, strict=True)):
            least = (max(a, b) + 1 if self.mode == "reflect" else 1) if max(a, b) else 0
            fits = less_equal(least, type.shape[axis])
            if not fits:
                self._refuse(verb, type, axis, least, fits is None)

    def _refuse(self, verb: str, type: TensorType, axis: int, least: int, unknown: bool) -> None:
        size, amount = type.shape[axis], max(self.before[axis], self.after[axis])
        title = f"cannot {verb} {type} by {amount} along dimension {axis} in the mode {self.mode}"
        if unknown:
            help = f"give {size} a number in the signature, or pad by edge or constant"
            raise TypeMismatch("E0302", title, f"whether {size} is at least {least} is not known", (help,))
        raise TypeMismatch("E0301", title, f"dimension {axis} is {size}, and has to be at least {least}")

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        axis = cut.common
        return None if axis is None or axis in self.axes else (axis,)

    @property
    def axes(self) -> list[int]:
        """The axes that get longer."""
        return [axis for axis in range(len(self.before)) if self.before[axis] or self.after[axis]]

    def borders(self, axis: int, size: Dim) -> Iterator[tuple[Dim, int, Dim]]:
        """Each side of an axis of ``size``, in the extended tensor: where it begins, how long it is, and where what it
        shows begins: one cell that is repeated, or as many, which are read backwards."""
        start = self.before[axis]
        end = start + size
        if self.before[axis]:
            yield 0, self.before[axis], start if self.mode == "edge" else start + 1
        if self.after[axis]:
            yield end, self.after[axis], end - 1 if self.mode == "edge" else end - 1 - self.after[axis]

    @property
    def backwards(self) -> bool:
        return self.mode == "reflect"


def _along(c: NumpyLowering, rank: int, axis: int, start: Dim, length: Dim, backwards: bool = False) -> str:
    """The text of an index that picks ``length`` elements along one axis; backwards by a second index, as a range that
    ends before the first element can't be written."""
    part = f"{c.dim(start)}:{c.dim(start + length)}"
    index = ", ".join([":"] * axis + [part] + [":"] * (rank - 1 - axis))
    return f"[{index}]" + (f"[{', '.join([':'] * axis + ['::-1'])}]" if backwards else "")


@operation
@dataclass(frozen=True)
class Extend(Extending):
    """x with its edges repeated or mirrored around it."""

    opcode = "extend"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (type,) = inputs
        self.check("pad", type)
        sizes = zip(self.before, type.shape, self.after, strict=True)
        return (type.with_shape(before + dim + after for before, dim, after in sizes),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.add(ExtendGradient(self.before, self.after, self.mode), gradients[0]),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        widths = list(zip(self.before, self.after, strict=True))
        return (np.pad(operands[0], widths, mode="edge" if self.mode == "edge" else "reflect"),)

    def numpy(self, c: NumpyLowering) -> None:
        type, out = c.input_types[0], c.outputs[0]
        inner = ", ".join(
            f"{before}:{c.dim(before + dim)}" for before, dim in zip(self.before, type.shape, strict=True)
        )
        c.line(f"{out}[{inner}] = {c.inputs[0]}")
        for axis in self.axes:
            for place, length, source in self.borders(axis, type.shape[axis]):
                count = length if self.backwards else 1
                shown = f"{out}{_along(c, type.rank, axis, source, count, self.backwards)}"
                c.line(f"{out}{_along(c, type.rank, axis, place, length)} = {shown}")

    def onnx(self, c: OnnxLowering) -> None:
        if not self.axes:
            c.alias(c.inputs[0])
            return
        c.node("Pad", (c.inputs[0], c.shape((*self.before, *self.after))), c.outputs, mode=self.mode)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        found = [Sample(op, (TensorType(F32, x),), sizes=SIZES) for op, x in _uses(cls)]
        return (*found, Sample(cls((1,), (2,), "edge"), (TensorType(DType.I64, (3,)),), 0, 9))


_Made = TypeVar("_Made", bound=Extending)


def _uses(cls: type[_Made]) -> list[tuple[_Made, tuple[Dim, ...]]]:
    return [
        (cls((0, 1), (0, 2), "edge"), (N, 3)),
        (cls((2, 0), (1, 3), "edge"), (N, 1)),
        (cls((0, 1), (0, 2), "reflect"), (N, 3)),
        (cls((0, 0, 2, 1), (0, 0, 3, 0), "reflect"), (N, 2, 4, 2)),
        (cls((0, 0, 2, 1), (0, 0, 3, 1), "edge"), (N, 2, N, 2)),
        (cls((0, 0), (0, 0), "edge"), (N, 2)),
        (cls((3,), (3,), "reflect"), (4,)),
    ]


@operation
@dataclass(frozen=True)
class ExtendGradient(Extending):
    """The gradient of extend: each border added to where it was taken from, and cut off."""

    opcode = "extend_gradient"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (type,) = inputs
        if not len(self.before) == len(self.after) == type.rank:
            raise TypeMismatch("E0301", f"cannot make the gradient of padding from {type}: it has other axes")
        sizes = zip(self.before, type.shape, self.after, strict=True)
        result = type.with_shape(dim - before - after for before, dim, after in sizes)
        self.check("make the gradient of padding to", result)
        return (result,)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.add(Extend(self.before, self.after, self.mode), gradients[0]),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        (given,) = operands
        shape = [dim - a - b for dim, a, b in zip(given.shape, self.before, self.after, strict=True)]
        places = np.arange(int(np.prod(shape))).reshape(shape)
        widths = list(zip(self.before, self.after, strict=True))
        sources = np.pad(places, widths, mode="edge" if self.mode == "edge" else "reflect")
        result = np.zeros(places.size)
        np.add.at(result, sources.ravel(), given.astype(np.float64).ravel())
        return (result.reshape(shape).astype(given.dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        given, type = c.input_types[0], c.output_types[0]
        work, cell = c.scratch(given), c.local("source")
        c.line(f"np.copyto({work}, {c.inputs[0]})")
        for axis in reversed(self.axes):
            for place, length, source in self.borders(axis, type.shape[axis]):
                border = f"{work}{_along(c, type.rank, axis, place, length)}"
                if self.backwards:
                    c.line(f"{cell} = {work}{_along(c, type.rank, axis, source, length, True)}")
                else:
                    c.line(f"{cell} = {work}{_along(c, type.rank, axis, source, 1)}")
                    border = f"{border}.sum(axis={axis}, keepdims=True)"
                c.line(f"np.add({cell}, {border}, out={cell})")
        inner = ", ".join(
            f"{before}:{c.dim(before + dim)}" for before, dim in zip(self.before, type.shape, strict=True)
        )
        c.line(f"np.copyto({c.outputs[0]}, {work}[{inner}])")

    def onnx(self, c: OnnxLowering) -> None:
        """Each border is cut out, put where it was taken from, between zeros, and added."""
        type, result = c.output_types[0], c.inputs[0]
        for axis in reversed(self.axes):
            size = type.shape[axis]
            middle = self._cut(c, result, axis, self.before[axis], size)
            for place, length, source in self.borders(axis, size):
                border = self._cut(c, result, axis, place, length)
                if self.backwards:
                    border = self._turned(c, border, axis)
                else:
                    border = c.node("ReduceSum", (border, c.constant(np.array([axis], np.int64))), keepdims=1)
                count = length if self.backwards else 1
                start = source - self.before[axis]
                nothing, behind = (0,) * axis, (0,) * (type.rank - axis - 1)
                pads = c.shape((*nothing, start, *behind, *nothing, size - start - count, *behind))
                placed = c.node("Pad", (border, pads))
                middle = c.node("Add", (middle, placed))
            result = middle
        c.node("Identity", (result,), c.outputs)

    def _cut(self, c: OnnxLowering, x: str, axis: int, start: Dim, length: Dim) -> str:
        where = c.constant(np.array([axis], np.int64))
        return c.node("Slice", (x, c.shape((start,)), c.shape((start + length,)), where))

    def _turned(self, c: OnnxLowering, x: str, axis: int) -> str:
        end, least, step, where = (c.constant(np.array([n], np.int64)) for n in (-1, -(2**63) + 1, -1, axis))
        return c.node("Slice", (x, end, least, where, step))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        found = []
        for op, x in _uses(cls):
            sides = zip(op.before, x, op.after, strict=True)
            type = TensorType(F32, tuple(before + dim + after for before, dim, after in sides))
            found.append(Sample(op, (type,), sizes=SIZES))
        return found
