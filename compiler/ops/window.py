"""The geometry of windows that slide over the spatial axes of a tensor, as convolution and pooling have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from compiler.ir.dims import Dim, bounds, ceil_divide, evaluate, floor_divide, less_equal, symbols
from compiler.ir.types import TensorType, TypeMismatch
from compiler.ops.base import Array, NumpyLowering, Sizes

# One number for every spatial axis, or one for each.
Each: TypeAlias = Dim | tuple[Dim, ...]
# How many cells a window has along each axis, as errors show it: 3x3.
_TIMES = "x"


@dataclass(frozen=True, slots=True)
class Window:
    """A window of ``kernel`` cells along each spatial axis, which stand ``dilations`` apart, and which moves by
    ``strides`` over a tensor with ``before`` and ``after`` cells of padding."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[Dim, ...]
    after: tuple[Dim, ...]

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def moves(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Dim, ...], tuple[Dim, ...]]:
        """All but the kernel."""
        return self.strides, self.dilations, self.before, self.after

    @property
    def reach(self) -> tuple[int, ...]:
        """How many cells of the tensor the window spans along each axis."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True))

    @property
    def cells(self) -> int:
        """The number of cells in the window."""
        return int(np.prod(self.kernel))

    @property
    def padded(self) -> bool:
        return any(amount != 0 for amount in (*self.before, *self.after))

    @property
    def is_point(self) -> bool:
        """Whether the window is one cell that meets every cell of the tensor."""
        return self.cells == 1 and set(self.strides) == {1} and not self.padded

    def around(self, sizes: Sequence[Dim]) -> tuple[Dim, ...]:
        """The sizes of a tensor with its padding."""
        return tuple(a + size + b for a, size, b in zip(self.before, sizes, self.after, strict=True))

    def places(self, sizes: Sequence[Dim]) -> tuple[Dim, ...]:
        """How many places the window has along each axis of a tensor with these sizes."""
        return tuple(
            floor_divide(size - reach, stride) + 1
            for size, reach, stride in zip(self.around(sizes), self.reach, self.strides, strict=True)
        )

    def offsets(self) -> Iterator[tuple[int, ...]]:
        """Each cell of the window, in row-major order."""
        return np.ndindex(self.kernel)

    def one_row(self) -> Window:
        """One cell of the first axis instead of all."""
        parts = (self.kernel, self.strides, self.dilations)
        kernel, strides, dilations = ((1, *part[1:]) for part in parts)
        return replace(self, kernel=kernel, strides=strides, dilations=dilations)

    def unpadded(self) -> Window:
        nothing = (0,) * self.rank
        return replace(self, before=nothing, after=nothing)

    def check(self, verb: str, type: TensorType) -> None:
        """Raise TypeMismatch where the window makes no sense, or can't have a place on a tensor [N, C, *spatial].

        Where that depends on symbols, :func:`require_places` has the program check it.
        """
        lists = (self.kernel, self.strides, self.dilations, self.before, self.after)
        if any(len(part) != type.rank - 2 for part in lists):
            raise TypeMismatch(
                "E0301",
                f"cannot {verb} {type} with a window of {self.rank} axes",
                f"it has {max(type.rank - 2, 0)} axes behind the samples and the channels",
            )
        for name, numbers in (("kernel", self.kernel), ("stride", self.strides), ("dilation", self.dilations)):
            if min(numbers, default=1) < 1:
                shown = _TIMES.join(map(str, numbers))
                raise TypeMismatch("E0301", f"cannot {verb} {type} with a {name} of {shown}: each is at least 1")
        for amount in (*self.before, *self.after):
            if less_equal(0, amount) is False:
                raise TypeMismatch("E0301", f"cannot {verb} {type} with a padding of {amount}: that is negative")
        for axis, (size, reach) in enumerate(zip(self.around(type.shape[2:]), self.reach, strict=True)):
            if less_equal(reach, size) is False:
                self._refuse(verb, type, axis, size)

    def _refuse(self, verb: str, type: TensorType, axis: int, size: Dim) -> None:
        reach, kernel = self.reach[axis], _TIMES.join(map(str, self.kernel))
        spans = f", which spans {reach} cells" if self.dilations[axis] > 1 else ""
        padding = f", {size} with its padding" if size != type.shape[axis + 2] else ""
        raise TypeMismatch(
            "E0301",
            f"cannot {verb} {type}: the {kernel} window is larger than what it slides over",
            f"dimension {axis + 2} is {type.shape[axis + 2]}{padding}: a window of {self.kernel[axis]}{spans} "
            "does not fit",
            ("take a smaller window, or pad the edges, for example with pad=same",),
        )


def each(amount: Each, rank: int) -> tuple[Any, ...]:
    """The number for each of ``rank`` axes."""
    return amount if isinstance(amount, tuple) else (amount,) * rank


def same_padding(size: Dim, reach: int, stride: int) -> tuple[Dim, Dim]:
    """The padding before and after an axis that gives ``ceil(size / stride)`` places, the odd cell at the end, as
    TensorFlow's "same" and ONNX's SAME_UPPER have it."""
    total = (ceil_divide(size, stride) - 1) * stride + reach - size
    if bounds(total)[1] <= 0:
        return 0, 0
    before = floor_divide(total, 2)
    return before, total - before


def padding_is_known(size: Dim, reach: int, stride: int) -> bool:
    """Whether :func:`same_padding` holds whatever the symbols are: it would have to cut cells off where the window is
    smaller than its stride, at some sizes."""
    total = (ceil_divide(size, stride) - 1) * stride + reach - size
    return bounds(total)[0] >= 0 or bounds(total)[1] <= 0


def ceil_padding(size: Dim, reach: int, stride: int, before: Dim, after: Dim) -> Dim | None:
    """The padding behind an axis that makes room for one more place where a window would else have left cells out, as
    PyTorch's and ONNX's ceil_mode have it: unless it began behind the tensor. None where that depends on symbols."""
    places = ceil_divide(size + before + after - reach, stride) + 1
    begins = less_equal(size + before, (places - 1) * stride)
    if begins is None and not less_equal(stride + after, reach):
        return None
    return after if begins else (places - 1) * stride + reach - size - before


def cut(array: Array, offset: Sequence[int], window: Window, places: Sequence[int]) -> Array:
    """The elements of a padded array [..., *spatial] that one cell of the window meets at each place; a view."""
    ranges = zip(offset, window.dilations, window.strides, places, strict=True)
    index = last(slice(at * step, at * step + (n - 1) * move + 1, move) for at, step, move, n in ranges)
    return np.asarray(array[index])


def last(index: Iterable[Any]) -> tuple[Any, ...]:
    """An index of the last axes."""
    return (..., *index)


def pad_array(array: Array, window: Window, sizes: Sizes, value: float = 0.0) -> Array:
    """An array [N, C, *spatial] with the window's padding."""
    sides = zip(window.before, window.after, strict=True)
    widths = [(evaluate(before, sizes), evaluate(after, sizes)) for before, after in sides]
    return np.pad(array, [(0, 0), (0, 0), *widths], constant_values=value)


# What generated programs need


def has_open_sizes(inputs: tuple[TensorType, ...]) -> bool:
    """Whether spatial sizes are known only when a program runs, which then has to check that the window fits."""
    return any(not isinstance(dim, int) for type in inputs for dim in type.shape[2:])


def require_places(c: NumpyLowering, window: Window, type: TensorType) -> None:
    """Have the program check that the window fits, where that depends on the sizes."""
    for axis, (size, reach) in enumerate(zip(window.around(type.shape[2:]), window.reach, strict=True)):
        if less_equal(reach, size) is None:
            shown = _TIMES.join(map(str, window.kernel))
            names = ", ".join(symbol.name for symbol in symbols(size))
            c.require(
                f"{c.dim(size)} >= {reach}",
                f"the {shown} window does not fit into dimension {axis + 2} of {type} at this {names}",
            )


def ranges(c: NumpyLowering, starts: Sequence[Dim], sizes: Sequence[Dim], steps: Sequence[int]) -> str:
    """The text of an index over the last axes, such as ``..., 1:29, 0:27:2``: ``sizes`` elements of each."""
    texts = []
    for start, size, step in zip(starts, sizes, steps, strict=True):
        stop = start + (size - 1) * step + 1
        texts.append(f"{c.dim(start)}:{c.dim(stop)}" + (f":{step}" if step > 1 else ""))
    return ", ".join(["...", *texts])


def cell_ranges(c: NumpyLowering, offset: Sequence[int], window: Window, places: Sequence[Dim]) -> str:
    """The text of the index that picks what one cell of the window meets at each place of a padded tensor."""
    starts = [at * step for at, step in zip(offset, window.dilations, strict=True)]
    return ranges(c, starts, places, window.strides)
