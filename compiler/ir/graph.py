"""The graph: typed values and the nodes that make them, in order, immutable once built."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import ClassVar

from compiler.diagnostics.source import Span
from compiler.ir.dims import Symbol
from compiler.ir.types import TensorType


class Operation:
    """What a node does. Every operation is a frozen dataclass whose fields are the node's attributes.

    This is all that the graph needs to know of it; the other facets are in ``compiler.ops``. (It is no ``ABC``, as
    ``isinstance`` takes several times as long for those, and is asked very often.)
    """

    opcode: ClassVar[str]

    @abstractmethod
    def infer(self, inputs: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        """The types of the results. Raises TypeMismatch for operands that do not fit."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node came from.

    ``spans`` are the places in the source, the most telling first; ``scope`` is the path of labels, such as
    ``Digits.head``; ``via`` names the rewrites that it went through, the latest last.
    """

    spans: tuple[Span, ...] = ()
    scope: str = ""
    via: tuple[str, ...] = ()

    def through(self, step: str) -> Origin:
        """This origin, after one more rewrite; the same rewrite twice in a row counts once."""
        return self if self.via[-1:] == (step,) else replace(self, via=(*self.via, step))

    @staticmethod
    def merge(origins: tuple[Origin, ...]) -> Origin:
        """The origin of one node that stands for several: the last one's, with the places of all."""
        if not origins:
            return NOWHERE
        spans = dict.fromkeys(span for origin in reversed(origins) for span in origin.spans)
        return replace(origins[-1], spans=tuple(spans))


NOWHERE = Origin()


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """One tensor: made once, by an input or a node. Two values are the same only if they are one object."""

    name: str
    type: TensorType

    def __str__(self) -> str:
        return f"%{self.name}"


class Role(Enum):
    """What a graph's input stands for."""

    DATA = "data"  # given anew at each call
    WEIGHT = "weight"  # learned, kept between calls
    STATE = "state"  # kept between calls, not learned by gradients: moments, counters, seeds


@dataclass(frozen=True, eq=False, slots=True)
class Input:
    value: Value
    role: Role = Role.DATA

    @property
    def name(self) -> str:
        return self.value.name


@dataclass(frozen=True, eq=False, slots=True)
class Output:
    """A named result. ``updates`` names the weight or state whose next content it is."""

    name: str
    value: Value
    updates: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    operation: Operation
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    origin: Origin = NOWHERE

    @property
    def output(self) -> Value:
        """The only result; ValueError where there are several."""
        (value,) = self.outputs
        return value


@dataclass(frozen=True, eq=False)
class Graph:
    """A function from inputs to outputs: static single assignment, nodes in an order that can be run."""

    name: str
    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    # Where inputs came from: the producing node says it for every other value.
    input_origins: dict[str, Origin] = field(default_factory=dict)

    @cached_property
    def producers(self) -> dict[Value, Node]:
        """The node that makes each value; inputs have none."""
        return {value: node for node in self.nodes for value in node.outputs}

    @cached_property
    def users(self) -> dict[Value, tuple[Node, ...]]:
        """The nodes that read each value, in order, a node once for each operand; () for an unread value."""
        found: dict[Value, list[Node]] = {value: [] for value in self.values()}
        for node in self.nodes:
            for value in node.inputs:
                found[value].append(node)
        return {value: tuple(nodes) for value, nodes in found.items()}

    @cached_property
    def reads(self) -> Mapping[Value, int]:
        """How often each value is read, once for each operand and each output that it is; those that are not lack."""
        found: dict[Value, int] = {}
        for node in self.nodes:
            for value in node.inputs:
                found[value] = found.get(value, 0) + 1
        for output in self.outputs:
            found[output.value] = found.get(output.value, 0) + 1
        return found

    @cached_property
    def free_number(self) -> int:
        """The first n such that no value is named ``t`` and n or a larger number."""
        numbers = [
            int(name[1:]) for name in (v.name for v in self.values()) if name[:1] == "t" and name[1:].isdecimal()
        ]
        return max(numbers, default=-1) + 1

    @cached_property
    def output_values(self) -> frozenset[Value]:
        return frozenset(output.value for output in self.outputs)

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """Every symbol of the inputs' shapes, in the order in which they first appear."""
        found: dict[str, Symbol] = {}
        for item in self.inputs:
            for dim_symbol in item.value.type.symbols:
                found.setdefault(dim_symbol.name, dim_symbol)
        return tuple(found.values())

    def values(self) -> Iterator[Value]:
        """Every value, inputs first, in order."""
        for item in self.inputs:
            yield item.value
        for node in self.nodes:
            yield from node.outputs

    def inputs_of(self, role: Role) -> tuple[Value, ...]:
        return tuple(item.value for item in self.inputs if item.role is role)

    def origin_of(self, value: Value) -> Origin:
        node = self.producers.get(value)
        return node.origin if node else self.input_origins.get(value.name, NOWHERE)

    def output(self, name: str) -> Value:
        """The value of the output ``name``; KeyError where there is none."""
        return self._by_output[name]

    @cached_property
    def _by_output(self) -> Mapping[str, Value]:
        return {item.name: item.value for item in self.outputs}
