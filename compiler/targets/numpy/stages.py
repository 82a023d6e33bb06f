"""Cutting a graph into stages that run one after the other: some as a whole, others in parts, at the same time.

Each part has some of the samples of a batch. What stands for all samples, as the gradient of a weight does, is put
together from the parts before a whole stage reads it: always in the same order, so that it does not matter which part
was done first, or how many share the work.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from compiler.ir.dims import Symbol
from compiler.ir.graph import Graph, Node, Role, Value
from compiler.ir.types import DType, TensorType
from compiler.ops.base import Op, Requirement
from compiler.ops.emit import Emit
from compiler.ops.parts import SUM, Place, Standing
from compiler.ops.random import Random
from compiler.targets.numpy import sharing
from compiler.targets.numpy.flat import Flat, Item, Made, sink
from compiler.targets.numpy.function import StageOf
from compiler.targets.numpy.names import place_of

# The input of a stage in parts that tells how many samples come before the part.
START = "samples before"


@dataclass(frozen=True)
class Stage:
    """A step of the program: its data inputs are values of the program, by name, and so are its outputs. Stages that do
    the same have one graph: ``names`` tells what its inputs and outputs are for this one, where they have others."""

    graph: Graph
    in_parts: bool
    names: Mapping[str, str] = field(default_factory=dict)

    def own(self, name: str) -> str:
        """What an input or output of the graph is called in the program."""
        return self.names.get(name, name)

    @property
    def taken(self) -> list[str]:
        """The values of the program that it reads."""
        return [self.own(value.name) for value in self.graph.inputs_of(Role.DATA)]

    @property
    def made(self) -> list[str]:
        """The values of the program that it gives."""
        return [self.own(output.name) for output in self.graph.outputs if output.updates is None]


@dataclass(frozen=True)
class Staged:
    """A graph in stages. ``cuts`` tells along which axis a value is cut that a stage takes in parts, ``joins`` how a
    value is put together that a stage gives in parts and something takes whole; ``results`` which value each output is,
    and ``required`` what sizes the operations ask for that were written out. ``counts`` has into how many parts a batch
    is cut, most first, and how many samples each of so many has to have; of none, no stage is in parts. A ``batch``
    takes so much ``work`` in parts, in multiply-adds for each of its samples."""

    graph: Graph
    symbol: str
    batch: int
    work: int
    counts: Mapping[int, int]
    stages: tuple[Stage, ...]
    cuts: Mapping[str, int]
    joins: Mapping[str, Standing]
    results: Mapping[str, str]
    required: tuple[Requirement, ...]

    def part_sizes(self, size: int) -> list[int]:
        """How many samples each part of a batch of so many has, as the written program cuts it."""
        count = next((count for count, least in self.counts.items() if size >= count * least), 1)
        return [size * (number + 1) // count - size * number // count for number in range(count)]

    def stage_of(self, stage: Stage) -> StageOf:
        """What the function of ``stage`` has to know."""
        return StageOf(self.graph, stage.in_parts, {self.symbol: self.batch} if self.batch else {})

    def through(self, passes: Callable[[Graph], Graph]) -> Staged:
        """The same with every stage's graph after ``passes``, which keep inputs and outputs."""
        graphs = {graph: passes(graph) for graph in dict.fromkeys(stage.graph for stage in self.stages)}
        return replace(self, stages=tuple(replace(stage, graph=graphs[stage.graph]) for stage in self.stages))


def in_stages(graph: Graph, symbol: str, batch: int) -> Staged | None:
    """The graph in stages, cut by ``symbol``; None where the work on ``batch`` samples does not pay for it."""
    flat = Flat(graph, symbol, batch // max(sharing.LEAST_WORK))
    counts = {count: -(-least // max(1, flat.work)) for count, least in sharing.LEAST_WORK.items()}
    paid = any(batch >= count * least for count, least in counts.items())
    return _Assembly(flat).finish(batch, counts) if paid else None


def at_once(graph: Graph) -> Staged:
    """A graph as one stage, which shares the work of single operations."""
    results = {output.name: output.name for output in graph.outputs if output.updates is None}
    stage = Stage(replace(graph, name=f"{graph.name}_whole"), in_parts=False)
    return Staged(graph, "", 0, 0, {}, (stage,), {}, {}, results, ())


class _Maker:
    """The graph of one stage as it grows."""

    def __init__(self, name: str, in_parts: bool, flat: Flat) -> None:
        self.b, self.in_parts = Emit(name), in_parts
        self.b.number_after(flat.b)
        self.values: dict[Value, Value] = {}
        self.exports: dict[str, Value] = {}

    def export(self, value: Value) -> str:
        """Have the stage give ``value`` of the flat graph; the name under which it does."""
        self.exports[value.name] = self.values[value]
        return value.name


class _Assembly:
    """Puts every node of a flat graph into its stage, and notes what goes from one to another."""

    def __init__(self, flat: Flat) -> None:
        self.flat = flat
        self.cuts: dict[str, int] = {}
        self.joins: dict[str, Standing] = {}
        self.last = max((flat.items[value].ready_whole for value in flat.outputs()), default=0)
        name = flat.graph.name
        self.makers = [
            (_Maker(f"{name}_whole_{number}", False, flat), _Maker(f"{name}_part_{number}", True, flat))
            for number in range(self.last + 1)
        ]
        self.home: dict[Value, _Maker] = {}
        self.data = flat.graph.inputs_of(Role.DATA)
        sink(flat, self.last)
        for node in flat.nodes:
            self._add(node)

    def _add(self, node: Node) -> None:
        item = self.flat.items[node.outputs[0]]
        if item.made is Made.ANYWHERE:
            return
        maker = self.makers[item.stage][item.made is Made.PARTS]
        self._copy(maker, node)
        self.home.update((value, maker) for value in node.outputs)

    def _copy(self, maker: _Maker, node: Node) -> None:
        operands = tuple(self._need(maker, value) for value in node.inputs)
        if maker.in_parts and isinstance(node.operation, Random):
            operands = self._drawn(maker, operands, node.output.type)
        maker.values.update(zip(node.outputs, maker.b.copy(node, operands), strict=True))

    def _drawn(self, maker: _Maker, operands: tuple[Value, ...], type: TensorType) -> tuple[Value, ...]:
        """The operands with which a part draws the random numbers of its own samples."""
        seed, counter, *start = operands
        before = self._elements_before(maker, type)
        return seed, counter, maker.b.add(start[0], before) if start else before

    def _elements_before(self, maker: _Maker, type: TensorType) -> Value:
        start = next((value for value in maker.values if value.name == START), None)
        if start is None:
            start = Value(START, TensorType(DType.I64))
            maker.values[start] = maker.b.input(START, start.type)
        return maker.b.mul(maker.values[start], maker.b.size(self.flat.per_sample(type.size)))

    def _need(self, maker: _Maker, value: Value) -> Value:
        """The value of the flat graph in the stage that ``maker`` makes."""
        if value in maker.values:
            return maker.values[value]
        item = self.flat.items[value]
        if item.node is None and item.role is not Role.DATA:
            maker.values[value] = maker.b.input(value.name, value.type, item.role)
        elif item.made is Made.ANYWHERE:
            assert item.node is not None
            self._copy(maker, item.node)
        else:
            maker.values[value] = maker.b.input(value.name, value.type)
            self._bring(maker, value, item)
        return maker.values[value]

    def _bring(self, maker: _Maker, value: Value, item: Item) -> None:
        """Note how a value comes from the stage that makes it, or from outside, into another one."""
        if value in self.home:
            self.home[value].export(value)
        standing = self.flat.standing(value) if maker.in_parts else None
        if item.made is Made.PARTS and (standing is None or item.standing == SUM):
            self.joins[value.name] = self.flat.together(value)
        elif item.made is Made.WHOLE and isinstance(standing, Place):
            self.cuts[value.name] = standing.axis

    def _give_sizes(self, maker: _Maker) -> None:
        """Sizes are read off inputs: a stage that only draws random numbers takes one of the program that has them."""
        missing = set(self.flat.graph.symbols).difference(*(item.value.type.symbols for item in maker.b.inputs))
        if missing:
            made = (value.type.symbols for node in maker.b.nodes for value in node.outputs)
            missing &= set[Symbol]().union(*made)
        for value in self.data:
            if missing.intersection(value.type.symbols):
                self._need(maker, value)
                missing -= set(value.type.symbols)

    def finish(self, batch: int, counts: Mapping[int, int]) -> Staged:
        results: dict[str, str] = {}
        final = self.makers[self.last][0]
        for output in self.flat.graph.outputs:
            value = self.flat.values[output.value]
            if output.updates is not None:
                final.b.output(output.name, self._need(final, value), output.updates)
            elif self.flat.items[value].made is Made.PARTS:
                results[output.name] = self.home[value].export(value)
                self.joins[value.name] = self.flat.together(value)
            else:
                results[output.name] = f"result {output.name}"
                final.b.output(results[output.name], self._need(final, value))
        for pair in self.makers:
            for maker in pair:
                self._give_sizes(maker)
        stages = _alike([stage for pair in self.makers for maker in pair if (stage := _stage(maker)) is not None])
        flat = self.flat
        required, between = tuple(flat.required), (self.cuts, self.joins, results)
        return Staged(flat.graph, flat.symbol, batch, flat.work, counts, stages, *between, required)


def _stage(maker: _Maker) -> Stage | None:
    for name, value in maker.exports.items():
        maker.b.output(name, value)
    graph = maker.b.finish()
    return Stage(graph, maker.in_parts) if graph.outputs else None


def _alike(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The same stages, where those that do the same have the graph of the first of them."""
    first: dict[Hashable, Graph] = {}
    found = []
    for stage in stages:
        graph = first.setdefault((stage.in_parts, _form(stage.graph)), stage.graph)
        names = zip(_names(graph), _names(stage.graph), strict=True)
        found.append(Stage(graph, stage.in_parts, {common: own for common, own in names if common != own}))
    return tuple(found)


def _names(graph: Graph) -> list[str]:
    return [*(item.name for item in graph.inputs), *(output.name for output in graph.outputs)]


def _form(graph: Graph) -> Hashable:
    """What graphs have in common whose programs differ in names only: what those say of places included."""
    numbers = {value: number for number, value in enumerate(graph.values())}
    kept = {item.name: number for number, item in enumerate(graph.inputs)}
    inputs = [(item.role, item.value.type, item.name == START) for item in graph.inputs]
    outputs = [(numbers[output.value], kept.get(output.updates or "")) for output in graph.outputs]
    return tuple(inputs), tuple(_form_of(node, numbers) for node in graph.nodes), tuple(outputs)


def _form_of(node: Node, numbers: Mapping[Value, int]) -> Hashable:
    operation, origin = node.operation, node.origin
    assert isinstance(operation, Op)
    refuses = operation.may_refuse(tuple([value.type for value in node.inputs]))
    place = place_of(origin), origin.scope if refuses else ""
    return operation.opcode, operation, tuple([numbers[value] for value in node.inputs]), place
