"""From gradients to a training step: weights and optimizer state get their next contents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from compiler.ir.graph import Graph, Origin, Role, Value
from compiler.ir.types import DType, TensorType
from compiler.ops.emit import Emit
from compiler.passes.base import Pass
from compiler.passes.copying import Copy

# The state that counts the finished steps of a run: i64[], 0 during the first.
STEP = "step"
_GRADIENT = "gradient:"
# Keeps the division finite where all gradients are 0; PyTorch's clip_grad_norm_ adds the same.
_EPSILON = 1e-6


class UpdateRule(Protocol):
    """An optimizer: what it keeps for each weight, and one step of it."""

    @property
    def name(self) -> str: ...

    def slots(self, weight: TensorType) -> dict[str, float]:
        """The names of the tensors kept for a weight, each of its type, and what fills them at first."""

    def update(
        self, b: Emit, weight: Value, gradient: Value, slots: dict[str, Value], step: Value
    ) -> tuple[Value, dict[str, Value]]:
        """The next content of the weight and of its slots; ``step`` (i64 scalar) counts the steps done before."""


@dataclass(frozen=True)
class Update(Pass):
    """Turns gradients into updates; see :func:`apply_updates`."""

    rule: UpdateRule
    wrt: tuple[str, ...]
    prefix: str
    clip: float | None = None
    counts_step: bool = True

    name = "update"
    after = ("gradient",)
    keeps_signature = False

    def apply(self, graph: Graph) -> Graph:
        return apply_updates(graph, self.rule, self.wrt, self.prefix, clip=self.clip, counts_step=self.counts_step)


def apply_updates(
    graph: Graph,
    rule: UpdateRule,
    wrt: Sequence[str],
    prefix: str,
    *,
    clip: float | None = None,
    counts_step: bool = True,
) -> Graph:
    """``graph`` with its outputs ``gradient:NAME`` turned into updates of the weights in ``wrt``.

    Each slot becomes a state input ``NAME.PREFIX.SLOT`` with an update of its own. ``clip`` bounds the Euclidean norm
    of all gradients together. ``counts_step`` adds the update of the state ``step``, which one step graph of a run has
    to do. Raises KeyError where a weight or its gradient is missing.
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
    if clip is not None and gradients:
        with b.at(Origin(via=("clip",))):
            gradients = _clipped(b, gradients, clip)
    for name in wrt:
        with b.at(b.origin_of(values[name]).through("update")):
            _update(b, rule, values[name], gradients[name], step, prefix)
    if counts_step:
        with b.at(Origin(via=("update",))):
            b.output(STEP, b.add(step, 1), updates=STEP)
    return b.finish()


def check_update(weights: Iterable[Value], rule: UpdateRule, clip: float | None = None) -> None:
    """Try the step of ``rule`` on one weight of each element type. Raises TypeMismatch where it does not go with it, as
    a rate that the element type cannot hold."""
    for weight in {weight.type.dtype: weight for weight in weights}.values():
        b = Emit("trial")
        b.input(weight.name, weight.type, Role.WEIGHT)
        b.output(f"{_GRADIENT}{weight.name}", b.input("gradient", weight.type))
        apply_updates(b.finish(), rule, [weight.name], rule.name, clip=clip)


def initial_state(graphs: Iterable[Graph], rules: Iterable[UpdateRule]) -> dict[str, tuple[TensorType, float]]:
    """Type and first content of the optimizers' states, by name: for step graphs, each with its rule."""
    states: dict[str, tuple[TensorType, float]] = {STEP: (TensorType(DType.I64), 0.0)}
    for graph, rule in zip(graphs, rules, strict=True):
        for value in graph.inputs_of(Role.STATE):
            # A slot has the type of its weight and ends in its own name.
            fills = rule.slots(value.type)
            owner, _, slot = value.name.rpartition(".")
            if owner and slot in fills:
                states[value.name] = value.type, fills[slot]
    return states


def _update(b: Emit, rule: UpdateRule, weight: Value, gradient: Value, step: Value, prefix: str) -> None:
    slots = {
        slot: b.input(f"{weight.name}.{prefix}.{slot}", weight.type, Role.STATE) for slot in rule.slots(weight.type)
    }
    updated, after = rule.update(b, weight, gradient, slots, step)
    b.output(weight.name, updated, updates=weight.name)
    for slot, value in after.items():
        b.output(slots[slot].name, value, updates=slots[slot].name)


def _clipped(b: Emit, gradients: dict[str, Value], limit: float) -> dict[str, Value]:
    """The gradients scaled down so that their norm is at most ``limit``, as torch's clip_grad_norm_ does."""
    squares = [b.cast(b.sum(b.square(value)), DType.F32) for value in gradients.values()]
    total = squares[0]
    for square in squares[1:]:
        total = b.add(total, square)
    scale = b.minimum(b.div(limit, b.add(b.sqrt(total), _EPSILON)), 1.0)
    return {name: b.mul(value, b.cast(scale, value.type.dtype)) for name, value in gradients.items()}
