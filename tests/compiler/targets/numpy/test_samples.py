"""Every operation as a program of one node, from its samples, beside the reference interpreter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from compiler.ir.builder import Builder
from compiler.ir.dims import as_symbol, evaluate, symbol
from compiler.ir.graph import Role
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
@pytest.mark.parametrize("given", ["arguments", "kept", "turned"])
def test_program_equals_reference(sample: Sample, given: str, pair) -> None:
    """The operands are arguments, kept arrays, or views that are known not to be contiguous."""
    builder, data, values = Builder("g"), {}, []
    types = sample.operands or tuple(TensorType(DType.of(v.dtype), v.shape) for v in operands(sample, 0))
    for index, type in enumerate(types):
        if given == "turned" and type.rank > 1:
            stored = builder.input(f"x{index}", type.with_shape(reversed(type.shape)))
            values.append(builder.add(registry()["transpose"](tuple(reversed(range(type.rank)))), stored))
        else:
            values.append(builder.input(f"x{index}", type, Role.STATE if given == "kept" else Role.DATA))
    for name, size in (sample.sizes or {}).items():
        if not any(as_symbol(dim) == as_symbol(symbol(name)) for type in types for dim in type.shape):
            builder.input(f"size of {name}", TensorType(DType.BOOL, (symbol(name),)))
            data[f"size of {name}"] = np.zeros(size, bool)
    for index, value in enumerate(builder.add_node(sample.operation, tuple(values))):
        builder.output(f"y{index}", value)
    program = None
    for seed in range(2):
        arrays = {f"x{index}": array for index, array in enumerate(operands(sample, seed))}
        if given == "turned":
            arrays = {name: np.array(array.T, order="C") for name, array in arrays.items()}
        program = program or pair(builder.finish(), arrays if given == "kept" else {})
        for kept in (program.kept, program.expected):
            for name, array in kept.items():
                np.copyto(array, arrays[name])
        with np.errstate(all="ignore"):
            program.step({**data, **({} if given == "kept" else arrays)})
