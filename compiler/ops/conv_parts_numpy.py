"""What the several ways have in common in which convolutions become NumPy statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from compiler.ir.dims import Dim, product
from compiler.ir.types import TensorType
from compiler.ops.base import NumpyLowering
from compiler.ops.samples import Samples, windows
from compiler.ops.window import Window, ranges

# Products that add up fewer terms than this are slow, so that a whole window is put side by side rather than its rows.
FEW_TERMS = 32


@dataclass(frozen=True)
class Kernels:
    """The kernels of a convolution as an array [outputs, inputs / groups, *kernel], in row-major order or not."""

    array: str
    shape: tuple[int, ...]
    row_major: bool
    groups: int

    @property
    def outputs(self) -> int:
        return self.shape[0]

    @property
    def inputs(self) -> int:
        """The channels that each output sees."""
        return self.shape[1]

    @property
    def lead(self) -> tuple[int, ...]:
        """The axis of groups that products have, where there are several."""
        return (self.groups,) if self.groups > 1 else ()

    @property
    def outputs_each(self) -> int:
        """The outputs of each group."""
        return self.outputs // self.groups

    @property
    def terms(self) -> int:
        """How many products each output is the sum of."""
        return prod(self.shape[1:])

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel has a kernel or two of its own, for which products are too small."""
        return self.inputs == 1 and self.outputs_each <= 2 and self.groups > 1

    def slides(self, window: Window) -> bool:
        """Whether a product for each row of the window is better than one for all of it."""
        first, *inner = window.kernel
        return first > 1 and window.strides[0] == 1 and self.inputs * prod(inner) >= FEW_TERMS


def fixed_shape(type: TensorType) -> tuple[int, ...]:
    """The shape of kernels: numbers."""
    return tuple(dim for dim in type.shape if isinstance(dim, int))


def shaped(c: NumpyLowering, array: str, *sizes: Dim) -> str:
    """An expression for a view of a contiguous array in another shape."""
    return c.view(array, f"reshape({c.shape(sizes)})")


def add_bias(c: NumpyLowering, window: Window, loop: Samples) -> None:
    """Add operand 2, where it is there, to the samples of the turn."""
    if len(c.inputs) == 3:
        bias = shaped(c, c.inputs[2], -1, *[1] * window.rank)
        loop.line(f"np.add({loop.of(c.outputs[0])}, {bias}, out={loop.of(c.outputs[0])})")


class Rows:
    """The cells of a window's inner axes, side by side for each place on them and every cell of the first axis:
    [channels, 1, *inner, count, *places]. What the next row of the window meets is the same, shifted by ``width``."""

    def __init__(self, type: TensorType, window: Window, places: Sequence[Dim]) -> None:
        self.window, self.places = window, tuple(places)
        self.cells = prod(window.kernel[1:])
        self.count: Dim = window.around(type.shape[2:])[0]
        self.width = product(places[1:])
        self.shape = (type.shape[1], 1, *window.kernel[1:], self.count, *places[1:])
        # Whether x itself, with its padding, is this already.
        self.shifted = self.cells == 1 and set(window.strides[1:]) <= {1}

    @property
    def copied(self) -> Dim:
        """The elements for one sample, where they are copied."""
        return 0 if self.shifted else product(self.shape)

    def seen(self, c: NumpyLowering, array: str) -> str:
        """The view of x, with its padding, of which it is a copy."""
        window = self.window
        kernel, strides, steps = ((1, *part[1:]) for part in (window.kernel, window.strides, window.dilations))
        return windows(c, array, kernel, (self.count, *self.places[1:]), strides, steps)

    def index(self, c: NumpyLowering, row: int) -> str:
        """The text of the index over [channels * cells, count * width] of what a row of the window meets."""
        start = row * self.window.dilations[0] * self.width
        return ranges(c, (start,), (product(self.places),), (1,))


def row_kernels(c: NumpyLowering, type: TensorType, window: Window, kernels: Kernels) -> str:
    """The kernels [rows, groups, outputs of each, inputs * cells of the row]."""
    rows, *inner = window.kernel
    array = c.scratch(TensorType(type.dtype, (rows, *kernels.shape[:2], *inner)))
    order = (2, 0, 1, *range(3, 2 + window.rank))
    c.line(f"np.copyto({array}, {kernels.array}.transpose({order}))")
    return shaped(c, array, rows, *kernels.lead, kernels.outputs_each, kernels.inputs * prod(inner))


def cell_kernels(c: NumpyLowering, kernels: Kernels, window: Window) -> str:
    """The kernels of single channels [cells, channels, outputs of each, 1, …], for products with [channels, …]."""
    each = (kernels.outputs_each,) if kernels.outputs_each > 1 else ()
    moved = c.scratch(TensorType(c.input_types[0].dtype, (window.cells, kernels.groups, *each)))
    apart = f"{kernels.array}.reshape({c.shape((kernels.groups, *each, window.cells))})"
    c.line(f"np.copyto({moved}, np.moveaxis({apart}, -1, 0))")
    return shaped(c, moved, window.cells, kernels.groups, *each, *[1] * window.rank)
