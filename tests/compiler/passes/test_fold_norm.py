"""Batch norm folded into the convolution or the product before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compiler
from compiler.diagnostics import Source
from compiler.ir.dims import symbol
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, RunningNorm
from compiler.ops.conv import Conv, ConvTranspose
from compiler.passes.fold_norm import FoldNorm
from compiler.passes.order import ONNX, Pipeline
from runtime.inference.session import InferenceSession
from runtime.programs.engine import Engine

F32 = DType.F32
N = symbol("N")
IMAGES, ROWS = TensorType(F32, (N, 4, 5, 5)), TensorType(F32, (N, 4))


def vectors(channels: int, count: int) -> list[TensorType]:
    return [TensorType(F32, (channels,))] * count


def test_text_before_and_after(graphs: Any) -> None:
    before = """
        data %x: f32[N, 2]
        weight %Net.dense.weight: f32[2, 3]
        weight %mean: f32[3]
        weight %variance: f32[3]
        %before: f32[N, 3] = matmul(%x, %Net.dense.weight)
        %y: f32[N, 3] = running_norm(%before, %mean, %variance) {epsilon=0.001}
        return y=%y
    """
    after = """
        data %x: f32[N, 2]
        weight %Net.dense.weight: f32[2, 3]
        weight %mean: f32[3]
        weight %variance: f32[3]
        %t0: f32[] = constant() {array=f32[](0.001)}
        %t1: f32[3] = add(%variance, %t0)
        %t2: f32[3] = sqrt(%t1)
        %t3: f32[3] = reciprocal(%t2)
        %t4: f32[3] = mul(%mean, %t3)
        %t5: f32[3] = neg(%t4)
        %Net.dense.weight.folded: f32[2, 3] = mul(%Net.dense.weight, %t3)
        %t6: f32[N, 3] = matmul(%x, %Net.dense.weight.folded)
        %y: f32[N, 3] = add(%t6, %t5)
        return y=%y
    """
    assert graphs.same_text(graphs.applied(FoldNorm(), graphs.read(before)), after)


CONVOLUTIONS = [
    (Conv((1, 1), (1, 1), (1, 1), (1, 1), 1), (6, 4, 3, 3), 6),
    (Conv((2, 1), (1, 2), (0, 1), (0, 1), 2), (6, 2, 3, 2), 6),
    (Conv((1, 1), (1, 1), (0, 0), (0, 0), 4), (4, 1, 3, 3), 4),
    (ConvTranspose((1, 1), (1, 1), (0, 0), (0, 0), 1, (7, 7)), (4, 6, 3, 3), 6),
    (ConvTranspose((1, 1), (1, 1), (0, 0), (0, 0), 2, (7, 7)), (4, 3, 3, 3), 6),
]


@pytest.mark.parametrize(
    ("operation", "kernel", "channels"), CONVOLUTIONS, ids=["conv", "groups", "depthwise", "back", "back in groups"]
)
@pytest.mark.parametrize("affine", [0, 2])
@pytest.mark.parametrize("biased", [0, 1])
def test_convolutions_take_it_in(
    graphs: Any, operation: Any, kernel: tuple[int, ...], channels: int, affine: int, biased: int
) -> None:
    def make(b: Emit, x: Any, weight: Any, *rest: Any) -> Any:
        bias, statistics = rest[:biased], rest[biased:]
        return b.add(RunningNorm(1e-3), b.add(operation, x, weight, *bias), *statistics)

    types = IMAGES, TensorType(F32, kernel), *vectors(channels, biased + 2 + affine)
    after = graphs.applied(FoldNorm(), graphs.built(make, *types))
    opcodes = [node.operation.opcode for node in after.nodes]
    assert "running_norm" not in opcodes
    assert opcodes[-1] == operation.opcode


@pytest.mark.parametrize("affine", [0, 2])
@pytest.mark.parametrize("biased", [0, 1])
def test_products_take_it_in(graphs: Any, affine: int, biased: int) -> None:
    def make(b: Emit, x: Any, weight: Any, *rest: Any) -> Any:
        product = b.matmul(x, weight)
        return b.add(RunningNorm(), b.add(product, rest[0]) if biased else product, *rest[biased:])

    types = ROWS, TensorType(F32, (4, 3)), *vectors(3, biased + 2 + affine)
    after = graphs.applied(FoldNorm(), graphs.built(make, *types))
    assert [node.operation.opcode for node in after.nodes][-2:] == ["matmul", "add"]


@pytest.mark.parametrize("affine", [0, 2])
@pytest.mark.parametrize("biased", [0, 1])
def test_products_take_in_that_of_their_columns_as_channels(graphs: Any, affine: int, biased: int) -> None:
    def make(b: Emit, x: Any, weight: Any, *rest: Any) -> Any:
        product = b.matmul(x, weight)
        rows = b.add(product, rest[0]) if biased else product
        return b.add(RunningNorm(), b.reshape(rows, (N, 3, 2, 2)), *rest[biased:])

    types = ROWS, TensorType(F32, (4, 12)), *vectors(12, biased), *vectors(3, 2 + affine)
    after = graphs.applied(FoldNorm(), graphs.built(make, *types))
    assert [node.operation.opcode for node in after.nodes][-3:] == ["matmul", "add", "reshape"]


def conv(b: Emit, x: Any, weight: Any) -> Any:
    return b.add(Conv((1, 1), (1, 1), (0, 0), (0, 0), 1), x, weight)


REFUSED = [
    ("%t0 has other uses", lambda b, x, w, m, v: _twice(b, conv(b, x, w), m, v), (IMAGES, (4, 4, 1, 1), 4)),
    ("the channels of f32[N, 3, 4] are not the columns of a product",
     lambda b, x, w, m, v: b.add(RunningNorm(), b.matmul(x, w), m, v), (TensorType(F32, (N, 3, 5)), (5, 4), 3)),
    ("is not the 12 columns of each of the N samples",
     lambda b, x, w, m, v: b.add(RunningNorm(), b.reshape(b.matmul(x, w), (3 * N, 4)), m, v), (ROWS, (4, 12), 4)),
    ("which is no matrix of weights",
     lambda b, x, w, m, v: b.add(RunningNorm(), b.reshape(b.matmul(x, w), (2, 4, N)), m, v),
     (TensorType(F32, (2, 4)), (4, 4 * N), 4)),
    ("%x1 is f32[N, 4], which is no weight",
     lambda b, x, w, m, v: b.add(RunningNorm(), b.matmul(x, w), m, v), (TensorType(F32, (2, N)), (N, 4), 4)),
]  # fmt: skip


def _twice(b: Emit, x: Any, mean: Any, variance: Any) -> Any:
    return b.add(b.add(RunningNorm(), x, mean, variance), x)


@pytest.mark.parametrize(("reason", "make", "types"), REFUSED, ids=["uses", "rank", "samples", "product", "data"])
def test_where_it_stays(graphs: Any, reason: str, make: Any, types: Any) -> None:
    x, kernel, channels = types
    graph = graphs.built(make, x, TensorType(F32, kernel), *vectors(channels, 2))
    assert any(reason in str(refusal) for refusal in graphs.refusals(FoldNorm.rules, graph))


NET = """
model Net(x: f32[N, 3, 6, 6]) -> f32[N, 7] {
    stem: conv(100, 3, bias=false) -> batch_norm -> relu
    body: conv(5, 2, groups=5) -> batch_norm(affine=false)
    wide: conv_transpose(4, 2, stride=2) -> batch_norm -> dropout(0.5)
    conv_transpose(6, 3, groups=2) -> batch_norm -> gaussian_noise(0.1) -> spatial_dropout(0.2) -> drop_path(0.1)
    flatten
    dense(7) -> batch_norm
}
"""


def test_a_file_holds_the_folded_weights_alone() -> None:
    import onnx

    program = compiler.compile_model(compiler.check(Source("net.dl", NET)), "Net")
    random = np.random.default_rng(0)
    weights = {
        w.name: (0.2 * np.abs(random.standard_normal([d for d in w.type.shape if isinstance(d, int)])) + 0.1)
        .astype(np.float32)
        for w in program.weights
    }  # fmt: skip
    content = compiler.onnx_file(program, weights)
    graph = onnx.load_from_string(content).graph
    assert [node.op_type for node in graph.node] == [
        "Conv", "Relu", "Conv", "ConvTranspose", "ConvTranspose", "Reshape", "Gemm",
    ]  # fmt: skip
    kept = {item.name for item in graph.initializer}
    assert {"Net.stem.conv.weight.folded", "Net.body.conv.bias.folded", "Net.dense.weight.folded"} <= kept
    assert not any("running" in name for name in kept)
    x = random.standard_normal((3, 3, 6, 6)).astype(np.float32)
    expected = Engine(compiler.model_module(program), weights).call("infer", {"x": x})["output"]
    for optimise in (False, True):
        found = InferenceSession(content, optimise=optimise).run({"x": x})["output"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_it_has_its_place_in_the_pipeline() -> None:
    program = compiler.compile_model(compiler.check(Source("net.dl", NET)), "Net")
    names = [node.operation.opcode for node in Pipeline(ONNX).run(program.graph).nodes]
    assert "running_norm" not in names
    assert names.count("linear") == 1
