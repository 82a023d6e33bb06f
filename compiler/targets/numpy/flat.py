"""What of a graph can run on parts of a batch: for each value how the parts have it, and in which stage it is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Literal

from compiler.ir.dims import Dim, Poly, as_symbol, evaluate, substitute, symbols
from compiler.ir.graph import Graph, Node, Operation, Origin, Role, Value
from compiler.ir.live import needed_nodes
from compiler.ir.types import TensorType
from compiler.ops.base import Op, Requirement, Storage
from compiler.ops.effort import ELEMENT, FROM_MEMORY
from compiler.ops.emit import Emit
from compiler.ops.expansion import expansion_of, parts_of
from compiler.ops.parts import SUM, Place, Standing
from compiler.ops.reduce import Mean

# What a symbol other than the batch's is taken to be where work is estimated.
_TYPICAL = 32
# A matrix that every part reads, of more elements than _READ, or adds to, of more than _ADDED, has to be worth its way
# from memory.
_READ, _ADDED = 1 << 18, 1 << 14
# How a value stands that no part can have.
UNCUT: Literal["uncut"] = "uncut"


class Made(Enum):
    """Where a value is made."""

    WHOLE = "whole"
    PARTS = "parts"
    ANYWHERE = "anywhere"  # a view or a constant: made anew wherever it is read


@dataclass(eq=False, slots=True)
class Item:
    """What is known of a value: the node that makes it, if it is no input, and how it stands among the parts.

    ``stage`` is that in which it is made, ``ready_whole`` the first in which it can be read as a whole,
    ``ready_parts`` the first in which the parts can read theirs.
    """

    node: Node | None
    made: Made
    standing: Standing | Literal["uncut"] = None
    stage: int = 0
    ready_whole: int = 0
    ready_parts: int = 0
    role: Role = Role.DATA


class Flat:
    """A graph in which every operation that mixes samples is written out, as far as that lets more run in parts.

    ``nodes`` are those that its outputs need; ``work`` is what the parts have to do for one sample, in multiply-adds;
    ``values`` gives for each value of the graph its counterpart in ``b``, and ``required`` what sizes the operations
    ask for that are written out.
    """

    def __init__(self, graph: Graph, symbol: str, share: int) -> None:
        """``share`` is the number of samples of a part, where it has least."""
        self.graph, self.symbol, self._share = graph, symbol, share
        self.required: list[Requirement] = []
        self._known: dict[tuple[Operation, tuple[Value, ...]], tuple[Value, ...]] = {}
        self.b = Emit(graph.name)
        self.b.reserve(graph)
        self.b.keep_inputs(graph)
        self.items: dict[Value, Item] = {}
        self.values: dict[Value, Value] = {item.value: item.value for item in graph.inputs}
        for item in graph.inputs:
            made = Made.WHOLE if item.role is Role.DATA else Made.ANYWHERE
            self.items[item.value] = Item(None, made, role=item.role)
        for node in graph.nodes:
            results = self._add(node, tuple([self.values[value] for value in node.inputs]), node.origin)
            self.values.update(zip(node.outputs, results, strict=True))
        # What an operation was written out in may have results that it did not need.
        self.nodes = needed_nodes(self.b.nodes, self.outputs())
        parts = (node for node in self.nodes if self.items[node.outputs[0]].made is Made.PARTS)
        self.work = sum(_work(node, symbol) for node in parts)

    def outputs(self) -> Iterator[Value]:
        """The values of the graph's outputs."""
        for output in self.graph.outputs:
            yield self.values[output.value]

    def standing(self, value: Value) -> Standing | Literal["uncut"]:
        """How the parts find a value that they read."""
        item = self.items[value]
        if item.made is Made.PARTS:
            # A sum is put together first.
            return None if item.standing == SUM else item.standing
        return self._standing_of_whole(value.type) if item.made is Made.WHOLE else item.standing

    def together(self, value: Value) -> Standing:
        """How a value that parts make is put together."""
        standing = self.items[value].standing
        return standing if isinstance(standing, Place) else SUM

    def per_sample(self, dim: Dim) -> Dim:
        """A size for a batch of one."""
        return substitute(dim, {self.symbol: 1})

    def _standing_of_whole(self, type: TensorType) -> Standing | Literal["uncut"]:
        carriers = [axis for axis, dim in enumerate(type.shape) if self._carries(dim)]
        if not carriers:
            return None
        # Of an axis that was made of several it is not known how the samples lie in it.
        found = as_symbol(type.shape[carriers[0]])
        return Place(carriers[0]) if len(carriers) == 1 and found is not None else UNCUT

    def _carries(self, dim: Dim) -> bool:
        return any(found.name == self.symbol for found in symbols(dim))

    def _add(self, node: Node, inputs: tuple[Value, ...], origin: Origin) -> tuple[Value, ...]:
        """Add a node of the graph, or of what one is written out in, on ``inputs``, which have the types of its own."""
        operation = node.operation
        assert isinstance(operation, Op)
        read = [self.standing(value) for value in inputs]
        standings = parts_of(node, [s for s in read if s != UNCUT], self.symbol) if UNCUT not in read else None
        if standings is None and any(isinstance(standing, Place) for standing in read):
            types = tuple(value.type for value in inputs)
            expansion = _written_out(operation, types)
            if expansion is not None:
                asked = operation.requirements(types)
                self.required += [one._replace(sentence=f"{origin.scope}: {one.sentence}") for one in asked]
                return self._written(expansion, inputs, origin)
        if origin is node.origin:
            results = self.b.copy(node, inputs)
        else:
            with self.b.at(origin):
                results = self.b.add_node(operation, inputs, types=tuple(value.type for value in node.outputs))
        added = self.b.nodes[-1]
        self._place(added, None if standings and self._is_better_whole(added, read, standings) else standings)
        return results

    def _is_better_whole(
        self, node: Node, read: Sequence[Standing | Literal["uncut"]], given: Sequence[Standing]
    ) -> bool:
        """Whether the parts would wait for a large matrix that each of them has to bring from memory."""
        sizes = [
            size
            for values, standings, most in ((node.inputs, read, _READ), (node.outputs, given, _ADDED))
            for value, how in zip(values, standings, strict=True)
            if not isinstance(how, Place) and (size := _typical(value.type.size, self.symbol)) > most
        ]
        return bool(sizes) and 0 < _macs(node, self.symbol) * self._share < FROM_MEMORY * max(sizes)

    def _written(self, expansion: Graph, inputs: Sequence[Value], origin: Origin) -> tuple[Value, ...]:
        values = dict(zip((item.value for item in expansion.inputs), inputs, strict=True))
        for node in expansion.nodes:
            # A gradient is written out in terms of much that the operation itself was written out in.
            key = node.operation, tuple(values[value] for value in node.inputs)
            results = self._known.get(key) or self._add(node, key[1], origin)
            self._known[key] = results
            values.update(zip(node.outputs, results, strict=True))
        return tuple(values[output.value] for output in expansion.outputs)

    def _place(self, node: Node, standings: tuple[Standing, ...] | None) -> None:
        assert isinstance(node.operation, Op)
        operands = [self.items[value] for value in node.inputs]
        ready_whole = max([item.ready_whole for item in operands], default=0)
        ready_parts = max([item.ready_parts for item in operands], default=0)
        each = standings or (UNCUT,) * len(node.outputs)
        storage = node.operation.storage
        if storage is Storage.VIEW or (storage is Storage.CONSTANT and standings is not None):
            for value, standing in zip(node.outputs, each, strict=True):
                self.items[value] = Item(node, Made.ANYWHERE, standing, 0, ready_whole, ready_parts)
        elif standings is None or all(standing is None for standing in standings):
            for value in node.outputs:
                self.items[value] = Item(node, Made.WHOLE, None, ready_whole, ready_whole, ready_whole)
        else:
            for value, standing in zip(node.outputs, each, strict=True):
                after = ready_parts + (standing == SUM)
                self.items[value] = Item(node, Made.PARTS, standing, ready_parts, ready_parts + 1, after)


def _work(node: Node, symbol: str) -> int:
    """What the node has to do for one sample, in multiply-adds."""
    sizes = [value.type.size for value in (*node.inputs, *node.outputs)]
    # What all samples share, as a weight, takes no time for each of them.
    elements = max((_typical(size, symbol) for size in sizes if not isinstance(size, int)), default=0)
    return _macs(node, symbol) + ELEMENT * elements


def _macs(node: Node, symbol: str) -> int:
    """The multiply-adds of the node for one sample."""
    assert isinstance(node.operation, Op)
    operands, results = (tuple(value.type for value in values) for values in (node.inputs, node.outputs))
    return _typical(node.operation.macs(operands, results), symbol)


def _typical(dim: Dim, symbol: str) -> int:
    """A size for one sample."""
    return dim if isinstance(dim, int) else _typical_of(dim, symbol)


@lru_cache(maxsize=4096)
def _typical_of(dim: Poly, symbol: str) -> int:
    return evaluate(dim, {s.name: 1 if s.name == symbol else s.nearest(_TYPICAL) for s in symbols(dim)})


@lru_cache(maxsize=4096)
def _written_out(operation: Op, types: tuple[TensorType, ...]) -> Graph | None:
    """The operations that one stands for on operands of these types, where there are such."""
    if isinstance(operation, Mean):
        return expansion_of("mean", types, operation.by_sum)
    expand = getattr(operation, "expand", None)
    return None if expand is None else expansion_of(operation.opcode, types, expand)


def sink(flat: Flat, last: int) -> None:
    """Move nodes to later stages where that keeps less from one stage to the next: those in parts to where they are
    read, if they read nothing that the parts have from before, and whole ones, as most belong to the update."""
    bounds = _Bounds(flat, last)
    for node in flat.nodes:
        item, bound = flat.items[node.outputs[0]], bounds.of(node)
        if item.made is Made.PARTS:
            read = {stage for value in node.inputs for stage in _stages_read(flat, value)}
            _move(flat, node, bound if read <= {bound} else max(item.stage, *read))
    latest: dict[Value, int] = {}
    for node in reversed(flat.nodes):
        item, stage = flat.items[node.outputs[0]], min([latest.get(value, last) for value in node.outputs])
        if item.made is Made.WHOLE:
            _move(flat, node, stage)
        for value in node.inputs:
            read_in = item.stage if item.made is Made.PARTS else stage
            latest[value] = min(latest.get(value, last), read_in)


def _move(flat: Flat, node: Node, stage: int) -> None:
    for value in node.outputs:
        flat.items[value].stage = stage


def _stages_read(flat: Flat, value: Value) -> Iterator[int]:
    """The stages in which the parts make what a value that they read shows."""
    item = flat.items[value]
    if item.made is Made.PARTS:
        yield item.stage + (item.standing == SUM)
    elif item.made is Made.ANYWHERE and item.node is not None:
        for operand in item.node.inputs:
            yield from _stages_read(flat, operand)


class _Bounds:
    """For each node the last stage in which it may be made, given that what reads it is made as late as it may."""

    def __init__(self, flat: Flat, last: int) -> None:
        self._flat, self._last = flat, last
        # The first stages that read a value as a whole, and in parts.
        self._whole: dict[Value, int] = {}
        self._parts: dict[Value, int] = {}
        for node in reversed(flat.nodes):
            made, stage = flat.items[node.outputs[0]].made, self.of(node)
            for value in node.inputs:
                if made is Made.ANYWHERE:
                    self._read(self._whole, value, min(self._whole.get(v, last) for v in node.outputs))
                    self._read(self._parts, value, min(self._parts.get(v, last) for v in node.outputs))
                else:
                    self._read(self._whole if made is Made.WHOLE else self._parts, value, stage)

    def of(self, node: Node) -> int:
        """The bound of a node."""
        return min([self._bound(value) for value in node.outputs])

    def _bound(self, value: Value) -> int:
        whole, parts = self._whole.get(value, self._last), self._parts.get(value, self._last)
        item = self._flat.items[value]
        if item.made is not Made.PARTS:
            return min(whole, parts)
        # What is read as a whole is put together after the stage.
        return min(whole - 1, parts - (item.standing == SUM))

    @staticmethod
    def _read(reads: dict[Value, int], value: Value, stage: int) -> None:
        reads[value] = min(reads.get(value, stage), stage)
