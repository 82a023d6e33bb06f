"""The mean of the elements under each place of a window, and its gradient."""

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
)
from compiler.ops.checks import need_floats
from compiler.ops.conv_onnx import onnx_transposed, pooling_attributes, window_attributes
from compiler.ops.parts import Cut, Joined
from compiler.ops.pool import check_rank
from compiler.ops.pool_numpy import pool_loop, reduce_windows, spread_windows
from compiler.ops.samples import Image
from compiler.ops.window import Each, Window, cut, each, has_open_sizes, last, pad_array, ranges, require_places

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

F32 = DType.F32
N, H = symbol("N"), symbol("H")
SIZES = {"N": 3, "H": 6}


@dataclass(frozen=True)
class Averaging(Op):
    """A window of ``kernel`` cells that moves by ``strides`` over the spatial axes of x [N, C, *spatial] with zeros
    ``before`` and ``after``: one number for each axis. ``count_padding`` says whether the mean is taken over these
    zeros too."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]
    count_padding: bool

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.strides, (1,) * len(self.kernel), self.before, self.after)

    @property
    def uneven(self) -> bool:
        """Whether the means are taken over different numbers of elements."""
        return self.window.padded and not self.count_padding

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

    def shares(self, spatial: Sequence[int], sizes: Sizes) -> Array:
        """What an element under each place counts: one through the number of elements."""
        window = self.window
        ones = np.ones((1, 1, *spatial))
        counted = pad_array(ones, window, sizes, 1.0 if self.count_padding else 0.0)
        places = [evaluate(dim, sizes) for dim in window.places(spatial)]
        total: Array = sum((cut(counted, cell, window, places) for cell in window.offsets()), np.zeros(places))
        return 1 / total

    def numpy_share(self, c: NumpyLowering, x: TensorType) -> str:
        """The factor of sums as an array that broadcasts against the places."""
        places = self.window.places(x.shape[2:])
        dtype = f"{c.scalar(0, x.dtype)}.dtype"
        if not self.uneven:
            return c.bound(f"np.full((), 1/{self.window.cells}, {dtype})", TensorType(x.dtype))
        counts = c.helper("window_shares", WINDOW_SHARES)
        lists = (x.shape[2:], places, self.kernel, self.strides, self.before)
        return c.bound(f"{counts}({', '.join(map(c.shape, lists))}).astype({dtype})", TensorType(x.dtype, places))


@operation
@dataclass(frozen=True)
class AvgPool(Averaging):
    """The mean of the elements under the window at each of its places."""

    opcode = "avg_pool"
    verb = "avg_pool"

    def may_refuse(self, inputs: tuple[TensorType, ...]) -> bool:
        return has_open_sizes(inputs)

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return (self.pooled(self.verb, inputs[0]),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        fields = (self.kernel, self.strides, self.before, self.after, self.count_padding)
        return (b.add(AvgPoolGradient(*fields, inputs[0].type.shape[2:]), gradients[0]),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        (x,) = operands
        window = self.window
        padded = pad_array(x.astype(np.float64), window, sizes)
        places = [evaluate(dim, sizes) for dim in window.places(x.shape[2:])]
        total = sum(cut(padded, cell, window, places) for cell in window.offsets())
        return (np.asarray(total * self.shares(x.shape[2:], sizes)).astype(x.dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        x = c.input_types[0]
        require_places(c, self.window, x)
        share = self.numpy_share(c, x)
        loop = pool_loop(c, x, self.window)
        image = Image(c, loop, c.inputs[0], x, self.window, channels_last=c.gives_channels_last)
        reduce_windows(c, loop, image, self.window, "add", c.output_types[0])
        out = loop.of(c.outputs[0])
        loop.line(f"np.multiply({out}, {share}, out={out})")

    def onnx(self, c: OnnxLowering) -> None:
        _refuse_f64(c)
        x, padding = c.inputs[0], pooling_attributes(self.window, c.input_types[0].shape[2:])
        if padding is None:
            if not self.count_padding:
                raise FacetError("ONNX has no avg_pool that leaves out padding whose size depends on symbols")
            x = c.node("Pad", (x, c.shape((0, 0, *self.before, 0, 0, *self.after))))
            padding = {}
        elif self.window.padded and self.count_padding:
            padding["count_include_pad"] = 1
        c.node("AveragePool", (x,), c.outputs, **window_attributes(self.window), **padding)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return [Sample(cls(*fields), (TensorType(F32, x),), sizes=SIZES) for fields, x in _uses()]


def _uses() -> Sequence[tuple[tuple[Any, ...], tuple[Dim, ...]]]:
    def use(kernel: tuple[int, ...], x: tuple[Dim, ...], stride: Each, before: Each, after: Each, count: bool) -> Any:
        rank = len(kernel)
        return (kernel, each(stride, rank), each(before, rank), each(after, rank), count), x

    same = (H - 1) // 2 * 2 + 3 - H  # the padding that gives ceil(H / 2) places
    return (
        use((2,), (N, 2, 7), 2, 0, 0, True),
        use((3,), (2, 3, 6), 1, 1, 1, False),
        use((2, 2), (N, 2, 4, 6), 2, 0, 0, True),
        use((3, 2), (N, 2, 5, 6), (2, 1), 1, (1, 0), True),
        use((3, 2), (N, 2, 5, 6), (2, 1), 1, (1, 0), False),
        use((1, 2), (N, 2, 3, 4), (2, 2), 0, 0, True),
        use((1, 1), (2, 2, 2, 3), 1, 0, 0, True),
        use((3, 3), (N, 1, H, 4), 1, 1, 1, False),
        use((3, 2), (N, 1, H, 4), 2, (same // 2, 0), (same - same // 2, 0), True),
        use((2, 1, 2), (2, 2, 3, 2, 3), 1, 0, 0, True),
    )


@operation
@dataclass(frozen=True)
class AvgPoolGradient(Averaging):
    """The gradient of avg_pool to its x [N, C, *size]: each element's share of what the places over it are given."""

    size: tuple[Dim, ...]

    opcode = "avg_pool_gradient"
    verb = "make the gradient of avg_pool from"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (given,) = inputs
        result = given.with_shape((*given.shape[:2], *self.size))
        expected = self.pooled(self.verb, result)
        if not all(map(equal, given.shape, expected.shape)):
            raise TypeMismatch("E0301", f"cannot {self.verb} {given} for {result}: that is pooled to {expected}")
        return (result,)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return (b.add(AvgPool(self.kernel, self.strides, self.before, self.after, self.count_padding), gradients[0]),)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        (given,) = operands
        window, size = self.window, [evaluate(dim, sizes) for dim in self.size]
        shared = given.astype(np.float64) * self.shares(size, sizes)
        result = pad_array(np.zeros((*given.shape[:2], *size)), window, sizes)
        for cell in window.offsets():
            target = cut(result, cell, window, given.shape[2:])
            target += shared
        starts = [evaluate(before, sizes) for before in self.before]
        inner = last(slice(start, start + n) for start, n in zip(starts, size, strict=True))
        return (result[inner].astype(given.dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        given, x, window = c.input_types[0], c.output_types[0], self.window
        share = self.numpy_share(c, x)
        loop = pool_loop(c, x, window)
        last = c.gives_channels_last
        shared = c.scratch(given.with_shape((loop.count, *given.shape[1:])), last)
        whole = ""
        if window.padded:
            whole = c.scratch(x.with_shape((loop.count, x.shape[1], *window.around(x.shape[2:]))), last)
        loop.enter()
        loop.line(f"np.multiply({loop.of(c.inputs[0])}, {share}, out={loop.work(shared)})")
        target = loop.work(whole) if whole else loop.of(c.outputs[0])
        spread_windows(c, loop, loop.work(shared), window, given.shape[2:], target, x)
        if whole:
            inside = ranges(c, window.before, x.shape[2:], (1,) * window.rank)
            loop.line(f"np.copyto({loop.of(c.outputs[0])}, {loop.work(whole, inside)})")

    def onnx(self, c: OnnxLowering) -> None:
        """A transposed convolution of every channel by itself, as a batch of images of one channel."""
        _refuse_f64(c)
        given, x, window = c.input_types[0], c.output_types[0], self.window
        source = c.inputs[0]
        if self.uneven:
            padding = pooling_attributes(window, x.shape[2:])
            if padding is None:
                raise FacetError("ONNX has no avg_pool that leaves out padding whose size depends on symbols")
            ones = c.node("Expand", (c.scalar(1, x.dtype), c.shape((1, 1, *x.shape[2:]))))
            attributes = window_attributes(window) | padding | {"count_include_pad": 1}
            source = c.node("Div", (source, c.node("AveragePool", (ones,), **attributes)))
        batch = given.shape[0] * given.shape[1]
        images, made = (type.with_shape((batch, 1, *type.shape[2:])) for type in (given, x))
        source = c.node("Reshape", (source, c.shape(images.shape)), allowzero=1)
        kernel = c.constant(np.full((1, 1, *self.kernel), 1 / window.cells, x.dtype.numpy))
        result = c.name("spread")
        onnx_transposed(c, (source, kernel), (result,), window, 1, images, made)
        c.node("Reshape", (result, c.shape(x.shape)), c.outputs, allowzero=1)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        found = []
        for fields, x in _uses():
            build: Callable[..., AvgPoolGradient] = cls
            found.append(Sample(build(*fields, x[2:]), (AvgPool(*fields).pooled("", TensorType(F32, x)),), sizes=SIZES))
        return found


def _refuse_f64(c: OnnxLowering) -> None:
    if c.output_types[0].dtype is DType.F64:
        raise FacetError("ONNX Runtime has no avg_pool for f64: use f32")


WINDOW_SHARES = '''\
def window_shares(sizes, places, kernel, strides, before):
    """One through the number of elements, padding left out, that a window meets at each of its places."""
    shares = np.ones(())
    for size, count, length, stride, padding in zip(sizes, places, kernel, strides, before):
        start = np.arange(count) * stride - padding
        met = np.minimum(start + length, size) - np.maximum(start, 0)
        shares = shares[..., None] / met
    return shares
'''
