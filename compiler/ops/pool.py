"""The largest element under each place of a window, and its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    without,
)
from compiler.ops.checks import listed, need_floats
from compiler.ops.conv_onnx import pooling_attributes, window_attributes
from compiler.ops.parts import Cut, Joined
from compiler.ops.pool_numpy import pool_loop, reduce_windows
from compiler.ops.samples import Image
from compiler.ops.window import (
    Each,
    Window,
    cell_ranges,
    cut,
    each,
    has_open_sizes,
    last,
    pad_array,
    ranges,
    require_places,
)

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32 = DType.F32
N, H = symbol("N"), symbol("H")
SIZES = {"N": 3, "H": 6}


@dataclass(frozen=True)
class Pooling(Op):
    """A window of ``kernel`` cells, ``dilations`` apart, that moves by ``strides`` over the spatial axes of x
    [N, C, *spatial] with cells of padding ``before`` and ``after``: one number for each axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]

    def may_refuse(self, inputs: tuple[TensorType, ...]) -> bool:
        return has_open_sizes(inputs)

    @property
    def fields(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[Dim, ...], tuple[Dim, ...]]:
        """The fields, which the gradient has too."""
        return self.kernel, self.strides, self.dilations, self.before, self.after

    @property
    def window(self) -> Window:
        return Window(*self.fields)

    takes_channels_last = True

    def gives_channels_last(self, inputs: tuple[TensorType, ...], last: tuple[bool, ...]) -> bool:
        return last[0]

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.samples()

    def pooled(self, verb: str, x: TensorType) -> TensorType:
        """The type of the result. TypeMismatch where the window does not fit."""
        need_floats(verb, x)
        check_rank(verb, x)
        self.window.check(verb, x)
        return x.with_shape((*x.shape[:2], *self.window.places(x.shape[2:])))


def check_rank(verb: str, x: TensorType) -> None:
    """TypeMismatch unless x has samples, channels and one to three spatial axes."""
    if not 3 <= x.rank <= 5:
        raise TypeMismatch(
            "E0301",
            f"cannot {verb} {x}: it takes samples, channels, and one to three spatial axes",
            f"this has {x.rank} axes",
            ("images are [N, channels, height, width]: give it the missing axes with reshape",),
        )


@operation
@dataclass(frozen=True)
class MaxPool(Pooling):
    """The largest element under the window at each of its places; padding is never chosen. Of elements that tie, the
    first in row-major order takes the gradient, as in PyTorch."""

    opcode = "max_pool"
    verb = "max_pool"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return (self.pooled(self.verb, inputs[0]),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        kept = MaxPoolTraining(*self.fields)
        return kept.gradient(b, inputs, b.add_node(kept, inputs), gradients)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.max(_met(operands[0], self.window, sizes), axis=0),)

    def numpy(self, c: NumpyLowering) -> None:
        require_places(c, self.window, c.input_types[0])
        loop = pool_loop(c, c.input_types[0], self.window)
        image = Image(c, loop, c.inputs[0], c.input_types[0], self.window, "-np.inf", c.gives_channels_last)
        reduce_windows(c, loop, image, self.window, "maximum", c.output_types[0])

    def onnx(self, c: OnnxLowering) -> None:
        x, padding = c.inputs[0], pooling_attributes(self.window, c.input_types[0].shape[2:])
        if padding is None:
            pads = c.shape((0, 0, *self.before, 0, 0, *self.after))
            x, padding = c.node("Pad", (x, pads, c.scalar(-np.inf, c.input_types[0].dtype))), {}
        c.node("MaxPool", (x,), c.outputs, **window_attributes(self.window), **padding)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return [Sample(op, (TensorType(F32, x),), sizes=SIZES) for op, x in _uses(cls)]


def _met(x: Array, window: Window, sizes: Sizes) -> Array:
    """What each cell of the window meets: [cells, N, C, *places]."""
    places = [evaluate(dim, sizes) for dim in window.places(x.shape[2:])]
    padded = pad_array(x, window, sizes, -np.inf)
    return np.stack([cut(padded, cell, window, places) for cell in window.offsets()])


def made(
    cls: Callable[..., Any],
    rank: int,
    kernel: Each,
    stride: Each | None = None,
    dilation: Each = 1,
    before: Each = 0,
    after: Each | None = None,
) -> Any:
    """A pooling of so many axes by a window that moves by its own size, where the stride is not given."""
    lists = (kernel, kernel if stride is None else stride, dilation, before, before if after is None else after)
    return cls(*(each(part, rank) for part in lists))


def _uses(cls: Callable[..., Any]) -> Sequence[tuple[Any, tuple[Dim, ...]]]:
    same = (H - 1) // 2 * 2 + 3 - H  # the padding that gives ceil(H / 2) places
    return (
        (made(cls, 1, 2), (N, 2, 7)),
        (made(cls, 1, 3, 1, 2, 1), (2, 3, 6)),
        (made(cls, 2, 2), (N, 2, 4, 6)),
        (made(cls, 2, 2), (N, 2, 5, 5)),
        (made(cls, 2, 3, 2, 1, 1), (N, 2, 5, 6)),
        (made(cls, 2, (2, 3), (3, 1), (2, 1), (1, 0), (0, 1)), (N, 1, 6, 5)),
        (made(cls, 2, (1, 2), (2, 2)), (N, 2, 3, 4)),
        (made(cls, 2, 1, 1), (2, 2, 2, 3)),
        (made(cls, 2, 2), (N, 2, H, 4)),
        (made(cls, 2, 3, 2, 1, (same // 2, 0), (same - same // 2, 1)), (N, 1, H, 4)),
        (made(cls, 3, (2, 1, 2), 1), (2, 2, 3, 2, 3)),
    )


@operation
@dataclass(frozen=True)
class MaxPoolTraining(Pooling):
    """A max_pool that keeps what its gradient needs as a second result: for each place the number of the cell that
    holds the largest element, in row-major order, the first of those that tie (u8, or i32 for large windows). That is
    found while x is in the cache, and x, which is larger, need not be kept."""

    opcode = "max_pool_training"
    verb = "max_pool"
    auxiliary = 1
    onnx = without("ONNX's MaxPool numbers cells in another way: train with NumPy, and export the model")

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        pooled = self.pooled(self.verb, inputs[0])
        return pooled, pooled.with_dtype(_number_type(self.window))

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.add(MaxPoolGradient(*self.fields, inputs[0].type.shape[2:]), outputs[1], gradients[0]),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        met = _met(operands[0], self.window, sizes)
        return np.max(met, axis=0), np.argmax(met, axis=0).astype(_number_type(self.window).numpy)

    def numpy(self, c: NumpyLowering) -> None:
        """Last cell first: it counts how many cells come before the first that holds the maximum."""
        x, window, type = c.input_types[0], self.window, c.output_types[1]
        require_places(c, window, x)
        loop, last = pool_loop(c, x, window), c.gives_channels_last
        image = Image(c, loop, c.inputs[0], x, window, "-np.inf", last)
        other = c.scratch(type.with_shape((loop.count, *type.shape[1:])).with_dtype(DType.BOOL), last)
        reduce_windows(c, loop, image, window, "maximum", c.output_types[0])
        best, number, one = loop.of(c.outputs[0]), loop.of(c.outputs[1]), c.scalar(1, type.dtype)
        *cells, _ = window.offsets()
        loop.line(f"{number}.fill(0)")
        for cell in reversed(cells):
            seen = image.part(image.array, cell_ranges(c, cell, window, type.shape[2:]))
            loop.line(f"np.not_equal({seen}, {best}, out={loop.work(other)})")
            if cell != cells[-1]:
                loop.line(f"np.add({number}, {one}, out={number})")
                loop.line(f"np.multiply({number}, {loop.work(other)}, out={number})")
            else:
                loop.line(f"np.copyto({number}, {loop.work(other)})")

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        uses = [*_uses(cls), (made(cls, 1, 300, 7), (1, 1, 310))]
        return [Sample(op, (TensorType(F32, x),), sizes=SIZES) for op, x in uses]


def _number_type(window: Window) -> DType:
    """The element type of numbers of cells."""
    return DType.U8 if window.cells <= 256 else DType.I32


@operation
@dataclass(frozen=True)
class MaxPoolGradient(Pooling):
    """The gradient of max_pool to its x [N, C, *size]: operands the numbers of the cells that hold the maxima, and the
    gradient to these."""

    size: tuple[Dim, ...]

    opcode = "max_pool_gradient"
    verb = "make the gradient of max_pool from"
    gradient = without("max_pool can be differentiated once only")
    onnx = without("ONNX's MaxPool numbers cells in another way: train with NumPy, and export the model")

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        numbers, given = inputs
        result = given.with_shape((*given.shape[:2], *self.size))
        expected = self.pooled(self.verb, result)
        fits = all(type.rank == result.rank and all(map(equal, type.shape, expected.shape)) for type in inputs)
        if not fits or numbers.dtype is not _number_type(self.window):
            raise TypeMismatch("E0301", f"cannot {self.verb} {listed(inputs)}", f"the pooled tensor is {expected}")
        return (result,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        first, gradient = operands
        window, size = self.window, [evaluate(dim, sizes) for dim in self.size]
        result = pad_array(np.zeros((*gradient.shape[:2], *size), gradient.dtype), window, sizes)
        for number, cell in enumerate(window.offsets()):
            target = cut(result, cell, window, gradient.shape[2:])
            target += np.where(first == number, gradient, 0)
        starts = [evaluate(before, sizes) for before in self.before]
        inner = (slice(start, start + length) for start, length in zip(starts, size, strict=True))
        return (result[last(inner)],)

    def numpy(self, c: NumpyLowering) -> None:
        """Cell by cell: it takes the gradient of the places whose number is its own."""
        x, given = c.output_types[0], c.input_types[1]
        window, last = self.window, c.gives_channels_last
        loop = pool_loop(c, x, window)
        overlaps = any(stride < reach for stride, reach in zip(window.strides, window.reach, strict=True))
        work = given.with_shape((loop.count, *given.shape[1:]))
        mine, part = c.scratch(work.with_dtype(DType.BOOL), last), c.scratch(work, last) if overlaps else ""
        around = (loop.count, x.shape[1], *window.around(x.shape[2:]))
        whole = c.scratch(x.with_shape(around), last) if window.padded else ""
        target, cell_target = c.local("target"), c.local("cell")
        loop.enter()
        loop.line(f"{target} = {loop.work(whole) if whole else loop.of(c.outputs[0])}")
        if not self._tiles(x):
            loop.line(f"{target}.fill(0)")
        for number, cell in enumerate(window.offsets()):
            own = c.scalar(number, c.input_types[0].dtype)
            loop.line(f"np.equal({loop.of(c.inputs[0])}, {own}, out={loop.work(mine)})")
            loop.line(f"{cell_target} = {target}[{cell_ranges(c, cell, window, given.shape[2:])}]")
            out = loop.work(part) if overlaps else cell_target
            loop.line(f"np.multiply({loop.of(c.inputs[1])}, {loop.work(mine)}, out={out})")
            if overlaps:
                loop.line(f"np.add({cell_target}, {out}, out={cell_target})")
        if whole:
            inside = ranges(c, window.before, x.shape[2:], (1,) * window.rank)
            loop.line(f"np.copyto({loop.of(c.outputs[0])}, {target}[{inside}])")

    def _tiles(self, x: TensorType) -> bool:
        """Whether every element of x is under the window once."""
        covered = zip(self.window.places(x.shape[2:]), self.kernel, x.shape[2:], strict=True)
        whole = all(equal(count * size, dim) for count, size, dim in covered)
        return whole and self.kernel == self.strides and set(self.dilations) == {1} and not self.window.padded

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        random = np.random.default_rng(3)
        found = []
        for before in MaxPoolTraining.samples():
            pool, (x,) = before.operation, before.operands
            assert isinstance(pool, MaxPoolTraining)
            pooled, type = pool.infer((x,))
            shape = [evaluate(dim, SIZES) for dim in pooled.shape]
            numbers = random.integers(0, pool.window.cells, shape).astype(type.dtype.numpy)
            gradient = random.uniform(-1, 1, shape).astype(np.float32)
            build: Callable[..., MaxPoolGradient] = cls
            op = build(*pool.fields, x.shape[2:])
            found.append(Sample(op, (type, pooled), sizes=SIZES, values=(numbers, gradient)))
        return found
