from __future__ import annotations

import numpy as np
import pytest

from compiler.ir.dims import symbol
from compiler.ir.types import DType, TensorType

N, T = symbol("N"), symbol("T", 64)


@pytest.mark.parametrize("dtype", DType)
def test_numpy_counterpart(dtype: DType) -> None:
    assert DType.of(dtype.numpy) is dtype
    assert dtype.numpy.itemsize == dtype.bytes
    assert dtype.is_integer == np.issubdtype(dtype.numpy, np.integer)
    # NumPy does not count bf16 among its own floating types.
    assert dtype.is_float == (np.issubdtype(dtype.numpy, np.floating) or dtype is DType.BF16)


@pytest.mark.parametrize("name", ["complex64", "int16", "uint64", "str", "datetime64[s]"])
def test_types_that_the_language_lacks(name: str) -> None:
    assert DType.of(np.dtype(name)) is None


def test_text() -> None:
    assert str(TensorType(DType.F32)) == "f32[]"
    assert str(TensorType(DType.U8, (N, 3, (T + 1) // 2))) == "u8[N, 3, (T + 1)//2]"
    assert repr(DType.BF16) == "DType.BF16"


def test_shape() -> None:
    type = TensorType(DType.F32, (N, 8, T))
    assert type.rank == 3
    assert type.size == 8 * N * T
    assert TensorType(DType.F32).size == 1
    assert [str(s) for s in type.symbols] == ["N", "T"]
    assert type.with_shape([N]) == TensorType(DType.F32, (N,))
    assert type.with_dtype(DType.I64) == TensorType(DType.I64, (N, 8, T))
    assert type.substitute({"N": 2, "T": N}) == TensorType(DType.F32, (2, 8, N))


def test_equal_types_are_interchangeable() -> None:
    a = TensorType(DType.F32, ((2 * N + 2) // 2,))
    b = TensorType(DType.F32, (N + 1,))
    assert a == b
    assert hash(a) == hash(b)
    assert TensorType(DType.F32, (T,)) != TensorType(DType.F32, (symbol("T"),))
