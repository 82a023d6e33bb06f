"""What differs from sample to sample: a window at a place of its own, a mirror image or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.dims import Dim, equal, evaluate, less_equal, symbol
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
from compiler.ops.checks import need_bools
from compiler.ops.parts import Cut, Joined
from compiler.ops.shape import shape_text

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32, I64, BOOL = DType.F32, DType.I64, DType.BOOL
N, H = symbol("N"), symbol("H")
SIZES = {"N": 4, "H": 5}


def _check_places(
    verb: str, images: TensorType, size: tuple[Dim, Dim], inside: TensorType, *places: TensorType
) -> None:
    """TypeMismatch unless ``images`` is [N, C, H, W], there is one place for each of them, and windows of ``size``
    lie ``inside``."""
    if images.rank != 4 or len(size) != 2:
        raise TypeMismatch("E0301", f"cannot {verb} {images}: that takes images [N, C, H, W]")
    for place in places:
        if place.dtype is not I64 or place.rank != 1 or not equal(place.shape[0], images.shape[0]):
            raise TypeMismatch("E0301", f"cannot {verb} {images} at {place}", "there has to be one i64 for each image")
    for axis, dim in enumerate(size, 2):
        fits = less_equal(dim, inside.shape[axis])
        if not fits:
            code = "E0302" if fits is None else "E0301"
            raise TypeMismatch(
                code,
                f"cannot take windows {shape_text(size)} of {inside}",
                f"dimension {axis} has to be at least {dim}",
            )


def _windows(c: NumpyLowering, array: str, samples: Dim, size: Sequence[Dim], places: Sequence[str]) -> str:
    """The text of the windows of all samples at their places, as one indexed array [N, C, h, w].

    NumPy copies whole rows of the windows of a strided view, which on small images takes a fifth of the time of picking
    elements, or of a loop over the samples.
    """
    count = c.bound(f"np.arange({c.dim(samples)})", TensorType(I64, (samples,)))
    how = f"np.lib.stride_tricks.sliding_window_view({{}}, {c.shape(size)}, (2, 3), writeable=True)"
    return f"{c.view(array, how)}[{count}, :, {places[0]}, {places[1]}]"


@operation
@dataclass(frozen=True)
class CropEach(Op):
    """The window of ``size`` of each image that begins at a place of its own.

    Operands: images [N, C, H, W], the first row and the first column of the windows, both i64 [N]. What a window that
    reaches beyond its image gives is not defined: whoever makes the places keeps them inside.
    """

    size: tuple[Dim, Dim]

    opcode = "crop_each"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        x, *places = inputs
        _check_places("crop", x, self.size, x, *places)
        return (x.with_shape((*x.shape[:2], *self.size)),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        x, top, left = inputs
        height, width = x.type.shape[2:]
        return b.add(PasteEach((height, width)), gradients[0], top, left), None, None

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.samples()

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, tops, lefts = operands
        height, width = (evaluate(dim, sizes) for dim in self.size)
        cut = [image[:, y : y + height, x : x + width] for image, y, x in zip(x, tops, lefts, strict=True)]
        return (np.array(cut, x.dtype).reshape(*x.shape[:2], height, width),)

    def numpy(self, c: NumpyLowering) -> None:
        windows = _windows(c, c.inputs[0], c.input_types[0].shape[0], self.size, c.inputs[1:])
        c.line(f"np.copyto({c.outputs[0]}, {windows})")

    def onnx(self, c: OnnxLowering) -> None:
        samples, channels, _, columns = c.input_types[0].shape
        height, width = self.size
        rows = _onnx_places(c, c.inputs[1], height, (samples, channels, height, columns), 2)
        cut = c.node("GatherElements", (c.inputs[0], rows), axis=2)
        c.node(
            "GatherElements", (cut, _onnx_places(c, c.inputs[2], width, c.output_types[0].shape, 3)), c.outputs, axis=3
        )

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return tuple(Sample(cls(size), types, sizes=SIZES, values=values) for types, size, values in _uses())


@operation
@dataclass(frozen=True)
class PasteEach(Op):
    """The inverse of :class:`CropEach`: zeros of ``size``, and in each image a window at a place of its own.

    Operands: windows [N, C, h, w], and the first row and column of each, both i64 [N].
    """

    size: tuple[Dim, Dim]

    opcode = "paste_each"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        windows, *places = inputs
        result = windows.with_shape((*windows.shape[:2], *self.size))
        height, width = windows.shape[2:] if windows.rank == 4 else (0, 0)
        _check_places("paste", windows, (height, width), result, *places)
        return (result,)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        windows, top, left = inputs
        height, width = windows.type.shape[2:]
        return b.add(CropEach((height, width)), gradients[0], top, left), None, None

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.samples()

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        windows, tops, lefts = operands
        height, width = windows.shape[2:]
        result = np.zeros((*windows.shape[:2], *(evaluate(dim, sizes) for dim in self.size)), windows.dtype)
        for image, window, y, x in zip(result, windows, tops, lefts, strict=True):
            image[:, y : y + height, x : x + width] = window
        return (result,)

    def numpy(self, c: NumpyLowering) -> None:
        samples, _, height, width = c.input_types[0].shape
        c.line(f"{c.outputs[0]}.fill(0)")
        c.line(f"{_windows(c, c.outputs[0], samples, (height, width), c.inputs[1:])} = {c.inputs[0]}")

    def onnx(self, c: OnnxLowering) -> None:
        shape, (samples, channels, height, columns) = c.input_types[0].shape, c.output_types[0].shape
        zero = c.scalar(0, c.input_types[0].dtype)
        wide = (samples, channels, shape[2], columns)
        lefts = _onnx_places(c, c.inputs[2], shape[3], shape, 3)
        rows = c.node("ScatterElements", (c.node("Expand", (zero, c.shape(wide))), lefts, c.inputs[0]), axis=3)
        tops = _onnx_places(c, c.inputs[1], shape[2], wide, 2)
        whole = c.node("Expand", (zero, c.shape((samples, channels, height, columns))))
        c.node("ScatterElements", (whole, tops, rows), c.outputs, axis=2)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        found = []
        for (images, *places), size, (array, top, left) in _uses():
            if images.dtype is F32:
                windows = np.resize(array, (*array.shape[:2], *(evaluate(dim, SIZES) for dim in size)))
                height, width = images.shape[2:]
                types = (images.with_shape((*images.shape[:2], *size)), *places)
                found.append(Sample(cls((height, width)), types, sizes=SIZES, values=(windows, top, left)))
        return tuple(found)


def _onnx_places(c: OnnxLowering, first: str, length: Dim, shape: Sequence[Dim], axis: int) -> str:
    """The name of the indices along ``axis`` of windows that begin at ``first`` [N], in the ``shape`` of what they
    pick."""
    limit = c.node("Squeeze", (c.shape((length,)), c.constant(np.array([0], np.int64))))
    steps = c.node("Range", (c.scalar(0, I64), limit, c.scalar(1, I64)))
    trailing = c.constant(np.arange(1, 4 - axis, dtype=np.int64))
    spread = c.node("Unsqueeze", (steps, trailing)) if axis < 3 else steps
    begin = c.node("Unsqueeze", (first, c.constant(np.array([1, 2, 3], np.int64))))
    return c.node("Expand", (c.node("Add", (begin, spread)), c.shape(shape)))


def _uses() -> Sequence[tuple[tuple[TensorType, ...], tuple[Dim, Dim], tuple[Array, ...]]]:
    """Types of images and places, sizes of windows, and the arrays."""
    found = []
    places = TensorType(I64, (N,))
    uses: tuple[tuple[tuple[Dim, ...], tuple[Dim, Dim], DType], ...] = (
        ((N, 1, 5, 4), (3, 2), F32),
        ((N, 3, 4, 4), (4, 1), F32),
        ((N, 2, H + 2, 6), (H, 6), F32),
        ((N, 2, 3, 5), (2, 3), DType.U8),
    )
    for shape, size, dtype in uses:
        sizes = [evaluate(dim, SIZES) for dim in shape]
        room = [whole - evaluate(dim, SIZES) + 1 for whole, dim in zip(sizes[2:], size, strict=True)]
        count = int(np.prod(sizes))
        array: Array = (np.linspace(-2, 2, count) if dtype is F32 else np.arange(count)).reshape(sizes)
        starts = (np.arange(SIZES["N"]) * step % most for step, most in zip((1, 2), room, strict=True))
        found.append(((TensorType(dtype, shape), places, places), size, (array.astype(dtype.numpy), *starts)))
    return found


@operation
@dataclass(frozen=True)
class FlipEach(Op):
    """x with the samples for which the condition holds turned around along ``axis``, which counts from 0.

    Operands: x [N, …] and the condition, bool [N].
    """

    axis: int

    opcode = "flip_each"

    @property
    def inplace(self) -> tuple[int, ...]:
        return (0,)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        x, condition = inputs
        need_bools("flip by", condition)
        if not 1 <= self.axis < x.rank or condition.rank != 1 or not equal(condition.shape[0], x.shape[0]):
            title = f"cannot flip {x} by {condition} along dimension {self.axis}"
            raise TypeMismatch("E0301", title, "there has to be one truth value for each sample")
        return (x,)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return b.add(self, gradients[0], inputs[1]), None

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.samples()

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, condition = operands
        turned = np.flip(x, self.axis)
        return (np.array([b if c else a for a, b, c in zip(x, turned, condition, strict=True)]).reshape(x.shape),)

    def numpy(self, c: NumpyLowering) -> None:
        x, out, chosen = c.inputs[0], c.outputs[0], c.local("chosen")
        if not c.shares(0):
            c.line(f"np.copyto({out}, {x})")
        c.line(f"{chosen} = np.flatnonzero({c.inputs[1]})")
        c.line(f"{out}[{chosen}] = {x}[{chosen}][{':, ' * self.axis}::-1]")

    def onnx(self, c: OnnxLowering) -> None:
        x = c.input_types[0]
        starts, stops, axes, steps = (c.constant(np.array([n], np.int64)) for n in (-1, -(2**63), self.axis, -1))
        turned = c.node("Slice", (c.inputs[0], starts, stops, axes, steps))
        trailing = c.constant(np.arange(1, x.rank, dtype=np.int64))
        c.node("Where", (c.node("Unsqueeze", (c.inputs[1], trailing)), turned, c.inputs[0]), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        condition = TensorType(BOOL, (N,))
        types = (((N, 3, 4), 2, F32), ((N, 2, H, 3), 2, F32), ((N, 1, 2, 5), 3, F32), ((N, 4, 4), 1, DType.U8))
        return tuple(
            Sample(cls(axis), (TensorType(dtype, shape), condition), 0 if dtype is DType.U8 else -2, 2, SIZES)
            for shape, axis, dtype in types
        )
