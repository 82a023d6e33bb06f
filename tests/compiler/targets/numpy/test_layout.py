"""Tensors between convolutions lie with their channels last: which ones, and that every way to compute with them gives
what the reference interpreter gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Value
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit, samples
from compiler.ops.activation import LeakyRelu
from compiler.ops.avg_pool import AvgPool
from compiler.ops.conv import Conv, ConvTranspose, made
from compiler.ops.interpret import interpret_outputs
from compiler.ops.pool import MaxPool
from compiler.ops.pool import made as pooling
from compiler.passes.autodiff import gradient
from compiler.passes.cse import CommonSubexpressions
from compiler.passes.pipeline import Pipeline
from compiler.passes.share_pool import SharePool
from compiler.targets.numpy import generate
from compiler.targets.numpy.layout import channels_last

N = symbol("N")
Body = Callable[[Emit, Value, Callable[..., Value]], Value]


def network(body: Body, x: tuple[Any, ...], wrt_x: bool = False) -> Graph:
    """The loss of ``body``, which gets the builder, x and a function that makes weights, and its gradients."""
    b, weights = Emit("step"), []

    def weight(*shape: int) -> Value:
        weights.append(b.input(f"w{len(weights)}", TensorType(DType.F32, shape)))
        return weights[-1]

    result = body(b, b.input("x", TensorType(DType.F32, x)), weight)
    b.output("loss", b.sum(b.square(result), tuple(range(result.type.rank))))
    graph = gradient(b.finish(), "loss", [*["x"] * wrt_x, *(value.name for value in weights)])
    return Pipeline((SharePool(), CommonSubexpressions())).run(graph)


def check(graph: Graph, samples: int = 5) -> None:
    random = np.random.default_rng(0)
    arrays = {
        item.name: random.uniform(-1, 1, [samples if dim == N else dim for dim in item.value.type.shape])
        for item in graph.inputs
    }
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    module: dict[str, Any] = {"__name__": "generated"}
    exec(compile(generate([graph]), "generated.py", "exec"), module)
    step = module["bind_step"]({}, samples)
    step(*(array[::-1].copy() for array in arrays.values()))  # leaves something else in the work arrays
    found = step(*arrays.values())
    for name, expected in interpret_outputs(graph, arrays).items():
        assert np.abs(found[name] - expected).max() <= 1e-5 * np.abs(expected).max(), name


def lying(graph: Graph) -> list[tuple[str, tuple[Any, ...]]]:
    found = channels_last(graph)
    nodes = [(node.operation.opcode, node.outputs[0]) for node in graph.nodes]
    return [(opcode, value.type.shape) for opcode, value in nodes if value in found]


def convolution(b: Emit, x: Value, weight: Value, *bias: Value, **attributes: Any) -> Value:
    return b.add(made(Conv, x.type.rank - 2, **attributes), x, weight, *bias)


def two(kernel: tuple[int, ...], pool: Any = None, channels: int = 9, **attributes: Any) -> Body:
    """A convolution of one channel, an activation, perhaps pooling, and the convolution that is asked about."""

    def body(b: Emit, x: Value, weight: Callable[..., Value]) -> Value:
        first = convolution(b, x, weight(channels, 1, *(2,) * len(kernel)), weight(channels))
        first = b.relu(first) if pool is None else b.relu(b.add(pool, first))
        return convolution(b, first, weight(10, channels, *kernel), weight(10), **attributes)

    return body


def transposed(kernel: tuple[int, ...], size: tuple[int, ...], outputs: int = 10, **attributes: Any) -> Body:
    def body(b: Emit, x: Value, weight: Callable[..., Value]) -> Value:
        first = b.add(LeakyRelu(0.2), convolution(b, x, weight(16, 1, *(2,) * len(kernel))))
        operation = made(ConvTranspose, len(kernel), size=size, **attributes)
        return b.add(operation, first, weight(16, outputs, *kernel), weight(outputs))

    return body


WAYS = {
    "3x3": (two((3, 3)), (N, 1, 7, 8)),
    "3x3, padded": (two((3, 3), before=1), (N, 1, 7, 8)),
    "few terms": (two((2, 2), channels=8), (N, 1, 5, 6)),
    "strides": (two((3, 2), stride=(2, 3), before=(1, 0), after=(0, 2)), (N, 1, 9, 10)),
    "dilations": (two((2, 3), dilation=(3, 2)), (N, 1, 9, 10)),
    "1x1": (two((1, 1)), (N, 1, 5, 4)),
    "1x1 with a stride": (two((1, 1), stride=2), (N, 1, 5, 4)),
    "rows": (two((5,)), (N, 1, 12)),
    "volumes": (two((2, 2, 2), before=(0, 1, 0)), (N, 1, 4, 5, 4)),
    "pooled": (two((3, 3), pooling(MaxPool, 2, 2)), (N, 1, 11, 11)),
    "pooled with a rest": (two((2, 2), pooling(MaxPool, 2, 2)), (N, 1, 10, 8)),
    "pooled with overlap": (two((2, 2), pooling(MaxPool, 2, 3, 2, 1, 1)), (N, 1, 10, 9)),
    "averaged": (two((2, 2), AvgPool((2, 2), (2, 2), (0, 0), (0, 0), True)), (N, 1, 9, 9)),
    "averaged with overlap": (two((2, 2), AvgPool((3, 2), (2, 1), (1, 0), (0, 1), False)), (N, 1, 9, 8)),
    "transposed": (transposed((3, 3), (8, 7)), (N, 1, 7, 6)),
    "transposed to as many places": (transposed((3, 3), (6, 5), before=1), (N, 1, 7, 6)),
    "transposed by phases": (transposed((4, 4), (12, 10), 16, stride=2, before=1), (N, 1, 7, 6)),
    "transposed with a stride": (
        transposed((2, 3), (12, 10), stride=2, before=0, after=(0, 1)),
        (N, 1, 7, 6),
    ),
    "transposed by a point": (transposed((1, 1), (6, 5)), (N, 1, 7, 6)),
    "transposed to one channel": (transposed((3, 3), (8, 7), 1), (N, 1, 7, 6)),
}


@pytest.mark.parametrize("turn", [1, 2, 50])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_what_the_reference_gives(way: str, turn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """``turn`` samples at a time, of five: so that the last turn has fewer, or none is needed."""
    monkeypatch.setattr(samples, "typical", lambda dim: samples.CACHE // turn)
    graph = network(*WAYS[way], wrt_x=True)
    assert channels_last(graph)
    check(graph)


def test_what_lies_between_two_convolutions_does_so_with_its_gradients() -> None:
    graph = network(two((3, 3), pooling(MaxPool, 2, 2)), (N, 1, 11, 11))
    assert lying(graph) == [
        ("conv", (N, 9, 10, 10)),
        ("max_pool_training", (N, 9, 5, 5)),
        ("relu", (N, 9, 5, 5)),
        ("conv", (N, 10, 3, 3)),
        ("square", (N, 10, 3, 3)),
        ("mul", (N, 10, 3, 3)),
        ("mul", (N, 10, 3, 3)),
        ("conv_transpose", (N, 9, 5, 5)),
        ("greater", (N, 9, 5, 5)),
        ("mask", (N, 9, 5, 5)),
        ("max_pool_gradient", (N, 9, 10, 10)),
    ]


def test_a_flat_view_is_a_copy() -> None:
    def body(b: Emit, x: Value, weight: Callable[..., Value]) -> Value:
        seen = b.relu(two((3, 3), before=1)(b, x, weight))
        return b.matmul(b.reshape(seen, (N, 300)), weight(300, 3))

    graph = network(body, (N, 1, 6, 7))
    assert ("relu", (N, 10, 5, 6)) in lying(graph)
    check(graph)


def one(b: Emit, x: Value, weight: Callable[..., Value]) -> Value:
    return b.relu(convolution(b, x, weight(9, 1, 3, 3)))


def grouped(b: Emit, x: Value, weight: Callable[..., Value]) -> Value:
    return convolution(b, one(b, x, weight), weight(9, 1, 3, 3), groups=9)


def turned(b: Emit, x: Value, weight: Callable[..., Value]) -> Value:
    """What reads the first result asks for runs of places."""
    return convolution(b, b.softmax(one(b, x, weight), 3), weight(9, 9, 1, 1))


@pytest.mark.parametrize("body", [one, grouped, turned])
def test_where_nothing_gains_or_something_loses_all_is_as_it_was(body: Body) -> None:
    graph = network(body, (N, 1, 6, 7))
    assert lying(graph) == []
    check(graph)


def test_what_comes_in_and_what_goes_out_is_in_row_major_order() -> None:
    b = Emit("step")
    x = b.input("x", TensorType(DType.F32, (N, 1, 6, 7)))
    kept = b.input("kept", TensorType(DType.F32, (N, 9, 5, 6)))
    weights = [b.input(f"w{i}", TensorType(DType.F32, shape)) for i, shape in enumerate([(9, 1, 2, 2), (9, 9, 2, 2)])]
    first = convolution(b, x, weights[0])
    seen = b.relu(convolution(b, b.mul(first, kept), weights[1]))
    b.output("flat", b.reshape(seen, (N, 180)))
    b.output("further", convolution(b, seen, weights[1]))
    graph = b.finish()
    assert lying(graph) == []
    check(graph)
