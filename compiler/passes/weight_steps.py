"""What an optimizer does to one weight as one operation: alike for all weights that it treats alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from compiler.ir.graph import Graph, Node, Operation, Value
from compiler.ir.types import TensorType
from compiler.ops.base import Op
from compiler.ops.chain import Step
from compiler.ops.emit import Emit
from compiler.ops.turn import Turn, UpdateRule
from compiler.ops.weight_step import WeightStep, can_be_step
from compiler.passes.cse import CommonSubexpressions
from compiler.passes.dead import DeadCode
from compiler.passes.fold import FoldConstants
from compiler.passes.simplify import Simplify

_WEIGHT = "weight"
_PASSES = (FoldConstants(), CommonSubexpressions(), Simplify(), CommonSubexpressions(), DeadCode())


@dataclass(frozen=True)
class _Recipe:
    """An update as it is for all weights of an element type: nodes on scalars, which all of them share, and then the
    operation on one weight. ``operands`` are values of ``graph``, as are ``results``."""

    graph: Graph
    scalars: tuple[Node, ...]
    operation: WeightStep
    operands: tuple[Value, ...]
    results: tuple[Value, ...]


class WeightSteps:
    """The updates of one optimizer: where they are elementwise, that of a weight is one ``WeightStep``; otherwise it is
    what the optimizer writes."""

    def __init__(self, rule: UpdateRule) -> None:
        self._rule = rule
        self._recipes: dict[object, _Recipe | None] = {}
        self._scalars: dict[tuple[type[Operation], Operation, tuple[Value, ...]], Value] = {}

    def update(self, turn: Turn) -> tuple[Value, Mapping[str, Value]]:
        """The next content of the weight and of its slots, written with the builder of ``turn``."""
        types = (turn.weight.type.dtype, turn.gradient.type.dtype, bool(turn.weight.type.shape))
        key = (*types, turn.decays, isinstance(turn.rate, Value))
        if key not in self._recipes:
            self._recipes[key] = _recipe(self._trace(turn))
        recipe = self._recipes[key]
        return self._rule.update(turn) if recipe is None else self._follow(recipe, turn)

    def _trace(self, turn: Turn) -> Graph:
        """The update as a graph of its own."""
        b = Emit("update")
        values = {name: b.input(name, value.type) for name, value in _given(turn).items()}
        slots = {slot: values[_slot(slot)] for slot in turn.slots}
        rate = values.get("rate", turn.rate)
        own = replace(
            turn, b=b, weight=values[_WEIGHT], gradient=values["gradient"], slots=slots, time=values["time"], rate=rate
        )
        updated, after = self._rule.update(own)
        b.output(_WEIGHT, updated)
        for slot, value in after.items():
            b.output(_slot(slot), value)
        graph = b.finish()
        for step in _PASSES:
            graph = step.apply(graph)
        return graph

    def _follow(self, recipe: _Recipe, turn: Turn) -> tuple[Value, Mapping[str, Value]]:
        given = _given(turn)
        values = {item.value: given[item.name] for item in recipe.graph.inputs}
        for node in recipe.scalars:
            key = (type(node.operation), node.operation, tuple(values[value] for value in node.inputs))
            made = self._scalars.get(key)
            if made is None:
                made = self._scalars[key] = turn.b.add(node.operation, *key[2])
            values[node.output] = made
        operands = tuple(values[value] for value in recipe.operands)
        values.update(zip(recipe.results, turn.b.add_node(recipe.operation, operands), strict=True))
        found = {output.name: values[output.value] for output in recipe.graph.outputs}
        return found[_WEIGHT], {slot: found[_slot(slot)] for slot in turn.slots if _slot(slot) in found}


def _slot(name: str) -> str:
    return f"slot {name}"


def _given(turn: Turn) -> dict[str, Value]:
    """What an update reads, by the names that it has in a recipe."""
    given = {_WEIGHT: turn.weight, "gradient": turn.gradient, "time": turn.time}
    given |= {_slot(name): value for name, value in turn.slots.items()}
    return given | {"rate": turn.rate} if isinstance(turn.rate, Value) else given


def _recipe(graph: Graph) -> _Recipe | None:
    """None where the update is not what one operation can be."""
    weight = graph.inputs[0].value.type
    steps = [node for node in graph.nodes if any(value.type.shape for value in (*node.inputs, *node.outputs))]
    if not weight.shape or not steps or not all(_is_step(node, weight) for node in steps):
        return None
    scalars = tuple(node for node in graph.nodes if node not in set(steps))
    made = {node.output: number for number, node in enumerate(steps)}
    operands = tuple(dict.fromkeys(value for node in steps for value in node.inputs if value not in made))
    places = {value: index for index, value in enumerate(operands)}
    places |= {value: len(operands) + number for value, number in made.items()}
    results = tuple(value for value in made if value in graph.output_values)
    operation = WeightStep(len(operands), tuple(_steps(steps, places)), tuple(made[value] for value in results))
    return _Recipe(graph, scalars, _first_equal(operation), operands, results)


@lru_cache(maxsize=64)
def _first_equal(operation: WeightStep) -> WeightStep:
    """One object for all equal operations: what is known of it is then found without comparing its steps."""
    return operation


def _is_step(node: Node, weight: TensorType) -> bool:
    operation = node.operation
    return (
        isinstance(operation, Op)
        and can_be_step(operation)
        and node.output.type == weight
        and all(value.type in (weight, weight.with_shape(())) for value in node.inputs)
    )


def _steps(nodes: list[Node], places: Mapping[Value, int]) -> Iterator[Step]:
    for node in nodes:
        assert isinstance(node.operation, Op)
        yield Step(node.operation, tuple(places[value] for value in node.inputs))
