"""How a transposed convolution that moves by several places becomes NumPy statements: by phases.

Of the result, the places with one remainder after division by the stride meet only the cells of the window with that
remainder: they are a convolution of their own, which moves by one place. Nothing is added up but by the products, whose
sums are longer by the number of those cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as combinations
from math import prod

from compiler.ir.types import TensorType
from compiler.ops.arrays import to_first, to_last
from compiler.ops.base import NumpyLowering
from compiler.ops.conv_parts_numpy import Kernels, add_bias, fixed_shape, shaped
from compiler.ops.samples import Samples, windows
from compiler.ops.window import Window

# Runs of fewer elements than this are slow to put side by side, and products that make fewer columns are slow.
_LONG_RUN, _MANY_CHANNELS = 32, 16


@dataclass(frozen=True)
class Phase:
    """Along one axis, the places ``start``, ``start + stride`` … of the result, ``count`` of them: each is a sum over
    ``taps`` places of the gradient, for the first place those from ``first`` on, and from one more for each next. They
    meet the cells ``remainder``, ``remainder + stride`` … of the window, the last one first."""

    remainder: int
    taps: int
    first: int
    count: int
    start: int


def has_phases(window: Window, gradient: TensorType, result: TensorType, weight: TensorType) -> bool:
    """Whether this is a way to compute it with one group of kernels ``weight``, and a good one."""
    numbers = (*window.before, *gradient.shape[2:], *result.shape[2:])
    wide = all(reach >= stride > 1 for reach, stride in zip(window.kernel, window.strides, strict=True))
    outputs, channels = fixed_shape(weight)[:2]
    known = set(window.dilations) == {1} and all(isinstance(number, int) for number in numbers)
    many = channels >= _MANY_CHANNELS
    return wide and many and known and outputs * (window.kernel[-1] // window.strides[-1]) >= _LONG_RUN


def lower_phases(c: NumpyLowering, window: Window, kernels: Kernels) -> None:
    """Write a transposed convolution: operands gradient, kernels and perhaps a bias."""
    _Phases(c, window, kernels).write()


class _Phases:
    """``outputs`` are the channels of the gradient, ``channels`` those of the result."""

    def __init__(self, c: NumpyLowering, window: Window, kernels: Kernels) -> None:
        self.c, self.window, self.kernels = c, window, kernels
        self.type = c.input_types[0]
        self.places, self.size = (fixed_shape(type)[-window.rank :] for type in (self.type, c.output_types[0]))
        before = fixed_shape(self.type.with_shape(window.before))
        axes = zip(window.kernel, window.strides, before, self.size, strict=True)
        self.axes = [list(phases_of(*axis)) for axis in axes]
        # What lies around the gradient, so that every phase finds its taps there.
        self.before = [max(0, *(-phase.first for phase in axis)) for axis in self.axes]
        ends = [max(phase.first + phase.count + phase.taps - 1 for phase in axis) for axis in self.axes]
        self.around = [b + max(length, end) for b, length, end in zip(self.before, self.places, ends, strict=True)]
        self.outputs, self.channels = kernels.outputs, kernels.inputs

    def write(self) -> None:
        c, rank = self.c, self.window.rank
        phases = list(combinations(*self.axes))
        columns = max(prod(phase.count * phase.taps for phase in each) for each in phases) * self.outputs
        rows = max(prod(phase.count for phase in each) for each in phases) * self.channels
        elements = prod(self.around) * self.outputs + columns + rows + prod(self.size) * self.channels
        loop = Samples(c, self.type.shape[0], elements * self.type.dtype.bytes)
        turned = self._work(loop.count, *self.around, self.outputs)
        image = c.view(turned, f"transpose({to_first(rank)})")
        side, given = self._work(loop.count * columns), self._work(loop.count * rows)
        own = c.gives_channels_last
        whole = c.view(c.outputs[0], f"transpose({to_last(rank)})") if own else ""
        whole = whole or self._work(loop.count, *self.size, self.channels)
        prepared = [self._prepared(each, image, side, given, loop) for each in phases]
        c.line(f"{turned}.fill(0)")
        loop.enter()
        spans = [f"{b}:{b + length}" for b, length in zip(self.before, self.places, strict=True)]
        loop.line(f"np.copyto({loop.work(image, ', '.join(['...', *spans]))}, {loop.of(c.inputs[0])})")
        for each, (seen, cells, left, right, out, target) in zip(phases, prepared, strict=True):
            area = prod(phase.count for phase in each)
            some = f"[:{loop.number}*{area}]" if loop.looped else ""
            loop.line(f"np.copyto({loop.work(cells)}, {loop.work(seen)})")
            loop.line(f"np.matmul({left}{some}, {right}, out={out}{some})")
            steps = zip(each, self.window.strides, strict=True)
            spans = [f"{phase.start}:{phase.start + (phase.count - 1) * s + 1}:{s}" for phase, s in steps]
            met = (loop.of if own else loop.work)(whole, ", ".join(spans))
            loop.line(f"np.copyto({met}, {loop.work(target)})")
        if not own:
            loop.line(f"np.copyto({loop.of(c.outputs[0])}, {loop.work(whole)}.transpose({to_first(rank)}))")
        add_bias(c, self.window, loop)

    def _work(self, *sizes: int) -> str:
        return self.c.scratch(self.type.with_shape(sizes))

    def _prepared(
        self, each: tuple[Phase, ...], image: str, side: str, given: str, loop: Samples
    ) -> tuple[str, str, str, str, str, str]:
        """Arrays of a phase: what it sees of the gradient, where that is put side by side, the operands of its product
        and where this goes, as a matrix and as places. The kernels are copied into their order."""
        c, rank = self.c, self.window.rank
        taps, counts = [phase.taps for phase in each], [phase.count for phase in each]
        starts = [phase.first + b for phase, b in zip(each, self.before, strict=True)]
        spans = [f"{a}:{a + n + t - 1}" for a, n, t in zip(starts, counts, taps, strict=True)]
        part = c.view(image, f"{{}}[..., {', '.join(spans)}]")
        seen = windows(c, part, taps, counts, [1] * rank, [1] * rank)
        seen = c.view(seen, f"transpose({(0, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank), 1)})")
        shape = (loop.count, *counts, *taps, self.outputs)
        cells = c.view(side, f"{{}}[:{prod(shape)}].reshape({c.shape(shape)})")
        places = (loop.count, *counts, self.channels)
        target = c.view(given, f"{{}}[:{prod(places)}].reshape({c.shape(places)})")
        weight = self._work(*taps, self.outputs, self.channels)
        met = ", ".join(f"{p.remainder}::{s}" for p, s in zip(each, self.window.strides, strict=True))
        back = ", ".join(["...", *["::-1"] * rank])
        order = (*range(2, rank + 2), 0, 1)
        c.line(f"np.copyto({weight}, {c.inputs[1]}[:, :, {met}][{back}].transpose({order}))")
        left = shaped(c, cells, -1, prod(taps) * self.outputs)
        right = shaped(c, weight, prod(taps) * self.outputs, self.channels)
        return seen, cells, left, right, shaped(c, target, -1, self.channels), target


def phases_of(reach: int, stride: int, before: int, size: int) -> list[Phase]:
    """The phases along one axis of a window of ``reach`` cells, of a result of ``size`` places behind ``before`` that
    are cut off."""
    found = []
    for remainder in range(stride):
        taps = (reach - remainder + stride - 1) // stride
        first, last = -((remainder - before) // stride), (before + size - 1 - remainder) // stride
        if last >= first:
            start = remainder + stride * first - before
            found.append(Phase(remainder, taps, first - (taps - 1), last - first + 1, start))
    return found
