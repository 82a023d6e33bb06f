"""Operands and graphs made of an operation's samples."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from compiler.ir.dims import as_symbol, evaluate, symbol
from compiler.ir.graph import Value
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, Op
from compiler.ops.base import Array, Sample
from compiler.ops.chain import Step


class Cases:
    """What tests make of samples."""

    @staticmethod
    def operands(sample: Sample, seed: int = 0) -> tuple[Array, ...]:
        """The sample's own values, or random ones."""
        if sample.values is not None:
            return sample.values
        random = np.random.default_rng(seed)
        return tuple(_draw(random, type, sample) for type in sample.operands)

    @staticmethod
    def inputs(b: Emit, sample: Sample) -> tuple[Value, ...]:
        """An input ``x0``, ``x1``… for each operand, and one for each symbol that no operand has for its size."""
        values = tuple(b.input(f"x{index}", type) for index, type in enumerate(sample.operands))
        bound = {s.name for type in sample.operands for dim in type.shape if (s := as_symbol(dim))}
        for name in sorted((sample.sizes or {}).keys() - bound):
            b.input(f"size {name}", TensorType(DType.U8, (symbol(name),)))
        return values

    @staticmethod
    def cotangents(b: Emit, results: tuple[Value, ...]) -> tuple[Value, ...]:
        """An input ``cotangent 0``, ``cotangent 1``… for each result of floats; zeros for the others, and for those
        that are there for the gradient alone."""
        made: list[Value] = []
        node = b.producer(results[0])
        assert node is not None
        for result in results:
            if result.type.dtype.is_float and result in Cases.flowing(node.operation, results):
                number = sum(value.name.startswith("cotangent") for value in made)
                made.append(b.input(f"cotangent {number}", result.type))
            else:
                made.append(b.expand(b.scalar(0, result.type.dtype), result.type.shape))
        return tuple(made)

    @staticmethod
    def flowing(operation: Any, results: tuple[Any, ...]) -> tuple[Any, ...]:
        """The results through which a gradient comes back to ``operation``."""
        return results[: len(results) - operation.auxiliary]

    @staticmethod
    def arrays(sample: Sample, operands: tuple[Array, ...]) -> dict[str, Array]:
        """The contents of :meth:`inputs`."""
        sizes = {f"size {name}": np.zeros(size, np.uint8) for name, size in (sample.sizes or {}).items()}
        return sizes | {f"x{index}": operand for index, operand in enumerate(operands)}

    @staticmethod
    def in_f64(sample: Sample) -> Sample:
        """The same sample with f64 in the place of f32."""
        values = sample.values and tuple(
            value.astype(np.float64) if value.dtype == np.float32 else value for value in sample.values
        )
        types = tuple(type.with_dtype(_wide(type.dtype)) for type in sample.operands)
        return replace(sample, operation=_widened(sample.operation), operands=types, values=values)


def _draw(random: np.random.Generator, type: TensorType, sample: Sample) -> Array:
    shape = [evaluate(dim, sample.sizes or {}) for dim in type.shape]
    if type.dtype is DType.BOOL:
        return random.integers(0, 2, shape).astype(bool)
    if type.dtype.is_integer:
        return np.asarray(random.integers(int(sample.low), int(sample.high) + 1, shape)).astype(type.dtype.numpy)
    return np.asarray(random.uniform(sample.low, sample.high, shape)).astype(type.dtype.numpy)


def _wide(dtype: DType) -> DType:
    return DType.F64 if dtype is DType.F32 else dtype


def _widened(operation: Op) -> Op:
    changed = {field.name: _widened_field(getattr(operation, field.name)) for field in fields(operation)}  # type: ignore[arg-type]
    return replace(operation, **changed)  # type: ignore[type-var]


def _widened_field(value: Any) -> Any:
    match value:
        case DType():
            return _wide(value)
        case np.ndarray() if value.dtype == np.float32:
            return value.astype(np.float64)
        case Op():
            return _widened(value)
        case Step():
            return replace(value, operation=_widened(value.operation))
        case tuple():
            return tuple(_widened_field(item) for item in value)
    return value


@pytest.fixture(scope="session")
def cases() -> type[Cases]:
    return Cases
