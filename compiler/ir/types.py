"""Element types and tensor types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache, lru_cache
from typing import Any

import numpy as np

from compiler.ir.dims import Dim, Symbol, product, substitute, symbols


class DType(Enum):
    """The element types of the language, by the names it gives them."""

    BOOL = "bool"
    U8 = "u8"
    U32 = "u32"
    I8 = "i8"
    I32 = "i32"
    I64 = "i64"
    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    F64 = "f64"

    # Each member is one object; an enumeration's own way hashes its name anew, which is felt where types are keys.
    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"DType.{self.name}"

    @property
    def is_float(self) -> bool:
        return self in (DType.F16, DType.BF16, DType.F32, DType.F64)

    @property
    def is_integer(self) -> bool:
        return self in (DType.U8, DType.U32, DType.I8, DType.I32, DType.I64)

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy element type; bf16 comes from ml_dtypes, which onnx brings along."""
        if self is DType.BF16:
            import ml_dtypes

            brain: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
            return brain
        return np.dtype(_NUMPY_NAMES[self])

    @property
    def bytes(self) -> int:
        """The size of one element in bytes."""
        return _BYTES[self]

    @staticmethod
    def of(dtype: np.dtype[Any]) -> DType | None:
        """The type whose NumPy counterpart is ``dtype``, or None where the language has none."""
        return _of(dtype)


_NUMPY_NAMES = {
    DType.BOOL: "bool", DType.U8: "uint8", DType.U32: "uint32", DType.I8: "int8", DType.I32: "int32",
    DType.I64: "int64", DType.F16: "float16", DType.F32: "float32", DType.F64: "float64",
}  # fmt: skip
_FROM_NUMPY = {name: dtype for dtype, name in _NUMPY_NAMES.items()} | {"bfloat16": DType.BF16}
_BYTES = {
    DType.BOOL: 1, DType.U8: 1, DType.U32: 4, DType.I8: 1, DType.I32: 4, DType.I64: 8,
    DType.F16: 2, DType.BF16: 2, DType.F32: 4, DType.F64: 8,
}  # fmt: skip


@cache
def _of(dtype: np.dtype[Any]) -> DType | None:
    # NumPy puts the name together anew each time.
    return _FROM_NUMPY.get(dtype.name)


@dataclass(frozen=True, slots=True)
class TensorType:
    """An element type and a shape; ``shape`` is empty for a scalar."""

    dtype: DType
    shape: tuple[Dim, ...] = ()

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(str(dim) for dim in self.shape)}]"

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return _size(self.shape)

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """Every symbol in the shape, in order of name."""
        if all(isinstance(dim, int) for dim in self.shape):
            return ()
        found = {s.name: s for dim in self.shape for s in symbols(dim)}
        return tuple(found[name] for name in sorted(found))

    def with_shape(self, shape: Iterable[Dim]) -> TensorType:
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def substitute(self, replacements: Mapping[str, Dim]) -> TensorType:
        """The type with each named symbol replaced."""
        return self.with_shape(substitute(dim, replacements) for dim in self.shape)


@lru_cache(maxsize=4096)
def _size(shape: tuple[Dim, ...]) -> Dim:
    return product(shape)


class TypeMismatch(Exception):
    """Operands that an operation can't take; the front end turns it into a diagnostic.

    ``code`` is a diagnostic code, ``title`` the whole sentence, ``detail`` what stands under the marked
    operation, ``help`` what to do. What each operand is, and where it was made, the front end adds.
    """

    def __init__(self, code: str, title: str, detail: str = "", help: tuple[str, ...] = ()) -> None:
        super().__init__(title)
        self.code, self.title, self.detail, self.help = code, title, detail, help
