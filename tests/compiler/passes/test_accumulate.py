"""Gradients added up over batches: the graphs, and what they compute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Role
from compiler.ir.types import DType, TensorType
from compiler.ir.verify import verify
from compiler.ops import Emit
from compiler.ops.interpret import interpret_outputs
from compiler.ops.random import RandomBits
from compiler.passes.accumulate import BEFORE, SHARE, Accumulate, gradients_graph, sum_name, sum_type
from compiler.passes.autodiff import gradient

N = symbol("N")
SCALAR = TensorType(DType.I64)


@dataclass(frozen=True)
class Drawn:
    """The bits of a graph that draws, for some samples."""

    graph: Graph

    def __call__(self, samples: int, before: int = 0) -> np.ndarray:
        inputs = {"x": np.zeros((samples, 3), np.float32), "seed": np.array(7), "step": np.array(2)}
        given = {BEFORE: np.array(before)} if any(item.name == BEFORE for item in self.graph.inputs) else {}
        return interpret_outputs(self.graph, {**inputs, **given, SHARE: np.array(1.0)})["bits"]


def drawing(*shape: object) -> Graph:
    b = Emit("step0")
    b.input("x", TensorType(DType.F32, (N, 3)))
    seed, step = (b.input(name, SCALAR, Role.STATE) for name in ("seed", "step"))
    b.output("bits", b.add(RandomBits(shape, 5), seed, step))  # type: ignore[arg-type]
    return b.finish()


def regression(dtype: DType = DType.F32) -> Graph:
    b = Emit("step0")
    x = b.input("x", TensorType(dtype, (N, 3)))
    weight = b.input("Net.w", TensorType(dtype, (3, 1)), Role.WEIGHT)
    b.output("loss", b.mean(b.square(b.matmul(x, weight))))
    return b.finish()


def test_sums_take_gradients_in_by_their_share() -> None:
    whole = gradient(regression(), "loss", ("Net.w",))
    after = Accumulate(("Net.w",), "N").apply(whole)
    verify(after)
    assert [(item.name, item.updates) for item in after.outputs] == [
        ("loss", None),
        ("Net.w.gradient", "Net.w.gradient"),
    ]
    rng = np.random.default_rng(0)
    x, kept = rng.standard_normal((8, 3)).astype(np.float32), {"Net.w": np.ones((3, 1), np.float32)}
    total = np.zeros((3, 1), np.float32)
    for part in (x[:5], x[5:]):
        given = {**kept, "x": part, "Net.w.gradient": total, SHARE: np.array(len(part) / 8)}
        total = interpret_outputs(after, given)["Net.w.gradient"]
    np.testing.assert_allclose(
        total, interpret_outputs(whole, {**kept, "x": x})["gradient:Net.w"], rtol=1e-5, atol=1e-6
    )


def test_the_update_reads_the_sums() -> None:
    graph = gradients_graph("update0", regression(DType.F16), ["Net.w"])
    verify(graph)
    assert [(item.name, str(item.value.type)) for item in graph.inputs] == [
        ("Net.w", "f16[3, 1]"),
        (sum_name("Net.w"), "f32[3, 1]"),
    ]
    assert [(item.name, str(item.value.type)) for item in graph.outputs] == [("gradient:Net.w", "f16[3, 1]")]
    assert sum_type(TensorType(DType.F64, (2,))) == TensorType(DType.F64, (2,))


@pytest.mark.parametrize("shape", [(N,), (N, 4), (N, 2, 3)])
def test_samples_draw_what_they_would_in_the_whole(shape: tuple[object, ...]) -> None:
    whole, parts = Drawn(drawing(*shape)), Drawn(Accumulate((), "N").apply(drawing(*shape)))
    together = np.concatenate([parts(5), parts(3, 5)])
    np.testing.assert_array_equal(together, whole(8))


def test_what_all_samples_share_stays_one() -> None:
    after = Accumulate((), "N").apply(drawing(4))
    assert all(item.name != BEFORE for item in after.inputs)
    np.testing.assert_array_equal(Drawn(after)(5), Drawn(drawing(4))(8))


@pytest.mark.parametrize("shape", [(4, N), (N, N)])
def test_other_samples_draw_other_numbers(shape: tuple[object, ...]) -> None:
    parts = Drawn(Accumulate((), "N").apply(drawing(*shape)))
    first, second = parts(4), parts(4, 4)
    assert not np.isin(first, second).any()
