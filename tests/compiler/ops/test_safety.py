"""Gradients and results where formulas as they stand would give NaN or infinity."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, has_facet, registry
from compiler.ops.activation import Relu, Sigmoid, Softplus
from compiler.ops.base import Array, Op
from compiler.ops.elementwise import Maximum, Minimum, Power
from compiler.ops.erf import ERF_F32, ERF_F64, reference_erf
from compiler.ops.fused import FusedOp
from compiler.ops.interpret import interpret_outputs
from compiler.ops.normalise import LogSoftmax, Softmax
from compiler.ops.reduce import Max
from compiler.ops.unary import Absolute, Sqrt


def gradients(operation: Op, *operands: Array) -> list[Array]:
    """Those of the sum of the result."""
    b = Emit("g")
    values = tuple(b.input(f"x{i}", TensorType(DType.F64, operand.shape)) for i, operand in enumerate(operands))
    result = b.add(operation, *values)
    ones = b.expand(b.scalar(1, DType.F64), result.type.shape)
    for i, (value, gradient) in enumerate(zip(values, operation.gradient(b, values, (result,), (ones,)), strict=True)):
        assert gradient is not None
        b.output(f"d{i}", b.sum_to(gradient, value.type.shape))
    found = interpret_outputs(b.finish(), {f"x{i}": operand for i, operand in enumerate(operands)})
    return [found[f"d{i}"] for i in range(len(operands))]


@pytest.mark.parametrize("operation", [Sqrt(), Absolute(), Relu()])
def test_zero_has_the_gradient_zero(operation: Op) -> None:
    assert gradients(operation, np.zeros(2))[0].tolist() == [0, 0]


def test_powers_of_zero() -> None:
    base, exponent = np.array([0.0, 0.0, 0.0, -2.0, -2.0, 3.0]), np.array([0.0, 1.0, 2.0, 2.0, 0.0, 0.0])
    to_base, to_exponent = gradients(Power(), base, exponent)
    assert_allclose(to_base, [0, 1, 0, -4, 0, 0])
    assert_allclose(to_exponent[[0, 1, 2, 5]], [0, 0, 0, np.log(3)])
    # No real number: the logarithm of a negative one.
    assert np.isnan(to_exponent[[3, 4]]).all()


def test_at_a_tie_the_first_operand_takes_the_gradient() -> None:
    for operation in (Maximum(), Minimum()):
        first, second = gradients(operation, np.ones(2), np.ones(2))
        assert (first.tolist(), second.tolist()) == ([1, 1], [0, 0])


def test_elements_that_tie_share_the_gradient_of_a_maximum() -> None:
    (found,) = gradients(Max((1,)), np.array([[3.0, 1.0, 3.0], [2.0, 2.0, 2.0]]))
    assert_allclose(found, [[0.5, 0, 0.5], [1 / 3] * 3])


@pytest.mark.parametrize("operation", [Sigmoid(), Softplus(), Softmax(), LogSoftmax()])
def test_large_numbers_stay_finite(operation: Op) -> None:
    x = np.array([1000.0, -1000.0, 0.0])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        (result,) = operation.reference({}, x)
    assert np.isfinite(result).all()
    assert np.isfinite(gradients(operation, x)[0]).all()


# Gradients that are made by kernels of their own and end there.
END = {"max_pool_gradient", "rnn_gradient", "lstm_gradient", "gru_gradient", "ctc_gradient"}


def test_gradients_have_gradients(cases: Any) -> None:
    """Every operation that a gradient is made of can itself be differentiated, fused ones as what they stand for."""
    for cls in registry().values():
        if not has_facet(cls, "gradient"):  # type: ignore[arg-type]
            continue
        for sample in cls.samples():
            for node in gradient_nodes(sample.operation, sample.operands, cases):
                operation = node.operation
                known = isinstance(operation, FusedOp) or has_facet(operation, "gradient") or operation.opcode in END
                assert known, f"{operation.opcode} of {cls.opcode}"


def gradient_nodes(operation: Op, types: tuple[TensorType, ...], cases: Any) -> Any:
    b = Emit("g")
    values = tuple(b.input(f"x{i}", type) for i, type in enumerate(types))
    results = b.add_node(operation, values)
    if results[0].type.dtype.is_float:
        operation.gradient(b, values, results, cases.cotangents(b, results))
    return b.finish().nodes


def helper(name: str, source: str) -> Any:
    names: dict[str, Any] = {"np": np}
    exec(source, names)
    return names[name]


def test_the_error_function_of_generated_programs() -> None:
    points = np.concatenate([np.linspace(-7, 7, 20001), np.logspace(-30, 0, 200), [np.inf, -np.inf, 1e30]])
    expected = reference_erf(points)
    wide = np.empty_like(points)
    with np.errstate(all="raise", under="ignore"):
        helper("erf_f64", ERF_F64)(np.clip(points, -1e30, 1e30), wide)
    assert_allclose(wide, expected, rtol=1e-15, atol=0)
    single, work = np.empty(points.shape, np.float32), np.empty(points.shape, np.float32)
    helper("erf_f32", ERF_F32)(points.astype(np.float32), single, work)
    assert_allclose(single, reference_erf(points.astype(np.float32).astype(np.float64)), rtol=3e-7, atol=0)
    # Exactly 1 far out: gelu multiplies what is left of the difference by x.
    assert (single[np.abs(points) >= 4.5] == np.sign(points[np.abs(points) >= 4.5])).all()
