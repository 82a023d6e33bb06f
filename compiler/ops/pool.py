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
    FacetError,
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
from compiler.ops.checks import listed, need_floats, need_one_dtype
from compiler.ops.conv_onnx import pooling_attributes, window_attributes
from compiler.ops.parts import Cut, Joined
from compiler.ops.pool_numpy import pool_loop, reduce_windows
from compiler.ops.samples import Image
from compiler.ops.window import Each, Window, cell_ranges, cut, each, last, pad_array, ranges, require_places

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

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.strides, self.dilations, self.before, self.after)

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
        fields = (self.kernel, self.strides, self.dilations, self.before, self.after)
        return (b.add(MaxPoolGradient(*fields), inputs[0], outputs[0], gradients[0]),)

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
class MaxPoolGradient(Pooling):
    """The gradient of max_pool to its x: operands x, the pooled result, and the gradient to that."""

    opcode = "max_pool_gradient"
    verb = "make the gradient of max_pool from"
    gradient = without("max_pool can be differentiated once only")

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        x, *pooled = inputs
        need_one_dtype(self.verb, *inputs)
        expected = self.pooled(self.verb, x)
        if any(type.rank != x.rank or not all(map(equal, type.shape, expected.shape)) for type in pooled):
            raise TypeMismatch("E0301", f"cannot {self.verb} {listed(inputs)}", f"the pooled tensor is {expected}")
        return (x,)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        x, _, gradient = operands
        window = self.window
        first = np.argmax(_met(x, window, sizes), axis=0)
        result = pad_array(np.zeros_like(x), window, sizes)
        for number, cell in enumerate(window.offsets()):
            target = cut(result, cell, window, gradient.shape[2:])
            target += np.where(first == number, gradient, 0)
        starts = [evaluate(before, sizes) for before in self.before]
        inner = (slice(start, start + size) for start, size in zip(starts, x.shape[2:], strict=True))
        return (result[last(inner)],)

    def numpy(self, c: NumpyLowering) -> None:
        """Cell by cell: it takes the gradient where it holds the maximum and none before it did."""
        x, pooled = c.input_types[:2]
        window, places = self.window, pooled.shape[2:]
        loop = pool_loop(c, x, window)
        overlaps = any(stride < reach for stride, reach in zip(window.strides, window.reach, strict=True))
        work = pooled.with_shape((loop.count, *pooled.shape[1:]))
        last = c.gives_channels_last
        chosen, free = (c.scratch(work.with_dtype(DType.BOOL), last) for _ in range(2))
        part = c.scratch(work, last) if overlaps else ""
        image = Image(c, loop, c.inputs[0], x, window, "-np.inf", last)
        whole = c.scratch(x.with_shape((loop.count, x.shape[1], *image.sizes)), last) if window.padded else ""
        best, given = c.inputs[1:]
        target, cell_target = c.local("target"), c.local("cell")
        loop.enter()
        image.load()
        loop.line(f"{target} = {loop.work(whole) if whole else loop.of(c.outputs[0])}")
        if not self._tiles(x):
            loop.line(f"{target}.fill(0)")
        mine, left = loop.work(chosen), loop.work(free)
        loop.line(f"{left}.fill(True)")
        cells = list(window.offsets())
        for cell in cells:
            index, holder = cell_ranges(c, cell, window, places), left
            # What no cell has taken is the last one's, which need not be looked at.
            if cell != cells[-1]:
                holder = mine
                loop.line(f"np.equal({image.part(image.array, index)}, {loop.of(best)}, out={mine})")
                loop.line(f"np.logical_and({mine}, {left}, out={mine})")
                loop.line(f"np.logical_xor({left}, {mine}, out={left})")
            loop.line(f"{cell_target} = {target}[{index}]")
            out = loop.work(part) if overlaps else cell_target
            loop.line(f"np.multiply({loop.of(given)}, {holder}, out={out})")
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

    def onnx(self, c: OnnxLowering) -> None:
        """Where the maximum was is the second result of MaxPool, counted over the whole tensor."""
        x = c.input_types[0]
        padding = pooling_attributes(self.window, x.shape[2:])
        if padding is None:
            raise FacetError("ONNX has no gradient of a max_pool whose padding depends on symbolic sizes")
        names = [c.name("pooled"), c.name("places")]
        c.node("MaxPool", (c.inputs[0],), names, **window_attributes(self.window), **padding)
        flat = c.constant(np.array([-1], np.int64))
        places, given = (c.node("Reshape", (name, flat)) for name in (names[1], c.inputs[2]))
        zeros = c.node("Expand", (c.scalar(0, x.dtype), c.shape((x.size,))))
        result = c.node("ScatterElements", (zeros, places, given), axis=0, reduction="add")
        c.node("Reshape", (result, c.shape(x.shape)), c.outputs, allowzero=1)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        random = np.random.default_rng(3)
        found = []
        for op, shape in _uses(cls):
            # Few different numbers, so that many tie.
            x = random.integers(-3, 3, [evaluate(dim, SIZES) for dim in shape]).astype(np.float32)
            pooled = np.max(_met(x, op.window, SIZES), axis=0)
            gradient = random.uniform(-1, 1, pooled.shape).astype(np.float32)
            types = (TensorType(F32, shape), *[op.pooled("", TensorType(F32, shape))] * 2)
            found.append(Sample(op, types, sizes=SIZES, values=(x, pooled, gradient)))
        return found
