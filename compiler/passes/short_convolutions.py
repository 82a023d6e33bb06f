"""Convolutions of many channels, in a training step, by short algorithms: fewer products of the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.ir.dims import product
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import TensorType
from compiler.ops.base import Array
from compiler.ops.conv import F32, Conv, Convolution, ConvTranspose, ConvWeight
from compiler.ops.conv_phases_numpy import phases_of
from compiler.ops.emit import Emit
from compiler.ops.short_conv import ShortConv, ShortConvTranspose, ShortConvWeight
from compiler.passes.base import Pass
from compiler.passes.copying import Copy

# For a window of so many cells, what each component is of the kernels.
_KERNELS = {
    2: np.array([[1, 0], [1, 1], [0, 1]]),
    3: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
}
# Sums and differences take longer than the products that they save where a row has fewer places than this, and where
# the share of the products that is saved, times the channels on the side that has fewer, is less than that. Measured:
# 32 channels and 14x14 places with padding take 0.93 of the time, 32 and 11x11 without 1.01, 64 about 0.7.
_FEW_PLACES, _LEAST_SAVED = 4, 17


@dataclass(frozen=True)
class ShortConvolutions(Pass):
    """Has convolutions and their gradients done by short algorithms where this pays. What that needs of the kernels is
    worked out once for all that read them: common subexpressions are joined then."""

    name = "short-convolutions"

    def apply(self, graph: Graph) -> Graph:
        copy, changed = Copy(graph), False
        for node in graph.nodes:
            if _is_short(node):
                changed = True
                with copy.b.at(node.origin.through(self.name)):
                    copy.replace(node, (_shortened(copy.b, node, copy.operands(node)),))
            else:
                copy.node(node)
        return copy.finish() if changed else graph


def _is_short(node: Node) -> bool:
    """Whether the node is a convolution that a short algorithm is better for."""
    operation, operands = node.operation, [value.type for value in node.inputs]
    match operation:
        case Conv():
            x, weight = operands[:2]
        case ConvTranspose():
            x, weight = node.output.type, operands[1]
        case ConvWeight():
            x, weight = operands[0], node.output.type
        case _:
            return False
    return _has_form(operation, x, weight) and _pays(operation, x, weight)


def _has_form(operation: Convolution, x: TensorType, weight: TensorType) -> bool:
    """Whether there is a short algorithm: for windows of cells along two axes alike, of known sizes."""
    kernel, stride = _numbers(weight)[2:], operation.strides[0]
    if len(kernel) != 2 or operation.groups > 1 or set(operation.dilations) != {1} or x.dtype is not F32:
        return False
    alike = set(operation.strides) == {stride} and set(kernel) == {kernel[0]} and kernel[0] % stride == 0
    fixed = all(isinstance(size, int) for size in (*x.shape[1:], *operation.before, *operation.after))
    return alike and fixed and kernel[0] // stride in _KERNELS


def _pays(operation: Convolution, x: TensorType, weight: TensorType) -> bool:
    outputs, inputs, *kernel = _numbers(weight)
    places = [place for place in operation.window(kernel).places(x.shape[2:]) if isinstance(place, int)]
    if len(places) < len(kernel) or min(places) < _FEW_PLACES:
        return False
    left = 1.0
    for axis, (count, reach) in enumerate(zip(places, kernel, strict=True)):
        stride, before, size = operation.strides[axis], operation.before[axis], x.shape[axis + 2]
        each = [count] * stride
        if isinstance(operation, ConvTranspose) and isinstance(before, int) and isinstance(size, int):
            each = [phase.count for phase in phases_of(reach, stride, before, size)]
        left *= sum(_components_of(number, reach // stride) for number in each) / (count * reach)
    return (1 - left) * min(outputs, inputs) >= _LEAST_SAVED


def _components_of(places: int, taps: int) -> int:
    """How many components so many places along an axis have: the last tile lacks one where only half of it is there."""
    return (places + 1) // 2 * taps + places // 2


def _shortened(b: Emit, node: Node, operands: tuple[Value, ...]) -> Value:
    operation = node.operation
    assert isinstance(operation, Convolution)
    if isinstance(operation, ConvWeight):
        kernel = operation.kernel
        components = b.add(ShortConvWeight(*operation.attributes, kernel), *operands)
        return _kernels_gradient(b, components, node.output.type, operation.strides[0])
    weight = operands[1]
    kernel, stride = tuple(_numbers(weight.type)[2:]), operation.strides[0]
    if isinstance(operation, ConvTranspose):
        components = _turned_components(b, weight, stride)
        return b.add(
            ShortConvTranspose(*operation.attributes, kernel, operation.size), operands[0], components, *operands[2:]
        )
    return b.add(ShortConv(*operation.attributes, kernel), operands[0], _components(b, weight, stride), *operands[2:])


def _components(b: Emit, weight: Value, stride: int) -> Value:
    """The components of kernels [outputs, inputs, *kernel], [components, terms, outputs]: terms are the numbers of a
    cell, by row and column, of each input."""
    outputs, inputs, reach, _ = _numbers(weight.type)
    taps, terms = reach // stride, stride * stride * inputs
    apart = b.transpose(_apart(b, weight, stride), (2, 4, 3, 5, 1, 0))
    parts = b.matmul(b.constant(_pairs(taps)), b.reshape(apart, (taps * taps, terms * outputs)))
    return b.reshape(parts, ((taps + 1) ** 2, terms, outputs))


def _turned_components(b: Emit, weight: Value, stride: int) -> Value:
    """Those of the kernels turned round, [components, numbers of a cell, outputs, inputs]."""
    outputs, inputs, reach, _ = _numbers(weight.type)
    taps, numbers = reach // stride, stride * stride
    apart = b.transpose(_apart(b, weight, stride), (2, 4, 3, 5, 0, 1))
    matrix = np.ascontiguousarray(_pairs(taps)[:, ::-1])
    parts = b.matmul(b.constant(matrix), b.reshape(apart, (taps * taps, numbers * outputs * inputs)))
    return b.reshape(parts, ((taps + 1) ** 2, numbers, outputs, inputs))


def _apart(b: Emit, weight: Value, stride: int) -> Value:
    """Kernels with the cells and their numbers apart, along each axis."""
    outputs, inputs, reach, _ = _numbers(weight.type)
    return b.reshape(weight, (outputs, inputs, reach // stride, stride, reach // stride, stride))


def _kernels_gradient(b: Emit, components: Value, weight: TensorType, stride: int) -> Value:
    """The gradient of kernels of the type ``weight`` by that of their components [components, outputs, terms]: what
    makes those of them, transposed."""
    outputs, inputs, reach, _ = _numbers(weight)
    taps, matrix = reach // stride, _pairs(reach // stride)
    flat = b.reshape(components, (len(matrix), product(components.type.shape[1:])))
    parts = b.matmul(b.constant(np.ascontiguousarray(matrix.T)), flat)
    apart = b.reshape(parts, (taps, taps, outputs, stride, stride, inputs))
    return b.reshape(b.transpose(apart, (2, 5, 0, 3, 1, 4)), weight.shape)


def _pairs(taps: int) -> Array:
    """What each component along both axes is of the cells along both."""
    return np.kron(_KERNELS[taps], _KERNELS[taps]).astype(np.float32)


def _numbers(weight: TensorType) -> list[int]:
    return [dim for dim in weight.shape if isinstance(dim, int)]
