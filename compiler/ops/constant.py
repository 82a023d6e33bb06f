"""Values without operands: constants, and the sizes of symbolic dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.ir.dims import Dim, evaluate, symbol
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
    f32,
    operation,
)

if TYPE_CHECKING:
    from compiler.ops.emit import Emit


@operation
@dataclass(frozen=True, eq=False)
class Constant(Op):
    """An array known when the program is compiled. Constants of the same content are equal, NaNs included."""

    array: Array

    opcode = "constant"
    storage = Storage.CONSTANT

    def __post_init__(self) -> None:
        if DType.of(self.array.dtype) is None:
            raise ValueError(f"a constant cannot hold elements of type {self.array.dtype}")
        owned = np.array(self.array, order="C")
        owned.flags.writeable = False
        object.__setattr__(self, "array", owned)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Constant) and self._hash == other._hash and self._content() == other._content()

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self._content())

    def _content(self) -> tuple[np.dtype[Any], tuple[int, ...], bytes]:
        return self.array.dtype, self.array.shape, self.array.tobytes()

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        dtype = DType.of(self.array.dtype)
        assert dtype is not None, "checked when the constant was made"
        return (TensorType(dtype, self.array.shape),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return ()

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (self.array,)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"{c.outputs[0]} = {c.constant(self.array)}")

    def onnx(self, c: OnnxLowering) -> None:
        c.alias(c.constant(self.array))

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        return (
            Sample(cls(f32([[1.5, -2], [np.inf, 0]]))),
            Sample(cls(np.array(3.0, np.float32))),
            Sample(cls(np.arange(40))),
            Sample(cls(np.array([True, False]))),
            Sample(cls(np.zeros((0, 2), np.uint8))),
        )


@operation
@dataclass(frozen=True)
class Size(Op):
    """The size of a dimension as a scalar of ``dtype``, known when the program runs."""

    dim: Dim
    dtype: DType = DType.I64

    opcode = "size"
    storage = Storage.CONSTANT

    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        if self.dtype is DType.BOOL:
            raise TypeMismatch("E0303", f"cannot give the size {self.dim} as bool", help=("ask for a number type",))
        return (TensorType(self.dtype),)

    def gradient(self, b: Emit, inputs: Values, outputs: Values, gradients: Values) -> Gradients:
        return ()

    def reference(self, sizes: Sizes, *operands: Array) -> tuple[Array, ...]:
        return (np.array(evaluate(self.dim, sizes)).astype(self.dtype.numpy),)

    def numpy(self, c: NumpyLowering) -> None:
        c.line(f"{c.outputs[0]} = np.full((), {c.dim(self.dim)}, {c.scalar(0, self.dtype)}.dtype)")

    def onnx(self, c: OnnxLowering) -> None:
        scalar = ("Reshape", (c.shape((self.dim,)), c.constant(np.array([], np.int64))))
        if self.dtype is DType.I64:
            c.node(*scalar, c.outputs)
        else:
            c.node("Cast", (c.node(*scalar),), c.outputs, to=self.dtype)

    @classmethod
    def samples(cls) -> Sequence[Sample]:
        n, t = symbol("N"), symbol("T")
        sizes = {"N": 4, "T": 7}
        return (
            Sample(cls(n), sizes=sizes),
            Sample(cls(n * t - 1, DType.F32), sizes=sizes),
            Sample(cls(n * 3 + t // 2), sizes=sizes),
            Sample(cls(12, DType.F32)),
        )
