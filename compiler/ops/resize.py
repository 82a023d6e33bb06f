"""Images and other grids of samples in another size, and the gradient of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.dims import Dim, evaluate, floor_divide, less_equal, product, symbol
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
from compiler.ops.checks import need_floats, need_numbers
from compiler.ops.parts import Cut, Joined
from compiler.ops.pool import check_rank
from compiler.ops.samples import Samples
from compiler.ops.shape import shape_text

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32 = DType.F32
N, H = symbol("N"), symbol("H")
SIZES = {"N": 3, "H": 4}


@dataclass(frozen=True)
class Resampling(Op):
    """``size`` is that of the spatial axes of the result. ``mode`` "nearest" takes for place i of n the element at
    ``floor(i * length / n)``; "linear" interpolates along each axis at ``(i + 0.5) * length / n - 0.5``, within the
    edges: the half-pixel rule of PyTorch (align_corners=False), Keras and ONNX; "corners" does so at
    ``i * (length - 1) / (n - 1)``, so that corners meet corners: PyTorch's align_corners=True."""

    size: tuple[Dim, ...]
    mode: str

    def check(self, verb: str, x: TensorType) -> TensorType:
        """x in the size. TypeMismatch where that makes no sense."""
        if self.mode not in ("nearest", "linear", "corners"):
            raise TypeMismatch("E0301", f"cannot {verb} {x} by the mode {self.mode}: it is nearest, linear or corners")
        need_numbers(verb, x)
        if self.mode != "nearest":
            need_floats(verb, x)
        check_rank(verb, x)
        if len(self.size) != x.rank - 2 or any(less_equal(1, dim) is False for dim in self.size):
            raise TypeMismatch(
                "E0301",
                f"cannot {verb} {x} to {shape_text(self.size)}",
                f"that takes {x.rank - 2} sizes of at least 1",
            )
        return x.with_shape((*x.shape[:2], *self.size))

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.samples()

    def matrix(self, length: int, places: int) -> Array:
        """[places, length]: how much each element contributes to each place."""
        if self.mode == "nearest":
            chosen = np.arange(places)[:, None] * length // places
            return np.asarray(chosen == np.arange(length), np.float64)
        if self.mode == "corners":
            centre = np.arange(places) * (length - 1) / max(places - 1, 1)
        else:
            centre = np.clip((np.arange(places) + 0.5) * length / places - 0.5, 0, length - 1)
        return np.asarray(np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(length))))

    def onnx_matrix(self, c: OnnxLowering, length: Dim, places: Dim, dtype: DType) -> str:
        """The name of :meth:`matrix`: worked out by nodes where the sizes are symbols."""
        if isinstance(length, int) and isinstance(places, int):
            return c.constant(self.matrix(length, places).astype(dtype.numpy), "resize")
        column = c.node("Unsqueeze", (_range(c, places), c.constant(np.array([1], np.int64))))
        if self.mode == "nearest":
            place = c.node("Div", (c.node("Mul", (column, c.shape((length,)))), c.shape((places,))))
            return c.node("Cast", (c.node("Equal", (place, _range(c, length))),), to=dtype)

        def floating(name: str) -> str:
            return c.node("Cast", (name,), to=dtype)

        if self.mode == "corners":
            steps = c.node("Max", (c.shape((places - 1,)), c.constant(np.array([1], np.int64))))
            scale = c.node("Div", (floating(c.shape((length - 1,))), floating(steps)))
            inside = c.node("Mul", (floating(column), scale))
        else:
            half = c.scalar(0.5, dtype)
            scale = c.node("Div", (floating(c.shape((length,))), floating(c.shape((places,)))))
            centre = c.node("Sub", (c.node("Mul", (c.node("Add", (floating(column), half)), scale)), half))
            last = c.node("Sub", (floating(c.shape((length,))), c.scalar(1, dtype)))
            inside = c.node("Min", (c.node("Max", (centre, c.scalar(0, dtype))), last))
        distance = c.node("Abs", (c.node("Sub", (inside, floating(_range(c, length)))),))
        return c.node("Max", (c.node("Sub", (c.scalar(1, dtype), distance)), c.scalar(0, dtype)))


def _range(c: OnnxLowering, count: Dim) -> str:
    """The name of 0, 1, … below ``count``."""
    limit = c.node("Squeeze", (c.shape((count,)), c.constant(np.array([0], np.int64))))
    return c.node("Range", (c.scalar(0, DType.I64), limit, c.scalar(1, DType.I64)))


def _onnx_products(c: OnnxLowering, matrices: Sequence[tuple[int, str]], rank: int) -> None:
    """Multiply the operand along each axis with its matrix [new, old] from the left."""
    result = c.inputs[0]
    for number, (axis, matrix) in enumerate(matrices):
        last = number == len(matrices) - 1
        if axis == rank - 2:
            result = c.node("MatMul", (matrix, result), c.outputs if last else None)
            continue
        swapped = [place for place in range(rank) if place != axis]
        swapped.insert(rank - 2, axis)
        moved = c.node("Transpose", (result,), perm=swapped)
        made = c.node("MatMul", (matrix, moved))
        back = [swapped.index(place) for place in range(rank)]
        result = c.node("Transpose", (made,), c.outputs if last else None, perm=back)


def _changed(before: Sequence[Dim], after: Sequence[Dim]) -> list[int]:
    """The axes along which the size changes."""
    return [axis for axis, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]


def _factors(before: Sequence[Dim], after: Sequence[Dim]) -> list[int]:
    """How many times as long each axis becomes; nothing where that is no whole number for one of them."""
    factors = [(floor_divide(size, dim), dim, size) for dim, size in zip(before, after, strict=True)]
    whole = [factor for factor, dim, size in factors if isinstance(factor, int) and factor * dim == size]
    return whole if len(whole) == len(factors) else []


@operation
@dataclass(frozen=True)
class Resize(Resampling):
    """x [N, C, *spatial] in another size."""

    opcode = "resize"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return (self.check("resize", inputs[0]),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.add(ResizeGradient(inputs[0].type.shape[2:], self.mode), gradients[0]),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        result = operands[0].astype(np.float64)
        for axis, dim in enumerate(self.size, 2):
            matrix = self.matrix(result.shape[axis], evaluate(dim, sizes))
            result = np.moveaxis(np.tensordot(result, matrix, (axis, 1)), -1, axis)
        return (result.astype(operands[0].dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        """Along the last axis first, where the tensor is still small if it grows."""
        lower_resampling(c, "resize_table", self.mode, c.input_types[0], c.output_types[0], backwards=True)

    def onnx(self, c: OnnxLowering) -> None:
        x, result = c.input_types[0], c.output_types[0]
        axes = _changed(x.shape, result.shape)
        factors = _factors(x.shape, result.shape)
        if not axes:
            c.alias(c.inputs[0])
        elif x.dtype is not F32 and self.mode != "nearest":
            _onnx_products(c, [(a, self.onnx_matrix(c, x.shape[a], result.shape[a], x.dtype)) for a in axes], x.rank)
        elif x.dtype is not F32 or (self.mode == "nearest" and not factors):
            # ONNX Runtime works out which element is nearest in f32, and errs where that is a close decision.
            self._onnx_gathers(c, axes)
        else:
            self._onnx_resize(c, factors)

    def _onnx_resize(self, c: OnnxLowering, factors: list[int]) -> None:
        places = {"nearest": "asymmetric", "linear": "half_pixel", "corners": "align_corners"}[self.mode]
        attributes = {"mode": "linear", "coordinate_transformation_mode": places}
        if self.mode == "nearest":
            attributes |= {"mode": "nearest", "nearest_mode": "floor"}
        if factors:
            scales = c.constant(np.array(factors, np.float32))
            c.node("Resize", (c.inputs[0], "", scales), c.outputs, **attributes)
        else:
            size = c.shape(c.output_types[0].shape)
            c.node("Resize", (c.inputs[0], "", "", size), c.outputs, **attributes)

    def _onnx_gathers(self, c: OnnxLowering, axes: Sequence[int]) -> None:
        result = c.inputs[0]
        for axis in axes:
            length, places = c.input_types[0].shape[axis], c.output_types[0].shape[axis]
            if isinstance(length, int) and isinstance(places, int):
                indices = c.constant(np.arange(places) * length // places)
            else:
                count = c.node("Mul", (_range(c, places), c.shape((length,))))
                indices = c.node("Div", (count, c.shape((places,))))
            result = c.node("Gather", (result, indices), c.outputs if axis == axes[-1] else None, axis=axis)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        types = [Sample(cls(size, mode), (TensorType(F32, x),), sizes=SIZES) for x, size, mode in _uses()]
        return (*types, Sample(cls((6, 2), "nearest"), (TensorType(DType.I64, (2, 1, 3, 4)),)))


def _uses() -> Sequence[tuple[tuple[Dim, ...], tuple[Dim, ...], str]]:
    found: list[tuple[tuple[Dim, ...], tuple[Dim, ...], str]] = []
    for mode in ("nearest", "linear", "corners"):
        found += [
            ((N, 2, 4), (8,), mode),
            ((2, 2, 5), (3,), mode),
            ((N, 2, 3, 4), (6, 12), mode),
            ((N, 1, 4, 5), (7, 5), mode),
            ((2, 1, 14, 3), (2, 7), mode),
            ((N, 2, H, H), (2 * H, 3 * H), mode),
            ((N, 1, H, 4), ((3 * H) // 2, 3), mode),
            ((N, 1, 3, 4), (3, 4), mode),
            ((2, 1, 2, 3, 2), (4, 3, 5), mode),
        ]
    return found


@operation
@dataclass(frozen=True)
class ResizeGradient(Resampling):
    """The gradient of resize to its x, which has ``size``: what each element contributed to comes back to it."""

    opcode = "resize_gradient"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return (self.check("make the gradient of resize from", inputs[0]),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.add(Resize(inputs[0].type.shape[2:], self.mode), gradients[0]),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        result = operands[0].astype(np.float64)
        for axis, dim in enumerate(self.size, 2):
            matrix = self.matrix(evaluate(dim, sizes), result.shape[axis])
            result = np.moveaxis(np.tensordot(result, matrix, (axis, 0)), -1, axis)
        return (result.astype(operands[0].dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        lower_resampling(c, "resize_back_table", self.mode, c.input_types[0], c.output_types[0], backwards=False)

    def onnx(self, c: OnnxLowering) -> None:
        given, result = c.input_types[0], c.output_types[0]
        axes = _changed(given.shape, result.shape)
        if not axes:
            c.alias(c.inputs[0])
            return
        matrices = []
        for axis in axes:
            matrix = self.onnx_matrix(c, result.shape[axis], given.shape[axis], given.dtype)
            matrices.append((axis, c.node("Transpose", (matrix,), perm=(1, 0))))
        _onnx_products(c, matrices, given.rank)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return [Sample(cls(x[2:], mode), (TensorType(F32, (*x[:2], *size)),), sizes=SIZES) for x, size, mode in _uses()]


def lower_resampling(
    c: NumpyLowering, table: str, mode: str, before: TensorType, after: TensorType, backwards: bool
) -> None:
    """Write the statements that take elements of operand 0 by tables of indices and weights, axis by axis."""
    axes = _changed(before.shape, after.shape)
    axes = axes[::-1] if backwards else axes
    if not axes:
        c.line(f"np.copyto({c.outputs[0]}, {c.inputs[0]})")
        return
    sources = {"resize_table": RESIZE_TABLE, "resize_back_table": RESIZE_BACK_TABLE}
    for name in dict.fromkeys(("resize_table", table)):
        c.helper(name, sources[name])
    take = c.helper("resample", RESAMPLE)
    loop = Samples(c, before.shape[0], 3 * product(after.shape[1:]) * after.dtype.bytes)
    steps, shape = [], list(before.shape)
    for axis in axes:
        shape[axis] = after.shape[axis]
        work = after.with_shape((loop.count, *shape[1:]))
        large, small = (after, before) if table == "resize_table" else (before, after)
        lengths = f"{c.dim(small.shape[axis])}, {c.dim(large.shape[axis])}"
        arguments = f"{lengths}, {mode!r}, {c.scalar(0, after.dtype)}.dtype"
        bound = c.bound(f"{table}({arguments})", TensorType(after.dtype, (4, large.shape[axis])))
        part = c.scratch(work) if (mode, table) != ("nearest", "resize_table") else ""
        steps.append((axis, bound, c.scratch(work) if axis != axes[-1] else "", part))
    loop.enter()
    source = loop.of(c.inputs[0])
    for axis, bound, work_name, part in steps:
        out = loop.work(work_name) if work_name else loop.of(c.outputs[0])
        loop.line(f"{take}({source}, {bound}, {axis}, {out}, {loop.work(part) if part else None})")
        source = out


RESAMPLE = '''\
def resample(x, table, axis, out, part):
    """Fill `out` with weighted sums of elements of `x` along `axis`; `part` is like `out`, to work in."""
    shape = [-1] + [1] * (x.ndim - 1 - axis)
    for number, (indices, weights) in enumerate(zip(*table)):
        target = part if number else out
        np.take(x, indices, axis=axis, out=target, mode="clip")
        if weights is not None:
            np.multiply(target, weights.reshape(shape), out=target)
        if number:
            np.add(out, part, out=out)
'''

RESIZE_TABLE = '''\
def resize_table(length, places, mode, dtype):
    """For an axis in another size: which elements are to be taken for each place, and their weights."""
    if mode == "nearest":
        return [np.arange(places) * length // places], [None]
    if mode == "corners":
        centre = np.arange(places) * (length - 1) / max(places - 1, 1)
    else:
        centre = np.clip((np.arange(places) + 0.5) * length / places - 0.5, 0, length - 1)
    low = np.floor(centre).astype(np.int64)
    share = centre - low
    return [low, np.minimum(low + 1, length - 1)], [(1 - share).astype(dtype), share.astype(dtype)]
'''

RESIZE_BACK_TABLE = '''\
def resize_back_table(length, places, mode, dtype):
    """The other way round: to which places each element contributed, and by which weights."""
    indices, weights = resize_table(length, places, mode, dtype)
    weights = np.concatenate([np.ones(places, dtype) if part is None else part for part in weights])
    found = np.concatenate(indices)
    order = np.argsort(found, kind="stable")
    order = order[weights[order] != 0]
    found = found[order]
    counts = np.bincount(found, minlength=length)
    rank = np.arange(found.size) - (np.cumsum(counts) - counts)[found]
    back, shares = np.zeros((counts.max(), length), np.int64), np.zeros((counts.max(), length), dtype)
    back[rank, found] = order % places
    shares[rank, found] = weights[order]
    return list(back), [None if (part == 1).all() else part for part in shares]
'''
