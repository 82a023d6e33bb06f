"""Every operation as a program of one node, from its samples, beside the reference interpreter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from compiler.ir.builder import Builder
from compiler.ir.dims import as_symbol, evaluate, symbol
from compiler.ir.types import DType, TensorType
from compiler.ops import has_facet, registry
from compiler.ops.base import Array, Sample


def samples() -> Iterator[object]:
    for opcode, operation in sorted(registry().items()):
        if has_facet(operation, "numpy"):  # type: ignore[arg-type]
            for index, sample in enumerate(operation.samples()):
                yield pytest.param(sample, id=f"{opcode}-{index}")


def operands(sample: Sample, seed: int) -> tuple[Array, ...]:
    if sample.values is not None:
        return sample.values
    random = np.random.default_rng(seed)
    return tuple(np.asarray(_random(random, type, sample)) for type in sample.operands)


def _random(random: np.random.Generator, type: TensorType, sample: Sample) -> Array:
    shape = [evaluate(dim, sample.sizes or {}) for dim in type.shape]
    if type.dtype is DType.BOOL:
        return random.integers(0, 2, shape).astype(bool)
    if type.dtype.is_integer:
        return random.integers(int(sample.low), int(sample.high) + 1, shape).astype(type.dtype.numpy)
    return np.asarray(random.uniform(sample.low, sample.high, shape)).astype(type.dtype.numpy)


@pytest.mark.parametrize("sample", list(samples()))
@pytest.mark.parametrize("noncontiguous", [False, True])
def test_program_equals_reference(sample: Sample, noncontiguous: bool, pair) -> None:
    """The operands are inputs, or views of inputs that are known not to be contiguous."""
    builder, data = Builder("g"), {}
    transpose = registry()["transpose"]
    values = []
    types = sample.operands or tuple(TensorType(DType.of(v.dtype), v.shape) for v in operands(sample, 0))
    for index, type in enumerate(types):
        if noncontiguous and type.rank > 1:
            order = tuple(reversed(range(type.rank)))
            stored = builder.input(f"x{index}", type.with_shape(reversed(type.shape)))
            values.append(builder.add(transpose(order), stored))
        else:
            values.append(builder.input(f"x{index}", type))
    for name, size in (sample.sizes or {}).items():
        if not any(as_symbol(dim) == as_symbol(symbol(name)) for type in types for dim in type.shape):
            builder.input(f"size of {name}", TensorType(DType.BOOL, (symbol(name),)))
            data[f"size of {name}"] = np.zeros(size, bool)
    for index, value in enumerate(builder.add_node(sample.operation, tuple(values))):
        builder.output(f"y{index}", value)
    program = pair(builder.finish(), {})
    for seed in range(2):
        arrays = operands(sample, seed)
        turned = [a.T.copy() if noncontiguous and a.ndim > 1 else a for a in arrays]
        with np.errstate(all="ignore"):
            program.step({**data, **{f"x{index}": array for index, array in enumerate(turned)}})
