"""Normalisation of groups of channels, each with all its places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.ir.dims import Dim, product, symbol
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.base import OnnxLowering, Sample, operation
from compiler.ops.row_norm import RowNorm

N = symbol("N")
SIZES = {"N": 3, "W": 4}


@operation
@dataclass(frozen=True)
class GroupNorm(RowNorm):
    """Mean 0 and variance 1 over each of ``groups`` groups of channels of ``[N, C, …]``, sample by sample; scale and
    bias are [C]. With as many groups as channels it is instance normalisation.

    Y. Wu and K. He, "Group normalization" (2018), https://arxiv.org/abs/1803.08494.
    """

    groups: int
    epsilon: float = 1e-5

    opcode = "group_norm"
    verb = "take the group norm of"

    def rows(self, x: TensorType) -> tuple[Dim, Dim]:
        action = f"cannot {self.verb} {x}"
        if x.rank < 2:
            raise TypeMismatch("E0301", f"{action}: it has no channels", "the channels are axis 1")
        channels = x.shape[1]
        if not isinstance(channels, int) or channels % self.groups or channels == 0:
            raise TypeMismatch("E0301", action, f"{channels} channels can't be divided into {self.groups} groups")
        return x.shape[0] * self.groups, channels // self.groups * product(x.shape[2:])

    def parameters(self, x: TensorType) -> tuple[Dim, ...]:
        return x.shape[1:2]

    def grid(self, x: TensorType) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
        return (*x.shape[:2], product(x.shape[2:])), (x.shape[1], 1)

    def onnx_whole(self, c: OnnxLowering) -> None:
        x = c.input_types[0]
        channels = x.shape[1]
        assert isinstance(channels, int), "checked when types were inferred"
        neutral = [c.constant(np.full(self.groups, value, x.dtype.numpy)) for value in (1, 0)]
        if self.groups == channels and x.rank > 2:
            given = [*c.inputs[1:], *neutral[len(c.inputs) - 1 :]]
            c.node("InstanceNormalization", (c.inputs[0], *given), c.outputs, epsilon=self.epsilon)
            return
        # ONNX Runtime runs GroupNormalization as a dozen nodes, but this as one.
        grouped = c.node("Reshape", (c.inputs[0], c.constant(np.array([0, self.groups, -1]))))
        result = c.node("InstanceNormalization", (grouped, *neutral), epsilon=self.epsilon)
        last = c.outputs if len(c.inputs) == 1 else None
        result = c.node("Reshape", (result, c.shape(x.shape)), last)
        places = c.constant(np.arange(1, x.rank - 1))
        for index, kind in zip(range(1, len(c.inputs)), ("Mul", "Add"), strict=False):
            column = c.node("Unsqueeze", (c.inputs[index], places)) if x.rank > 2 else c.inputs[index]
            result = c.node(kind, (result, column), c.outputs if index == len(c.inputs) - 1 else None)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        images, signals = TensorType(DType.F32, (N, 4, 3, symbol("W"))), TensorType(DType.F32, (N, 6, 5))
        four, six = TensorType(DType.F32, (4,)), TensorType(DType.F32, (6,))
        return (
            Sample(cls(2), (images, four, four), sizes=SIZES),
            Sample(cls(4), (images, four, four), sizes=SIZES),
            Sample(cls(4), (images,), sizes=SIZES),
            Sample(cls(1, 0.125), (signals, six, six), sizes=SIZES),
            Sample(cls(3), (signals, six), sizes=SIZES),
            Sample(cls(6), (signals, six), sizes=SIZES),
            Sample(cls(3), (TensorType(DType.F32, (N, 6)), six, six), sizes=SIZES),
        )
