"""Factors and shifts beside layers, folded into weights."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.ir.dims import symbol
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.conv import Conv, ConvTranspose
from compiler.passes.fold_scale import FoldScale

F32, N = DType.F32, symbol("N")
ROWS, IMAGES, KERNEL = TensorType(F32, (N, 4)), TensorType(F32, (N, 4, 5, 5)), TensorType(F32, (4, 3))


def test_pixels(graphs: Any) -> None:
    before = """
        data %image: f32[N, 2, 2]
        weight %Net.dense.weight: f32[4, 3]
        %t0: f32[] = constant() {array=f32[](255.0)}
        %t1: f32[N, 2, 2] = div(%image, %t0)
        %t2: f32[N, 4] = reshape(%t1) {shape=[N, 4]}
        %y: f32[N, 3] = matmul(%t2, %Net.dense.weight)
        return y=%y
    """
    after = """
        data %image: f32[N, 2, 2]
        weight %Net.dense.weight: f32[4, 3]
        %t0: f32[] = constant() {array=f32[](255.0)}
        %t3: f32[N, 4] = reshape(%image) {shape=[N, 4]}
        %Net.dense.weight.folded: f32[4, 3] = div(%Net.dense.weight, %t0)
        %y: f32[N, 3] = matmul(%t3, %Net.dense.weight.folded)
        return y=%y
    """
    assert graphs.same_text(graphs.applied(FoldScale(), graphs.read(before)), after)


def test_a_unit_of_the_result(graphs: Any) -> None:
    before = """
        data %x: f32[N, 4]
        weight %w: f32[4, 1]
        weight %b: f32[1]
        %t0: f32[] = constant() {array=f32[](77.0)}
        %t1: f32[] = constant() {array=f32[](152.0)}
        %t2: f32[N, 1] = matmul(%x, %w)
        %t3: f32[N, 1] = add(%t2, %b)
        %t4: f32[N, 1] = mul(%t3, %t0)
        %y: f32[N, 1] = add(%t1, %t4)
        return y=%y
    """
    after = graphs.applied(FoldScale(), graphs.read(before))
    rows = [node for node in after.nodes if node.outputs[0].type.symbols]
    assert [node.operation.opcode for node in rows] == ["matmul", "add"]
    assert rows[0].inputs[1].name == "w.folded"


@pytest.mark.parametrize("biased", [0, 1])
@pytest.mark.parametrize(
    ("operation", "kernel"),
    [
        (Conv((1, 1), (1, 1), (1, 1), (1, 1), 2), (6, 2, 3, 3)),
        (ConvTranspose((1, 1), (1, 1), (0, 0), (0, 0), 1, (7, 7)), (4, 6, 3, 3)),
    ],
    ids=["conv", "back"],
)
def test_convolutions_take_a_factor_in(graphs: Any, operation: Any, kernel: Any, biased: int) -> None:
    def make(b: Emit, x: Any, weight: Any, *bias: Any) -> Any:
        return b.add(operation, b.mul(x, 0.5), weight, *bias)

    types = [IMAGES, TensorType(F32, kernel), *[TensorType(F32, (6,))] * biased]
    after = graphs.applied(FoldScale(), graphs.built(make, *types))
    assert after.nodes[-1].inputs[0].name == "x0"


def test_a_factor_for_each_column(graphs: Any) -> None:
    before = """
        data %x: f32[N, 2]
        weight %w: f32[2, 3]
        %t0: f32[2] = constant() {array=f32[2](0.5, 3.0)}
        %t1: f32[N, 2] = mul(%x, %t0)
        %y: f32[N, 3] = matmul(%t1, %w)
        return y=%y
    """
    after = graphs.applied(FoldScale(), graphs.read(before))
    assert [node.operation.opcode for node in after.nodes] == ["constant", "reshape", "mul", "matmul"]
    assert after.nodes[-1].inputs[0].name == "x"


def _used_twice(b: Emit, x: Any, w: Any) -> Any:
    scaled = b.mul(x, 0.5)
    return b.add(b.matmul(scaled, w), b.reshape(b.sum(scaled, (1,)), (N, 1)))


REFUSED = [
    ("%x1 has other uses", lambda b, x, w: b.add(b.matmul(b.mul(x, 0.5), w), b.sum(w, (0,))), [ROWS, KERNEL]),
    ("has other uses", _used_twice, [ROWS, KERNEL]),
    ("which is no weight", lambda b, x, w: b.matmul(b.mul(x, 0.5), w), [TensorType(F32, (2, N)), ROWS]),
    ("is no constant", lambda b, x, f, w: b.matmul(b.mul(x, f), w), [ROWS, TensorType(F32, (4,)), KERNEL]),
    ("other uses", lambda b, x, w: b.mul(b.add(b.matmul(x, w), b.sum(w, (0,))), 2.0), [ROWS, KERNEL]),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "make", "types"), REFUSED, ids=["shared", "read twice", "data", "learned", "bias"])
def test_where_it_stays(graphs: Any, reason: str, make: Any, types: Any) -> None:
    assert any(reason in str(refusal) for refusal in graphs.refusals(FoldScale.rules, graphs.built(make, *types)))


def test_a_shift_before_a_layer_stays(graphs: Any) -> None:
    graph = graphs.built(lambda b, x, w: b.matmul(b.sub(x, 2000.0), w), ROWS, KERNEL)
    assert FoldScale().apply(graph) is graph
