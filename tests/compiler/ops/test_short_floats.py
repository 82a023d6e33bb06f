"""Norms and attention in f16 and bf16: NumPy programs of them run, to what these types can hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compiler.ir.dims import symbol
from compiler.ir.tolerance import excess, tolerance
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, registry
from compiler.ops.base import Sample
from compiler.targets.numpy import generate

N = symbol("N")
WHOLE = ["layer_norm", "rms_norm", "group_norm", "batch_norm", "running_norm", "attention"]
SAMPLES = [
    pytest.param(sample, id=f"{opcode}-{index}")
    for opcode in (*WHOLE, "row_norm_gradient", "batch_norm_gradient", "attention_gradient")
    for index, sample in enumerate(registry()[opcode].samples())
    # Numbers far from 0 and near to one another are the same here, and of rows of two nothing but rounding is left.
    if (sample.values is None or "attention" in opcode) and TensorType(DType.F32, (N, 6)) not in sample.operands
]


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16], ids=str)
@pytest.mark.parametrize("sample", SAMPLES)
def test_programs_run(sample: Sample, dtype: DType, cases: Any) -> None:
    types = tuple(type.with_dtype(dtype) if type.dtype.is_float else type for type in sample.operands)
    operands = [
        operand.astype(dtype.numpy) if operand.dtype == np.float32 else operand for operand in cases.operands(sample)
    ]
    sample = replace(sample, operands=types)
    b = Emit("step")
    for index, value in enumerate(b.add_node(sample.operation, cases.inputs(b, sample))):
        b.output(f"y{index}", value)
    module: dict[str, Any] = {"__name__": "generated"}
    graph = b.finish()
    exec(compile(generate([graph]), "generated.py", "exec"), module)
    step = module["bind_step"]({}, *((sample.sizes or {})[symbol.name] for symbol in graph.symbols))
    arrays = cases.arrays(sample, tuple(operands))
    found = step(*(arrays[item.name] for item in graph.inputs))
    wide = [operand.astype(np.float64) if operand.dtype == dtype.numpy else operand for operand in operands]
    for index, expected in enumerate(sample.operation.reference(sample.sizes or {}, *wide)):
        # Every step on the way is rounded, which adds up.
        allowed = replace(tolerance(dtype), absolute=20 * tolerance(dtype).absolute)
        assert excess(found[f"y{index}"].astype(np.float64), expected, allowed) <= 1
