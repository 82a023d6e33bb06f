"""Random inputs for graphs, and the comparison of two graphs on them."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.interpret import interpret_outputs
from compiler.passes.check import ChangedResults, check_same_results, in_f64, random_inputs, random_sizes

F32, I64 = DType.F32, DType.I64
N, T = symbol("N"), symbol("T", 3)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_sizes_stay_within_their_bounds() -> None:
    b = Emit("g")
    b.input("x", TensorType(F32, (N, T)))
    seen = [random_sizes(b.finish(), np.random.default_rng(seed)) for seed in range(50)]
    assert {sizes["T"] for sizes in seen} == {1, 2, 3}
    assert {sizes["N"] for sizes in seen} == {1, 2, 3, 4, 5}


def test_inputs_have_the_types_asked_for() -> None:
    b = Emit("g")
    shape = (N, 2 * T)
    for dtype in (DType.BOOL, DType.U8, DType.I64, DType.F16, DType.BF16, F32, DType.F64):
        b.input(f"x_{dtype}", TensorType(dtype, shape))
    b.input("t", TensorType(F32, (T,)))
    for name, array in random_inputs(b.finish(), {"N": 4, "T": 3}, rng()).items():
        assert array.shape == ((3,) if name == "t" else (4, 6))
        assert name == "t" or DType.of(array.dtype) is DType(name[2:])


def test_indices_stay_within_what_they_index() -> None:
    b = Emit("g")
    table = b.input("table", TensorType(F32, (7, 2)), Role.WEIGHT)
    x = b.input("x", TensorType(F32, (N, 4)))
    tokens = b.input("tokens", TensorType(DType.I32, (N, 3)))
    label = b.input("label", TensorType(DType.U8, (N,)))
    classes = b.input("classes", TensorType(I64, (N,)))
    b.output("embedded", b.gather(table, b.cast(b.transpose(tokens, (1, 0)), I64)))
    b.output("vectors", b.one_hot(classes, 3))
    b.output("picked", b.take_along(x, b.reshape(b.cast(label, I64), (N, 1)), 1))
    graph = b.finish()
    for seed in range(20):
        arrays = random_inputs(graph, {"N": 50}, np.random.default_rng(seed))
        assert set(arrays["tokens"].ravel()) == set(range(7))
        assert set(arrays["label"]) == set(range(4))
        assert set(arrays["classes"]) == set(range(3))
        interpret_outputs(graph, arrays)


def test_state_is_positive() -> None:
    b = Emit("g")
    b.input("v", TensorType(F32, (100,)), Role.STATE)
    b.input("x", TensorType(F32, (100,)))
    arrays = random_inputs(b.finish(), {}, rng())
    assert arrays["v"].min() > 0
    assert arrays["x"].min() < 0
    assert random_inputs(b.finish(), {}, rng(), positive=True)["x"].min() > 0


def test_f32_becomes_f64_everywhere() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(F32, (N,)))
    seed = b.input("seed", TensorType(I64))
    noise = b.uniform((N,), seed, seed, 1)
    half = b.cast(b.cast(x, DType.F16), F32)
    b.output("y", b.add(b.add(noise, half), b.cast(b.size(N, F32), F32)))
    b.output("z", b.one_hot(b.cast(x, I64), 3))
    wide = in_f64(b.finish())
    assert {str(value.type.dtype) for value in wide.values()} == {"f64", "i64", "f16"}
    assert [value.name for value in wide.values()] == [value.name for value in b.finish().values()]


def pair(first: float, second: float) -> tuple[Graph, Graph]:
    graphs = []
    for factor in (first, second):
        b = Emit("g")
        b.output("same", b.neg(b.input("x", TensorType(F32, (N,)))))
        b.output("y", b.mul(b.finish().inputs[0].value, factor))
        graphs.append(b.finish())
    return graphs[0], graphs[1]


def test_rounded_constants_are_no_difference() -> None:
    check_same_results("p", *pair(0.1, np.float32(0.1).item()))
    check_same_results("p", *pair(1.0, 1.0 + 1e-6))


def test_a_small_difference_is_one() -> None:
    with pytest.raises(ChangedResults, match="output y differs by up to"):
        check_same_results("p", *pair(1.0, 1.0 + 1e-4))


def test_only_outputs_of_both_are_compared() -> None:
    """A pass that differentiates adds outputs, one that updates takes some away and adds inputs."""
    before, _ = pair(1, 1)
    b = Emit("g")
    x = b.input("x", TensorType(F32, (N,)))
    b.output("other", b.exp(x))
    b.output("same", b.neg(x))
    b.input("more", TensorType(F32, (N, 2)), Role.STATE)
    check_same_results("p", before, b.finish())


def test_a_shape_that_differs_at_some_sizes_is_found() -> None:
    def made(rows: bool) -> Graph:
        b = Emit("g")
        x = b.input("x", TensorType(F32, (N, T)))
        b.output("y", b.sum(x, (0 if rows else 1,)))
        return b.finish()

    with pytest.raises(ChangedResults, match="differs by up to inf"):
        check_same_results("p", made(True), made(False))


def test_not_a_number_on_both_sides_is_no_difference() -> None:
    b = Emit("g")
    b.output("y", b.log(b.neg(b.exp(b.input("x", TensorType(F32, (N,)))))))
    check_same_results("p", b.finish(), b.finish())
