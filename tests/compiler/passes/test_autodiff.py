"""Reverse-mode differentiation, against central differences in f64, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pytest

from compiler.diagnostics.source import Source, Span
from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Origin, Role, Value
from compiler.ir.tolerance import GRADIENT, excess
from compiler.ir.types import DType, TensorType
from compiler.ir.verify import verify
from compiler.ops import Emit, Linear, without
from compiler.ops.activation import Tanh
from compiler.ops.base import Array
from compiler.ops.interpret import interpret_outputs
from compiler.ops.unary import Unary
from compiler.passes.autodiff import NotDifferentiable, gradient, reached
from compiler.passes.copying import Copy

F32, F64, I64 = DType.F32, DType.F64, DType.I64
N = symbol("N")
SIZE = 4

Net = Callable[[Emit, Value, Value, Value], Value]


def weighted(b: Emit, x: Value, w: Value, row: Value) -> Value:
    return b.mean(b.square(b.add(b.matmul(x, w), row)))


def shared(b: Emit, x: Value, w: Value, row: Value) -> Value:
    """A weight that is met three times."""
    hidden = b.tanh(b.matmul(x, w))
    return b.add(b.sum(b.mul(b.matmul(hidden, w), row)), b.mul(b.sum(b.square(w)), 0.1))


def attention(b: Emit, x: Value, w: Value, row: Value) -> Value:
    keys = b.matmul(x, w)
    weights = b.softmax(b.div(b.matmul(keys, b.transpose(x, (1, 0))), 2.0), 1)
    return b.mean(b.mul(b.gelu(b.matmul(weights, keys)), row))


def pieces(b: Emit, x: Value, w: Value, row: Value) -> Value:
    joined = b.concat([b.slice(x, (0, 1), (N, 3)), b.pad(b.mul(x, row), (0, 1), (0, 0))], 1)
    parts = b.exp(b.mul(joined, 0.3))
    return b.add(b.sum(b.max(parts, (1,))), b.mean(b.div(1.0, b.add(b.square(b.matmul(x, w)), 1.0))))


def broadcast(b: Emit, x: Value, w: Value, row: Value) -> Value:
    """Operands of lower rank, of size 1, and a scalar."""
    column = b.sum(x, (1,), keepdims=True)
    scale = b.mean(w)
    return b.sum(b.mul(b.maximum(column, row), b.mul(scale, b.expand(row, (N, 4)))))


def picked(b: Emit, x: Value, w: Value, row: Value) -> Value:
    """A loss over class indices that are computed, and so carry no gradient."""
    logits = b.add(b.matmul(x, w), row)
    label = b.reshape(b.argmax(b.neg(logits), 1), (N, 1))
    return b.neg(b.mean(b.take_along(b.log_softmax(logits, 1), label, 1)))


NETS: tuple[Net, ...] = (weighted, shared, attention, pieces, broadcast, picked)


def build(net: Net, dtype: DType = F64) -> Graph:
    b = Emit(net.__name__)
    x = b.input("x", TensorType(dtype, (N, 4)))
    w = b.input("w", TensorType(dtype, (4, 4)), Role.WEIGHT)
    row = b.input("row", TensorType(dtype, (4,)), Role.WEIGHT)
    b.output("loss", net(b, x, w, row))
    return b.finish()


def arrays(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((SIZE, 4)), "w": rng.standard_normal((4, 4)), "row": rng.standard_normal(4)}


def central_differences(graph: Graph, inputs: dict[str, Array], name: str, step: float = 1e-5) -> Array:
    result = np.zeros_like(inputs[name])
    for place in np.ndindex(result.shape):
        ends = []
        for moved in (step, -step):
            array = inputs[name].copy()
            array[place] += moved
            ends.append(float(interpret_outputs(graph, inputs | {name: array})["loss"]))
        result[place] = (ends[0] - ends[1]) / (2 * step)
    return result


@pytest.mark.parametrize("net", NETS)
def test_gradients_agree_with_central_differences(net: Net) -> None:
    graph = build(net)
    after = gradient(graph, "loss", ("x", "w", "row"))
    verify(after)
    inputs = arrays()
    found = interpret_outputs(after, inputs)
    assert list(found) == ["loss", "gradient:x", "gradient:w", "gradient:row"]
    for name in inputs:
        expected = central_differences(graph, inputs, name)
        # A difference of 1e-5 leaves an error of about 1e-10, and one of rounding.
        assert excess(found[f"gradient:{name}"], expected, GRADIENT) < 1, name


@pytest.mark.parametrize("net", NETS)
def test_gradients_agree_with_torch(net: Net) -> None:
    torch = pytest.importorskip("torch")
    inputs = arrays(1)
    x, w, row = (torch.tensor(inputs[name], requires_grad=True) for name in ("x", "w", "row"))
    by_torch = {
        weighted: lambda: ((x @ w + row) ** 2).mean(),
        shared: lambda: ((x @ w).tanh() @ w * row).sum() + 0.1 * (w**2).sum(),
        attention: lambda: (torch.nn.functional.gelu(((x @ w) @ x.T / 2).softmax(1) @ (x @ w)) * row).mean(),
        pieces: lambda: (
            (torch.cat([x[:, 1:3], torch.nn.functional.pad(x * row, (1, 0))], 1) * 0.3).exp().amax(1).sum()
            + (1 / ((x @ w) ** 2 + 1)).mean()
        ),
        broadcast: lambda: (torch.maximum(x.sum(1, keepdim=True), row) * (w.mean() * row)).sum(),
        picked: lambda: torch.nn.functional.cross_entropy(x @ w + row, (-(x @ w + row)).argmax(1)),
    }
    loss = by_torch[net]()
    loss.backward()
    found = interpret_outputs(gradient(build(net), "loss", ("x", "w", "row")), inputs)
    assert float(found["loss"]) == pytest.approx(loss.item(), rel=1e-12)
    for name, tensor in (("x", x), ("w", w), ("row", row)):
        np.testing.assert_allclose(found[f"gradient:{name}"], tensor.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_the_text_of_a_gradient() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(F32, (N, 2)))
    w = b.input("w", TensorType(F32, (2,)), Role.WEIGHT)
    b.output("loss", b.sum(b.mul(x, w)))
    after = gradient(b.finish(), "loss", ("w",))
    lines = [f"{node.output.type} {node.operation.opcode}" for node in after.nodes]
    assert lines == [
        "f32[N, 2] mul",
        "f32[] sum",
        "f32[] constant",
        "f32[1, 1] reshape",
        "f32[N, 2] expand",
        "f32[N, 2] mul",
        "f32[2] sum",
    ]
    assert after.output("gradient:w") is after.nodes[-1].output


def test_gradients_come_from_the_forward_node() -> None:
    source = Source("net.dl", "tanh\nmean\n")
    spans = (Span(source, 0, 4), Span(source, 5, 9))
    b = Emit("g")
    x = b.input("x", TensorType(F32, (N,)))
    with b.at(Origin((spans[0],), "Net.act")):
        y = b.tanh(x)
    with b.at(Origin((spans[1],), "Net")):
        b.output("loss", b.mean(y))
    after = gradient(b.finish(), "loss", ("x",))
    backward = [node for node in after.nodes if node.origin.via]
    assert [node.origin.via for node in backward] == [("gradient",)] * len(backward)
    assert {node.origin.scope for node in backward} == {"Net", "Net.act"}
    squared = next(node for node in backward if node.operation.opcode == "square")
    assert squared.origin.spans == spans[:1]


def test_only_what_lies_between_is_differentiated() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(F32, (N, 4)))
    w = b.input("w", TensorType(F32, (4, 4)), Role.WEIGHT)
    b.output("loss", b.mean(b.matmul(b.sin(x), w)))
    b.output("aside", b.mean(b.cos(w)))
    after = gradient(b.finish(), "loss", ("w",))
    backward = [node.operation.opcode for node in after.nodes if "gradient" in node.origin.via]
    assert "cos" not in backward
    assert "sin" not in backward
    # The product with the weight's transpose would be the gradient of the data.
    assert backward.count("transposed_matmul") == 1


def test_inputs_that_the_loss_does_not_depend_on() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(F32, (N, 4)))
    unused = b.input("unused", TensorType(F32, (N, 2)), Role.WEIGHT)
    stopped = b.input("stopped", TensorType(F32, (4,)), Role.WEIGHT)
    b.output("loss", b.sum(b.mul(x, b.stop_gradient(stopped))))
    b.output("other", b.neg(unused))
    graph, wanted = b.finish(), ("x", "unused", "stopped")
    assert reached(graph, "loss", wanted) == {"x"}
    inputs = {"x": np.ones((3, 4), np.float32), "unused": np.ones((3, 2), np.float32)}
    inputs["stopped"] = np.arange(4, dtype=np.float32)
    results = interpret_outputs(gradient(graph, "loss", wanted), inputs)
    np.testing.assert_array_equal(results["gradient:x"], np.tile(inputs["stopped"], (3, 1)))
    np.testing.assert_array_equal(results["gradient:unused"], np.zeros((3, 2), np.float32))
    np.testing.assert_array_equal(results["gradient:stopped"], np.zeros(4, np.float32))


def test_stop_gradient_cuts_one_way_of_two() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(F64))
    b.output("loss", b.mul(x, b.stop_gradient(x)))
    found = interpret_outputs(gradient(b.finish(), "loss", ("x",)), {"x": np.array(3.0)})
    assert found["gradient:x"] == 3.0


def test_fused_operations_are_written_out() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(F64, (N, 4)))
    w = b.input("w", TensorType(F64, (4, 4)))
    row = b.input("row", TensorType(F64, (4,)))
    b.output("loss", b.mean(b.add(Linear(Tanh()), x, w, row)))
    graph = b.finish()
    found = interpret_outputs(gradient(graph, "loss", ("w",)), arrays())
    assert excess(found["gradient:w"], central_differences(graph, arrays(), "w"), GRADIENT) < 1


def test_the_loss_itself_as_an_input() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(F64))
    b.output("loss", x)
    assert interpret_outputs(gradient(b.finish(), "loss", ("x",)), {"x": np.array(5.0)})["gradient:x"] == 1.0


def test_differentiating_twice() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(F64))
    b.output("loss", b.mul(b.pow(x, 3.0), b.sin(x)))
    once = gradient(b.finish(), "loss", ("x",))
    twice = gradient(once, "gradient:x", ("x",), prefix="second:")
    at = 0.7
    found = interpret_outputs(twice, {"x": np.array(at)})
    assert found["gradient:x"] == pytest.approx(3 * at**2 * np.sin(at) + at**3 * np.cos(at), rel=1e-12)
    second = 6 * at * np.sin(at) + 6 * at**2 * np.cos(at) - at**3 * np.sin(at)
    assert found["second:x"] == pytest.approx(second, rel=1e-12)


def test_a_gradient_in_the_loss() -> None:
    """The norm of a gradient, as gradient penalties have it, is differentiated as everything else."""
    inner = gradient(build(attention), "loss", ("x",))
    copy = Copy(inner)
    for node in inner.nodes:
        copy.node(node)
    penalty = copy.b.sum(copy.b.square(copy.values[inner.output("gradient:x")]))
    copy.b.output("loss", penalty)
    graph = copy.b.finish()
    inputs = arrays()
    found = interpret_outputs(gradient(graph, "loss", ("w",)), inputs)["gradient:w"]
    assert excess(found, central_differences(graph, inputs, "w"), GRADIENT) < 1


def test_equal_graphs_have_equal_gradients() -> None:
    first, second = (gradient(build(shared), "loss", ("w", "row")) for _ in range(2))
    assert [node.operation for node in first.nodes] == [node.operation for node in second.nodes]
    assert [value.name for value in first.values()] == [value.name for value in second.values()]


@dataclass(frozen=True)
class Opaque(Unary):
    """An operation that opted out of its gradient."""

    opcode = "opaque"
    verb, ufunc, onnx_kind = "hide", "negative", "Neg"
    gradient = without("it is there for a test")


def scalar_loss(make: Callable[[Emit, Value], Value]) -> Graph:
    b = Emit("g")
    x = b.input("x", TensorType(F32, (N, 4)))
    with b.at(Origin(scope="Net.head")):
        b.output("loss", make(b, x))
    return b.finish()


@pytest.mark.parametrize("look", [gradient, reached])
def test_an_operation_without_a_gradient_is_named(look: Callable[[Graph, str, tuple[str, ...]], object]) -> None:
    graph = scalar_loss(lambda b, x: b.mean(b.add(Opaque(), b.exp(x))))
    with pytest.raises(NotDifferentiable) as caught:
        look(graph, "loss", ("x",))
    problem = caught.value
    assert (problem.title, problem.reason) == ("opaque has no gradient", "it is there for a test")
    assert problem.origin.scope == "Net.head"


def test_an_operation_without_a_gradient_beside_the_way_does_not_matter() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(F32, (N,)))
    w = b.input("w", TensorType(F32, (N,)))
    hidden = b.stop_gradient(b.add(Opaque(), w))
    b.output("loss", b.sum(b.mul(b.mul(w, b.add(Opaque(), x)), hidden)))
    graph = b.finish()
    assert reached(graph, "loss", ("w",)) == {"w"}
    assert graph.users[w][0] in gradient(graph, "loss", ("w",)).nodes


@pytest.mark.parametrize(
    ("make", "title"),
    [
        (lambda b, x: b.mean(b.cast(b.equal(b.argmax(x, 1), b.argmax(b.neg(x), 1)), F32)), "argmax has no gradient"),
        (lambda b, x: b.mean(b.cast(b.greater(b.exp(x), 0), F32)), "greater has no gradient"),
        (lambda b, x: b.mean(b.floor(x)), "floor has no gradient"),
        (lambda b, x: x, r"the loss is f32\[N, 4\]"),
        (lambda b, x: b.argmax(b.reshape(x, (4 * N,)), 0), r"the loss is i64\[\]"),
    ],
)
def test_losses_without_any_gradient(make: Callable[[Emit, Value], Value], title: str) -> None:
    for look in (gradient, reached):
        with pytest.raises(NotDifferentiable, match=title) as caught:
            look(scalar_loss(make), "loss", ("x",))
        assert caught.value.origin.scope == ("" if title.endswith("4\\]") else "Net.head")


def test_nodes_that_are_alike_are_looked_at_once(work) -> None:
    """To know what is reached takes little for each node: no gradient of it is made."""
    small, large = (
        scalar_loss(lambda b, x, n=n: b.mean(reduce(lambda y, _: b.tanh(y), range(n), x))) for n in (20, 220)
    )
    each = (work(lambda: reached(large, "loss", ("x",))) - work(lambda: reached(small, "loss", ("x",)))) / 200
    made = (work(lambda: gradient(large, "loss", ("x",))) - work(lambda: gradient(small, "loss", ("x",)))) / 200
    assert each < made / 3


def test_a_dead_end_beside_a_way_does_not_matter() -> None:
    graph = scalar_loss(lambda b, x: b.add(b.mean(b.floor(x)), b.mean(x)))
    found = interpret_outputs(gradient(graph, "loss", ("x",)), {"x": np.ones((2, 4), np.float32)})
    np.testing.assert_array_equal(found["gradient:x"], np.full((2, 4), 1 / 8, np.float32))


def test_inputs_that_can_not_be_differentiated_by() -> None:
    b = Emit("g")
    x = b.input("x", TensorType(F32))
    b.input("count", TensorType(I64))
    b.output("loss", b.exp(x))
    for name in ("count", "t0", "missing"):
        with pytest.raises(ValueError, match=f"graph g has no input {name} of floats"):
            gradient(b.finish(), "loss", (name,))
