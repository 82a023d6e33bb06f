"""Training steps made of gradients: updates, the optimizers' state and clipping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from compiler.ir.dims import symbol
from compiler.ir.graph import Graph, Role, Value
from compiler.ir.types import DType, TensorType
from compiler.ir.verify import verify
from compiler.ops import Emit
from compiler.ops.base import Array
from compiler.ops.interpret import interpret_outputs
from compiler.ops.turn import Turn, UpdateRule
from compiler.passes.autodiff import Gradient, gradient
from compiler.passes.order import COMMON, TRAIN
from compiler.passes.pipeline import Pipeline, PipelineError
from compiler.passes.update import Manner, Update, apply_updates, initial_state

F32 = DType.F32
N = symbol("N")


@dataclass(frozen=True)
class Momentum:
    """``v = 0.5*v + g``, ``w = w - rate*v`` with a rate that falls with the steps."""

    rate: float = 0.1

    name = "momentum"

    @property
    def lr(self) -> float:
        return self.rate

    def slots(self, weight: TensorType) -> dict[str, tuple[TensorType, float]]:
        return {"velocity": (weight, 0.25)}

    def update(self, turn: Turn) -> tuple[Value, dict[str, Value]]:
        b = turn.b
        velocity = b.add(b.mul(turn.slots["velocity"], 0.5), turn.gradient)
        return b.sub(turn.weight, turn.scaled(velocity, b.reciprocal(turn.time))), {"velocity": velocity}


@dataclass(frozen=True)
class Plain:
    """Gradient descent, which keeps nothing."""

    name = "plain"
    lr = 1.0

    def slots(self, weight: TensorType) -> dict[str, tuple[TensorType, float]]:
        return {}

    def update(self, turn: Turn) -> tuple[Value, dict[str, Value]]:
        return turn.b.sub(turn.weight, turn.gradient), {}


def regression(state: bool = False) -> Graph:
    b = Emit("step0")
    x = b.input("x", TensorType(F32, (N, 3)))
    w = b.input("Net.w", TensorType(F32, (3, 1)), Role.WEIGHT)
    bias = b.input("Net.b", TensorType(F32, (1,)), Role.WEIGHT)
    if state:
        b.input("step", TensorType(DType.I64), Role.STATE)
    b.output("loss", b.mean(b.square(b.sub(b.add(b.matmul(x, w), bias), 1))))
    return b.finish()


def differentiated(state: bool = False) -> Graph:
    return gradient(regression(state), "loss", ("Net.w", "Net.b"))


def inputs() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((5, 3)), "Net.w": rng.standard_normal((3, 1)), "Net.b": np.array([0.5])}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def test_a_step() -> None:
    after = apply_updates(differentiated(), Momentum(), ("Net.w", "Net.b"), "momentum")
    verify(after)
    names = [(item.name, str(item.value.type), item.role.value) for item in after.inputs[3:]]
    assert names == [
        ("step", "i64[]", "state"),
        ("Net.w.momentum.velocity", "f32[3, 1]", "state"),
        ("Net.b.momentum.velocity", "f32[1]", "state"),
    ]
    assert [(item.name, item.updates) for item in after.outputs] == [
        ("loss", None),
        ("Net.w", "Net.w"),
        ("Net.w.momentum.velocity", "Net.w.momentum.velocity"),
        ("Net.b", "Net.b"),
        ("Net.b.momentum.velocity", "Net.b.momentum.velocity"),
        ("step", "step"),
    ]
    arrays = inputs()
    gradients = interpret_outputs(differentiated(), arrays)
    arrays |= {"step": np.array(4), "Net.w.momentum.velocity": np.ones((3, 1), np.float32)}
    arrays["Net.b.momentum.velocity"] = np.ones(1, np.float32)
    results = interpret_outputs(after, arrays)
    assert results["step"] == 5
    for name in ("Net.w", "Net.b"):
        velocity = 0.5 + gradients[f"gradient:{name}"]
        np.testing.assert_allclose(results[f"{name}.momentum.velocity"], velocity, rtol=1e-6)
        np.testing.assert_allclose(results[name], arrays[name] - velocity * 0.1 / 5, rtol=1e-6)


def test_updates_come_from_their_weight() -> None:
    after = apply_updates(differentiated(), Plain(), ("Net.w",), "plain", Manner(clip=1.0))
    assert {node.origin.via[0] for node in after.nodes if node.origin.via} == {"gradient", "clip", "update"}


def test_only_the_weights_asked_for_are_updated() -> None:
    graph = gradient(regression(), "loss", ("Net.w",))
    after = apply_updates(graph, Plain(), ("Net.w",), "plain")
    assert [item.name for item in after.outputs] == ["loss", "Net.w", "step"]


def test_the_counter_that_is_there_is_used() -> None:
    after = apply_updates(differentiated(state=True), Plain(), ("Net.w",), "plain", Manner(counts_step=False))
    assert [item.name for item in after.inputs] == ["x", "Net.w", "Net.b", "step"]
    assert [item.name for item in after.outputs] == ["loss", "Net.w"]


def test_a_missing_gradient_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"gradient:Net\.b"):
        apply_updates(gradient(regression(), "loss", ("Net.w",)), Plain(), ("Net.b",), "plain")


@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_gradients_are_clipped_together(limit: float) -> None:
    arrays = inputs()
    gradients = interpret_outputs(differentiated(), arrays)
    norm = np.sqrt(sum((gradients[f"gradient:{name}"] ** 2).sum() for name in ("Net.w", "Net.b")))
    after = apply_updates(differentiated(), Plain(), ("Net.w", "Net.b"), "plain", Manner(clip=limit))
    results = interpret_outputs(after, arrays | {"step": np.array(0)})
    for name in ("Net.w", "Net.b"):
        expected = gradients[f"gradient:{name}"] * min(1.0, limit / norm)
        np.testing.assert_allclose(arrays[name] - results[name], expected, rtol=1e-5, atol=1e-6)


def test_clipping_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    arrays = inputs()
    gradients = interpret_outputs(differentiated(), arrays)
    weights = [torch.nn.Parameter(torch.tensor(arrays[name])) for name in ("Net.w", "Net.b")]
    for weight, name in zip(weights, ("Net.w", "Net.b"), strict=True):
        weight.grad = torch.tensor(gradients[f"gradient:{name}"])
    torch.nn.utils.clip_grad_norm_(weights, 0.3)
    after = apply_updates(differentiated(), Plain(), ("Net.w", "Net.b"), "plain", Manner(clip=0.3))
    results = interpret_outputs(after, arrays | {"step": np.array(0)})
    for weight, name in zip(weights, ("Net.w", "Net.b"), strict=True):
        np.testing.assert_allclose(arrays[name] - results[name], weight.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_the_first_content_of_the_state() -> None:
    rules: tuple[UpdateRule, ...] = (Momentum(), Plain())
    steps = [
        apply_updates(gradient(regression(), "loss", (name,)), rule, (name,), f"{rule.name}{number}")
        for number, (name, rule) in enumerate(zip(("Net.w", "Net.b"), rules, strict=True))
    ]
    assert initial_state(steps, rules) == {
        "step": (TensorType(DType.I64), 0.0),
        "Net.w.momentum0.velocity": (TensorType(F32, (3, 1)), 0.25),
    }


def test_a_training_step_as_a_pipeline() -> None:
    weights = ("Net.w", "Net.b")
    passes = (*COMMON, Gradient("loss", weights), Update(Momentum(), weights, "momentum", Manner(1.0)), *TRAIN)
    after = Pipeline(passes, check=True).run(regression())
    assert after.output("Net.w").type == TensorType(F32, (3, 1))
    with pytest.raises(PipelineError, match="update has to come after gradient"):
        Pipeline((*COMMON, Update(Momentum(), weights, "momentum")))
