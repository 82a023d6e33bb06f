"""Convolutions by short algorithms, with fewer products, and their gradients.

Two neighbouring places of a window of r cells, along one axis, are sums of r + 1 products instead of 2 r: S. Winograd,
"Arithmetic Complexity of Computations" (1980), F(2, r); along two axes these are 9 of 16 for two cells and 16 of 36 for
three. A window of r * s cells that moves by s is one of r cells that moves by 1, over cells of s x s numbers each.

What a window of r cells meets at two places is a tile. Its components are sums and differences of its cells; each is
multiplied by a component of the kernels, as matrices of all tiles and channels; sums and differences of the products
are the two places. All of this is linear in x, in the kernels and in the result, so that its transposes are the
gradients. ``compiler/passes/short_convolutions.py`` puts these operations in their places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.ir.dims import Dim, product
from compiler.ir.types import TensorType, TypeMismatch
from compiler.ops.base import Array, NumpyLowering, Sample, Sizes, operation, without
from compiler.ops.conv import F32, SIZES, Conv, Convolution, ConvTranspose, ConvWeight, N
from compiler.ops.parts import Cut, Joined
from compiler.ops.short_conv_numpy import (
    INPUTS,
    OUTPUTS,
    lower_short_conv,
    lower_short_conv_transpose,
    lower_short_conv_weight,
)
from compiler.ops.window import pad_array


@dataclass(frozen=True)
class ShortConvolution(Convolution):
    """What the three have in common: ``kernel`` has the cells of the window, and all spatial sizes are numbers."""

    kernel: tuple[int, ...]

    gradient = without("a short convolution is made after the gradients: ask for those of the graph before")
    onnx = without("short convolutions are for training: what is exported has the plain ones")

    @property
    def stride(self) -> int:
        return self.strides[0]

    @property
    def taps(self) -> int:
        """The cells of the window along an axis, each of as many numbers as it moves by."""
        return self.kernel[0] // self.stride

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.samples()

    def gives_channels_last(self, inputs: tuple[TensorType, ...], last: tuple[bool, ...]) -> bool:
        return True

    def check_components(self, components: TensorType, rank: int) -> None:
        """TypeMismatch where they can't be those of kernels."""
        wanted = (self.taps + 1) ** 2
        if components.rank != rank or components.shape[0] != wanted:
            raise TypeMismatch("E0301", f"cannot convolve by {components}", f"it takes {wanted} components")

    def products(self, tiles: Array, components: Array) -> Array:
        """Tiles [N, rows, columns, terms, cells, cells], by components of kernels [components, terms, outputs], as
        [N, outputs, rows, columns] of the places."""
        (inputs, outputs), count = self.matrices, self.taps + 1
        parts = np.einsum("ntukab,ia,jb->ijntuk", tiles, inputs, inputs)
        made = np.einsum("ijntuk,ijko->ijntuo", parts, components.reshape(count, count, *components.shape[1:]))
        pairs = np.einsum("ijntuo,pi,qj->notpuq", made, outputs, outputs)
        return np.asarray(pairs.reshape(*pairs.shape[:2], 2 * pairs.shape[2], 2 * pairs.shape[4]))

    def tiles(self, cells: Array) -> Array:
        """Cells [N, terms, rows, columns], with as many zeros behind them as a whole tile lacks, as tiles."""
        more = [(0, (size - self.taps + 1) % 2) for size in cells.shape[2:]]
        whole = np.pad(cells, [(0, 0), (0, 0), *more]).transpose(0, 2, 3, 1)
        return np.lib.stride_tricks.sliding_window_view(whole, (self.taps + 1,) * 2, (1, 2))[:, ::2, ::2]

    def cells(self, x: Array) -> Array:
        """x [N, C, H, W], with its padding, as cells [N, terms, rows, columns]."""
        window = self.window(self.kernel)
        rows, columns = (_number(place) + self.taps - 1 for place in window.places(x.shape[2:]))
        padded = pad_array(x.astype(np.float64), window, {})[:, :, : rows * self.stride, : columns * self.stride]
        apart = padded.reshape(*x.shape[:2], rows, self.stride, columns, self.stride)
        return np.asarray(apart.transpose(0, 3, 5, 1, 2, 4).reshape(len(x), -1, rows, columns))

    @property
    def matrices(self) -> tuple[Array, Array]:
        """What each component is of the cells, and each place of the components."""
        inputs, outputs = np.zeros((self.taps + 1,) * 2), np.zeros((2, self.taps + 1))
        for matrix, table in ((inputs, INPUTS[self.taps]), (outputs, OUTPUTS[self.taps])):
            for row, terms in enumerate(table):
                for sign, column in terms:
                    matrix[row, column] = sign
        return inputs, outputs


def _number(dim: Dim) -> int:
    assert isinstance(dim, int)
    return dim


def _pairs(result: Array) -> Array:
    """[N, C, H, W] as [N, rows, 2, columns, 2, C], with zeros where the last pair is half."""
    odd = [(0, size % 2) for size in result.shape[2:]]
    whole = np.pad(result.astype(np.float64), [(0, 0), (0, 0), *odd])
    samples, channels, rows, columns = whole.shape
    return whole.reshape(samples, channels, rows // 2, 2, columns // 2, 2).transpose(0, 2, 3, 4, 5, 1)


def _with_bias(result: Array, operands: Sequence[Array]) -> tuple[Array, ...]:
    for bias in operands[2:]:
        result = result + bias.astype(np.float64).reshape(-1, 1, 1)
    return (result.astype(operands[0].dtype),)


@dataclass(frozen=True)
class _Case:
    """A convolution of ``x`` to ``outputs`` channels, for samples."""

    x: tuple[Dim, ...]
    outputs: int
    reach: int
    stride: int = 1
    before: int = 0
    after: int = 0
    bias: bool = False

    @property
    def inputs(self) -> int:
        return _number(self.x[1])

    def components(self, *sizes: int) -> TensorType:
        return TensorType(F32, ((self.reach // self.stride + 1) ** 2, *sizes))

    @property
    def result(self) -> TensorType:
        weight = TensorType(F32, (self.outputs, self.inputs, self.reach, self.reach))
        return Conv(*self._attributes).infer((TensorType(F32, self.x), weight))[0]

    def sample(
        self, made: Callable[..., ShortConvolution], *operands: TensorType, bias: int = 0, **more: Any
    ) -> Sample:
        """What is ``made`` of the attributes, on ``operands`` and as large a bias, where there is one."""
        operation = made(*self._attributes, (self.reach,) * 2, **more)
        return Sample(operation, (*operands, *[TensorType(F32, (bias,))] * (self.bias and bias > 0)), sizes=SIZES)

    @property
    def _attributes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Dim, ...], tuple[Dim, ...], int]:
        return (self.stride,) * 2, (1, 1), (self.before,) * 2, (self.after,) * 2, 1


_CASES = (
    _Case((N, 2, 7, 8), 3, 3, bias=True),
    _Case((N, 2, 6, 5), 3, 3, before=1, after=1),
    _Case((N, 2, 14, 10), 3, 4, 2, 1, 1, bias=True),
    _Case((N, 3, 9, 8), 2, 4, 2, 0, 2),
    _Case((N, 1, 13, 11), 2, 9, 3, 4, 1),
    _Case((4, 3, 4, 5), 2, 2, before=1, bias=True),
)


@operation
@dataclass(frozen=True)
class ShortConv(ShortConvolution):
    """A convolution: operands x [N, inputs, H, W], components of kernels [components, terms, outputs] and optionally
    bias [outputs]. The terms are the numbers of a cell, by row and column, of each input."""

    opcode = "short_conv"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        x, components, *bias = inputs
        self.check_components(components, 3)
        channels = _number(components.shape[1]) // self.stride**2
        weight = components.with_shape((components.shape[2], channels, *self.kernel))
        return Conv(*self.attributes).infer((x, weight, *bias))

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        return outputs[0].size * _number(inputs[1].shape[1]) * self.taps**2

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        result = self.products(self.tiles(self.cells(operands[0])), operands[1])
        rows, columns = map(_number, self.window(self.kernel).places(operands[0].shape[2:]))
        return _with_bias(result[:, :, :rows, :columns], operands)

    def numpy(self, c: NumpyLowering) -> None:
        lower_short_conv(c, self.window(self.kernel))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def sample(case: _Case) -> Sample:
            components = case.components(case.inputs * case.stride**2, case.outputs)
            return case.sample(cls, TensorType(F32, case.x), components, bias=case.outputs)

        return tuple(map(sample, _CASES))


@operation
@dataclass(frozen=True)
class ShortConvTranspose(ShortConvolution):
    """The gradient of a convolution to its x, which has spatial ``size``: operands gradient [N, outputs, *places],
    components of kernels [components, numbers, outputs, inputs], turned round, and optionally bias [inputs]. For each
    number of a cell it is a convolution of the gradient."""

    size: tuple[Dim, ...]

    opcode = "short_conv_transpose"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        gradient, components, *bias = inputs
        self.check_components(components, 4)
        weight = components.with_shape((*components.shape[2:], *self.kernel))
        return ConvTranspose(*self.attributes, self.size).infer((gradient, weight, *bias))

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        return inputs[0].size * _number(inputs[1].shape[3]) * product(self.kernel)

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        gradient, components = operands[:2]
        size = tuple(map(_number, self.size))
        padded = np.pad(gradient.astype(np.float64), [(0, 0), (0, 0), *[(self.taps - 1, max(size))] * 2])
        result = np.zeros((len(gradient), components.shape[3], *size))
        for number, cell in enumerate(np.ndindex(self.stride, self.stride)):
            # What is cut off before the first place, and where that is.
            skipped = [-((at - _number(before)) // self.stride) for at, before in zip(cell, self.before, strict=True)]
            row, column = (
                at - _number(before) + self.stride * count
                for at, before, count in zip(cell, self.before, skipped, strict=True)
            )
            made = self.products(self.tiles(padded[:, :, skipped[0] :, skipped[1] :]), components[:, number])
            target = result[:, :, row :: self.stride, column :: self.stride]
            target[...] = made[:, :, : target.shape[2], : target.shape[3]]
        return _with_bias(result, operands)

    def numpy(self, c: NumpyLowering) -> None:
        lower_short_conv_transpose(c, self.window(self.kernel))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        def sample(case: _Case) -> Sample:
            components = case.components(case.stride**2, case.outputs, case.inputs)
            return case.sample(cls, case.result, components, bias=case.inputs, size=case.x[2:])

        return tuple(map(sample, _CASES))


@operation
@dataclass(frozen=True)
class ShortConvWeight(ShortConvolution):
    """The gradient of a convolution to the components of its kernels [components, outputs, terms]: operands x
    [N, inputs, H, W] and gradient [N, outputs, *places]."""

    opcode = "short_conv_weight"

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        (weight,) = ConvWeight(*self.attributes, self.kernel).infer(inputs)
        outputs, channels = map(_number, weight.shape[:2])
        return (weight.with_shape(((self.taps + 1) ** 2, outputs, channels * self.stride**2)),)

    def macs(self, inputs: tuple[TensorType, ...], outputs: tuple[TensorType, ...]) -> Dim:
        return inputs[1].size * _number(outputs[0].shape[2]) * self.taps**2

    def in_parts(self, cut: Cut) -> tuple[Joined, ...] | None:
        return cut.by_carrier()

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        inputs, outputs = self.matrices
        left = np.einsum("ntpuqo,pi,qj->ijntuo", _pairs(operands[1]), outputs, outputs)
        right = np.einsum("ntukab,ia,jb->ijntuk", self.tiles(self.cells(operands[0])), inputs, inputs)
        result = np.einsum("ijntuo,ijntuk->ijok", left, right)
        return (result.reshape(-1, *result.shape[2:]).astype(operands[0].dtype),)

    def numpy(self, c: NumpyLowering) -> None:
        lower_short_conv_weight(c, self.window(self.kernel))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return tuple(case.sample(cls, TensorType(F32, case.x), case.result) for case in _CASES)
