"""Values made of positions alone: whole numbers in order, and sines and cosines of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.dims import Dim, bounds, evaluate, symbol
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.base import (
    Array,
    Gradients,
    NumpyLowering,
    OnnxLowering,
    Op,
    Sample,
    Sizes,
    Storage,
    Values,
    operation,
)
from compiler.ops.checks import need_floats, need_numbers

if TYPE_CHECKING:
    from compiler.ops.emit import Emit

T = symbol("T")
SIZES = {"T": 5}
# Up to this many elements a table is written into a file, rather than how to compute it.
LARGEST_TABLE = 2**18


@operation
@dataclass(frozen=True)
class Arange(Op):
    """The numbers 0, 1, … up to, not including, ``length``."""

    length: Dim
    dtype: DType = DType.I64

    opcode = "arange"
    storage = Storage.CONSTANT

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        type = TensorType(self.dtype, (self.length,))
        need_numbers("count", type)
        return (type,)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return ()

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.arange(evaluate(self.length, sizes)).astype(self.dtype.numpy),)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"{c.outputs[0]} = np.arange({c.dim(self.length)}).astype({c.scalar(0, self.dtype)}.dtype)")

    def onnx(self, c: OnnxLowering) -> None:
        if isinstance(self.length, int):
            c.alias(c.constant(np.arange(self.length).astype(self.dtype.numpy)))
        elif self.dtype is DType.I64:
            _range(c, self.length, c.outputs)
        else:
            c.node("Cast", (_range(c, self.length),), c.outputs, to=self.dtype)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return (
            Sample(cls(T), sizes=SIZES),
            Sample(cls(2 * T - 1, DType.F32), sizes=SIZES),
            Sample(cls(7, DType.I32)),
        )


def _range(c: OnnxLowering, length: Dim, outputs: Sequence[str] | None = None) -> str:
    """The name of the i64 numbers below ``length``."""
    zero, one = c.scalar(0, DType.I64), c.scalar(1, DType.I64)
    stop = c.node("Reshape", (c.shape((length,)), c.constant(np.array([], np.int64))))
    return c.node("Range", (zero, stop, one), outputs)


ANGLES = '''
def angles(length, pairs, base):
    """The angles `position / base**(pair/pairs)` for each position and pair."""
    return np.arange(length)[:, None] * base ** (-np.arange(pairs) / pairs)
'''


@operation
@dataclass(frozen=True)
class Sinusoids(Op):
    """The sine or the cosine of ``position / base**(pair/pairs)`` for ``length`` positions: [length, pairs].

    With ``part="both"`` the two follow one another for each pair: [length, 2*pairs]. The formula is that of A. Vaswani
    et al., "Attention is all you need" (2017), section 3.5, https://arxiv.org/abs/1706.03762.
    """

    length: Dim
    pairs: int
    base: float = 10000.0
    part: str = "both"
    dtype: DType = DType.F32

    opcode = "sinusoids"
    storage = Storage.CONSTANT

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        if self.part not in ("sin", "cos", "both") or self.pairs < 1 or self.base <= 0:
            raise TypeMismatch("E0301", f"there is no table of {self}")
        type = TensorType(self.dtype, (self.length, self._width))
        need_floats("make sinusoids of", type)
        return (type,)

    @property
    def _width(self) -> int:
        return 2 * self.pairs if self.part == "both" else self.pairs

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return ()

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (self._table(evaluate(self.length, sizes)),)

    def _table(self, length: int) -> Array:
        table = np.empty((length, self.pairs, 2))
        for position in range(length):
            angles = position / self.base ** (np.arange(self.pairs) / self.pairs)
            table[position, :, 0], table[position, :, 1] = np.sin(angles), np.cos(angles)
        if self.part == "both":
            return table.reshape(length, -1).astype(self.dtype.numpy)
        return table[:, :, 0 if self.part == "sin" else 1].astype(self.dtype.numpy)

    def numpy(self, c: NumpyLowering) -> None:
        angles = f"{c.helper('angles', ANGLES)}({c.dim(self.length)}, {self.pairs}, {float(self.base)!r})"
        table = f"np.{self.part}({angles})"
        if self.part == "both":
            table = f"np.stack([np.sin({angles}), np.cos({angles})], axis=-1).reshape({c.dim(self.length)}, -1)"
        c.line(f"{c.outputs[0]} = {table}.astype({c.scalar(0, self.dtype)}.dtype)")

    def onnx(self, c: OnnxLowering) -> None:
        if isinstance(self.length, int):
            c.alias(c.constant(self._table(self.length), self.opcode))
            return
        longest = bounds(self.length)[1]
        if longest * self._width > LARGEST_TABLE:
            self._onnx_computed(c)
            return
        table = c.constant(self._table(int(longest)), self.opcode)
        first, axis = (c.constant(np.array([0], np.int64)) for _ in range(2))
        c.node("Slice", (table, first, c.shape((self.length,)), axis), c.outputs)

    def _onnx_computed(self, c: OnnxLowering) -> None:
        """In f64 up to the remainder by a whole turn: in f32 the angles of late positions would be off by too much."""
        f64, last = DType.F64, c.constant(np.array([-1], np.int64))
        positions = c.node("Unsqueeze", (c.node("Cast", (_range(c, self.length),), to=f64), last))
        speeds = c.constant(self.base ** (-np.arange(self.pairs) / self.pairs), "speeds")
        turned = c.node("Mod", (c.node("Mul", (positions, speeds)), c.scalar(2 * pi, f64)), fmod=1)
        angles = turned if self.dtype is f64 else c.node("Cast", (turned,), to=self.dtype)
        if self.part != "both":
            c.node(self.part.capitalize(), (angles,), c.outputs)
            return
        both = [c.node("Unsqueeze", (c.node(kind, (angles,)), last)) for kind in ("Sin", "Cos")]
        joined = c.node("Concat", both, axis=-1)
        c.node("Reshape", (joined, c.constant(np.array([0, self._width]))), c.outputs)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return (
            Sample(cls(T, 3), sizes=SIZES),
            Sample(cls(T, 2, 100.0, "sin"), sizes=SIZES),
            Sample(cls(2 * T, 4, part="cos"), sizes={"T": 3000}),
            Sample(cls(6, 2, part="sin")),
        )
