"""From gradients to a training step: weights and optimizer state get their next contents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from compiler.ir.graph import Graph, Origin, Role, Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.emit import Emit
from compiler.ops.turn import SCALAR, Turn, UpdateRule
from compiler.passes.base import Pass
from compiler.passes.copying import Copy
from compiler.passes.weight_steps import WeightSteps

# The state that counts the finished steps of a run: i64[], 0 during the first.
STEP = "step"
_GRADIENT = "gradient:"
# Keeps the division finite where all gradients are 0; PyTorch's clip_grad_norm_ adds the same.
_EPSILON = 1e-6


@dataclass(frozen=True)
class Manner:
    """What an update is besides its rule.

    ``clip`` bounds the Euclidean norm of all gradients together, ``clip_value`` each element of them before that.
    ``undecayed`` names the weights that weight decay leaves alone. An update is made at the end of each ``every``
    steps. ``counts_step`` adds the update of the state ``step``, which one step graph of a run has to do.
    """

    clip: float | None = None
    clip_value: float | None = None
    undecayed: frozenset[str] = frozenset()
    every: int = 1
    counts_step: bool = True


@dataclass(frozen=True)
class Update(Pass):
    """Turns gradients into updates; see :func:`apply_updates`."""

    rule: UpdateRule
    wrt: tuple[str, ...]
    prefix: str
    manner: Manner = field(default_factory=Manner)

    name = "update"
    after = ("gradient",)
    keeps_signature = False

    def apply(self, graph: Graph) -> Graph:
        return apply_updates(graph, self.rule, self.wrt, self.prefix, self.manner)


def rate_name(prefix: str) -> str:
    """The state that holds the learning rate of the update with this prefix, where it has a schedule: f64[]."""
    return f"{prefix}.lr"


def apply_updates(graph: Graph, rule: UpdateRule, wrt: Sequence[str], prefix: str, manner: Manner = Manner()) -> Graph:
    """``graph`` with its outputs ``gradient:NAME`` turned into updates of the weights in ``wrt``.

    Each slot becomes a state input ``NAME.PREFIX.SLOT`` with an update of its own, and a learning rate that has a
    schedule a state input ``PREFIX.lr`` without one. Raises KeyError where a weight or its gradient is missing.
    """
    copy = Copy(graph)
    for node in graph.nodes:
        copy.node(node)
    b = copy.b
    values = {item.name: copy.values[item.value] for item in graph.inputs}
    gradients = {name: copy.values[graph.output(f"{_GRADIENT}{name}")] for name in wrt}
    step = values.get(STEP) or b.input(STEP, TensorType(DType.I64), Role.STATE)
    for output in graph.outputs:
        if not output.name.startswith(_GRADIENT):
            b.output(output.name, copy.values[output.value], output.updates)
    if gradients:
        with b.at(Origin(via=("clip",))):
            gradients = _clipped(b, gradients, manner)
    rate = rule.lr if isinstance(rule.lr, float) else b.input(rate_name(prefix), SCALAR, Role.STATE)
    with b.at(Origin(via=("update",))):
        time = _time(b, step, manner.every)
    steps = WeightSteps(rule)
    for name in wrt:
        with b.at(b.origin_of(values[name]).through("update")):
            slots = {
                slot: b.input(f"{name}.{prefix}.{slot}", type, Role.STATE)
                for slot, (type, _) in rule.slots(values[name].type).items()
            }
            turn = Turn(b, values[name], gradients[name], slots, time, rate, name not in manner.undecayed)
            _update(steps, turn)
    if manner.counts_step:
        with b.at(Origin(via=("update",))):
            b.output(STEP, b.add(step, 1), updates=STEP)
    return b.finish()


def check_update(weights: Iterable[Value], rule: UpdateRule, manner: Manner) -> None:
    """Try the step of ``rule`` on one weight of each element type. Raises TypeMismatch where it does not go with it, as
    a rate that the element type cannot hold, or an ``eps`` that would be 0 in it."""
    for weight in {weight.type.dtype: weight for weight in weights}.values():
        _check_numbers(rule, weight.type.dtype)
        b = Emit("trial")
        b.input(weight.name, weight.type, Role.WEIGHT)
        b.output(f"{_GRADIENT}{weight.name}", b.input("gradient", weight.type))
        apply_updates(b.finish(), rule, [weight.name], rule.name, manner)


def _check_numbers(rule: UpdateRule, dtype: DType) -> None:
    """Raises TypeMismatch where a number that is not 0 becomes 0 in the element type of the weights."""
    for name, number in vars(rule).items():
        if not isinstance(number, float) or number == 0:
            continue
        with np.errstate(over="ignore", under="ignore"):
            kept = dtype.numpy.type(number)
        if kept == 0:
            raise TypeMismatch(
                "E0303",
                f"{name} of {rule.name} is {number:g}, which is 0 in {dtype}",
                f"the weights are {dtype}",
                (f"give a larger one, such as {name}=1e-4, or compute in f32",),
            )


def initial_state(graphs: Iterable[Graph], rules: Iterable[UpdateRule]) -> dict[str, tuple[TensorType, float]]:
    """Type and first content of the optimizers' states, by name: for step graphs, each with its rule."""
    states: dict[str, tuple[TensorType, float]] = {STEP: (TensorType(DType.I64), 0.0)}
    for graph, rule in zip(graphs, rules, strict=True):
        for value in graph.inputs_of(Role.STATE):
            owner, _, slot = value.name.rpartition(".")
            # What fills a slot does not depend on the weight's type; that of the rate is replaced before each step.
            fills = {name: fill for name, (_, fill) in rule.slots(value.type).items()} | {"lr": 0.0}
            if owner and slot in fills:
                states[value.name] = value.type, fills[slot]
    return states


def _time(b: Emit, step: Value, every: int) -> Value:
    """How many updates there are after this one, which is made at the end of each ``every`` steps: f64."""
    done = b.add(b.cast(step, DType.F64), 1.0)
    return done if every == 1 else b.floor(b.div(done, float(every)))


def _update(steps: WeightSteps, turn: Turn) -> None:
    b = turn.b
    updated, after = steps.update(turn)
    b.output(turn.weight.name, updated, updates=turn.weight.name)
    for slot, value in after.items():
        b.output(turn.slots[slot].name, value, updates=turn.slots[slot].name)


def _clipped(b: Emit, gradients: dict[str, Value], manner: Manner) -> dict[str, Value]:
    """The gradients with their elements, and then all of them together, no larger than allowed."""
    if manner.clip_value is not None:
        limit = manner.clip_value
        gradients = {name: b.clip(value, -limit, limit) for name, value in gradients.items()}
    return gradients if manner.clip is None else _within_norm(b, gradients, manner.clip)


def _within_norm(b: Emit, gradients: dict[str, Value], limit: float) -> dict[str, Value]:
    """The gradients scaled down so that their norm is at most ``limit``, as torch's clip_grad_norm_ does."""
    squares = [b.cast(b.sum(b.square(value)), DType.F32) for value in gradients.values()]
    total = squares[0]
    for square in squares[1:]:
        total = b.add(total, square)
    scale = b.minimum(b.div(limit, b.add(b.sqrt(total), _EPSILON)), 1.0)
    return {name: b.mul(value, b.cast(scale, value.type.dtype)) for name, value in gradients.items()}
