"""Operations that say that they can run in parts give the same in parts, put together as they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from compiler.ir.dims import evaluate
from compiler.ir.tolerance import excess, tolerance
from compiler.ir.types import DType, TensorType
from compiler.ops import registry
from compiler.ops.base import Array, Sample
from compiler.ops.parts import SUM, Cut, Joined
from compiler.ops.random import Random

# What mixes samples, or has none: no sample of these can run in parts.
_STEPS = {"joint_step", "scalar_steps", "weight_step"}
NEVER = _STEPS | {"arange", "batch_norm", "batch_norm_gradient", "constant", "sinusoids", "size"}
START = TensorType(DType.I64)


def cuts() -> Iterator[tuple[str, Sample, Cut, tuple[Joined, ...]]]:
    """Every way in which a sample can be cut: by which symbol, how, and how its results are put together."""
    for opcode, cls in sorted(registry().items()):
        for index, sample in enumerate(cls.samples()):
            results = sample.operation.infer(sample.operands)
            for name in sample.sizes or {}:
                plain = Cut(name, sample.operands, results, ())
                axes = tuple(plain.carrier(type) for type in sample.operands)
                whole = [type for type, axis in zip(sample.operands, axes, strict=True) if axis is None]
                if any(plain.carries(dim) for type in whole for dim in type.shape):
                    continue
                if not any(plain.carries(dim) for type in (*sample.operands, *results) for dim in type.shape):
                    continue
                cut = Cut(name, sample.operands, results, axes)
                joined = sample.operation.in_parts(cut)
                if joined is not None:
                    yield f"{opcode}-{index}-{name}", sample, cut, joined


CUTS = list(cuts())


def test_all_but_those_that_mix_samples_can_run_in_parts() -> None:
    able = {sample.operation.opcode for _, sample, _, _ in CUTS}  # type: ignore[attr-defined]
    assert set(registry()) - able == NEVER


@pytest.mark.parametrize(("sample", "cut", "joined"), [found[1:] for found in CUTS], ids=[found[0] for found in CUTS])
def test_parts_put_together_are_the_whole(sample: Sample, cut: Cut, joined: tuple[Joined, ...], cases: Any) -> None:
    operands, sizes = cases.operands(sample), dict(sample.sizes or {})
    total = sizes[cut.symbol]
    first = (total + 1) // 2
    parts = [
        run(sample, cut, operands, {**sizes, cut.symbol: n}, start, total)
        for n, start in [(first, 0), (total - first, first)]
        if n
    ]
    with np.errstate(all="ignore"):
        whole = sample.operation.reference(sizes, *operands)
    for how, expected, *results in zip(joined, whole, *parts, strict=True):
        together = sum(results[1:], results[0]) if how == SUM else np.concatenate(results, how)
        dtype = DType.of(expected.dtype)
        assert dtype is not None
        assert together.dtype == expected.dtype
        assert excess(np.asarray(together), expected, tolerance(dtype)) <= 1


def run(
    sample: Sample, cut: Cut, operands: tuple[Array, ...], sizes: dict[str, int], start: int, total: int
) -> tuple[Array, ...]:
    """The results of the part that begins at place ``start`` of ``total``."""
    taken = []
    for operand, axis in zip(operands, cut.axes, strict=True):
        if axis is None:
            taken.append(operand)
            continue
        # A place of the symbol may be several of the axis, as it is where two axes became one.
        each = operand.shape[axis] // total
        taken.append(operand.take(range(start * each, (start + sizes[cut.symbol]) * each), axis))
    if isinstance(sample.operation, Random):
        before = taken[2] if len(taken) > 2 else 0
        each = int(np.prod([evaluate(dim, {cut.symbol: 1}) for dim in sample.operation.shape]))
        taken[2:] = [np.asarray(before + start * each)]
    with np.errstate(all="ignore"):
        return sample.operation.reference(sizes, *taken)
