"""Matrix products, bias and activation as one operation."""

from __future__ import annotations

import pytest

from compiler.diagnostics.source import Source
from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Origin, Role
from compiler.ir.types import DType, TensorType
from compiler.ops import Emit
from compiler.ops.activation import Elu, Gelu, LeakyRelu, Relu, Sigmoid, Silu, Softplus, Tanh
from compiler.ops.base import Op
from compiler.ops.linear import Linear
from compiler.passes.autodiff import gradient
from compiler.passes.fuse_linear import FuseLinear

F32 = DType.F32
N = symbol("N")
A, W, BIAS = TensorType(F32, (N, 4)), TensorType(F32, (4, 3)), TensorType(F32, (3,))


def linear_of(graph: Graph) -> list[Op | None]:
    """The activations of the fused operations."""
    return [node.operation.activation for node in graph.nodes if isinstance(node.operation, Linear)]


def test_text_before_and_after(graphs) -> None:
    before = """
        data %x: f32[N, 4]
        weight %w: f32[4, 3]
        weight %b: f32[3]
        %product: f32[N, 3] = matmul(%x, %w)
        %sum: f32[N, 3] = add(%product, %b)
        %y: f32[N, 3] = leaky_relu(%sum) {slope=0.2}
        return y=%y
    """
    after = """
        data %x: f32[N, 4]
        weight %w: f32[4, 3]
        weight %b: f32[3]
        %y: f32[N, 3] = linear(%x, %w, %b) {activation=@leaky_relu {slope=0.2}}
        return y=%y
    """
    assert graphs.same_text(graphs.applied(FuseLinear(), graphs.read(before)), after)


@pytest.mark.parametrize(
    "activation",
    [Relu(), LeakyRelu(0.2), Elu(0.5), Gelu(), Gelu("tanh"), Silu(), Sigmoid(), Tanh(), Softplus()],
    ids=lambda activation: activation.opcode,
)
def test_every_activation(graphs, activation: Op) -> None:
    def before(b: Emit, a, w, bias):
        return b.add(activation, b.add(bias, b.matmul(a, w)))

    graph = graphs.applied(FuseLinear(), graphs.built(before, A, W, BIAS))
    after = graphs.built(lambda b, *operands: b.add(Linear(activation), *operands), A, W, BIAS)
    assert graphs.unnamed(graph) == graphs.unnamed(after)


def test_without_bias(graphs) -> None:
    graph = graphs.applied(FuseLinear(), graphs.built(lambda b, a, w: b.tanh(b.matmul(a, w)), A, W))
    assert linear_of(graph) == [Tanh()]


def test_stacks_of_matrices(graphs) -> None:
    stack = TensorType(F32, (2, N, 4))
    graph = graphs.applied(FuseLinear(), graphs.built(lambda b, a, w, c: b.add(b.matmul(a, w), c), stack, W, BIAS))
    assert linear_of(graph) == [None]


STAYS = [
    ("a column", lambda b, a, w, c: b.add(b.matmul(a, w), b.reshape(c, (1, 3))), "f32[1, 3], not one number for each"),
    ("one number", lambda b, a, w, c: b.add(b.matmul(a, w), 1), "f32[], not one number for each of the 3 columns"),
    ("no product", lambda b, a, w, c: b.add(b.sum(a, (1,), keepdims=True), c), "made by sum, not by matmul"),
    ("read twice", lambda b, a, w, c: b.mul(b.add(p := b.matmul(a, w), c), p), "has other uses"),
    ("no activation", lambda b, a, w, c: b.relu(b.exp(b.sum(a))), "made by exp, not by matmul"),
]


@pytest.mark.parametrize(("make", "reason"), [case[1:] for case in STAYS], ids=[case[0] for case in STAYS])
def test_stays(graphs, make, reason) -> None:
    refusals = graphs.refusals(FuseLinear.rules, graphs.built(make, A, W, BIAS))
    assert any(reason in refusal.reason for refusal in refusals), list(map(str, refusals))


def test_only_one_activation(graphs) -> None:
    graph = graphs.applied(FuseLinear(), graphs.built(lambda b, a, w: b.tanh(b.relu(b.matmul(a, w))), A, W))
    assert [node.operation for node in graph.nodes] == [Linear(Relu()), Tanh()]


def test_results_of_the_graph_stay(graphs) -> None:
    b = Emit("g")
    a, w = b.input("a", A), b.input("w", W, Role.WEIGHT)
    product = b.matmul(a, w)
    b.output("product", product)
    b.output("y", b.relu(product))
    assert FuseLinear().apply(graph := b.finish()) is graph


@pytest.mark.parametrize(("activation", "fused"), [("relu", [Relu()]), ("gelu", [None])])
def test_what_gradients_read_stays(graphs, activation: str, fused: list[Op | None]) -> None:
    """The gradient of relu reads its result, that of gelu its operand."""

    def loss(b: Emit, a, w, bias):
        return b.sum(b.square(getattr(b, activation)(b.add(b.matmul(a, w), bias))))

    graph = gradient(graphs.built(loss, A, W, BIAS), "y", ["x1", "x2"])
    after = graphs.applied(FuseLinear(), graph)
    assert linear_of(after) == fused


def test_origins_are_joined() -> None:
    source = Source("net.dl", "dense(3) -> relu")
    dense, relu = source.span(0, 8), source.span(12, 16)
    b = Emit("g")
    a, w, bias = b.input("a", A), b.input("w", W, Role.WEIGHT), b.input("bias", BIAS, Role.WEIGHT)
    with b.at(Origin((dense,), "net.dense")):
        before = b.add(b.matmul(a, w), bias)
    with b.at(Origin((relu,), "net.relu")):
        b.output("y", b.relu(before))
    (node,) = FuseLinear().apply(b.finish()).nodes
    assert node.origin == Origin((dense, relu), "net.dense", ("fuse-activation",))
