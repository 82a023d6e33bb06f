"""What a rewrite rule looks for: a value, how it was made, and how what it was made from was made."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias, TypeVar

from compiler.ir.graph import Node, Operation, Origin, Value
from compiler.ir.types import TensorType
from compiler.ops.base import Op
from compiler.ops.constant import Constant
from compiler.ops.emit import Emit
from compiler.ops.shape import Expand, Reshape

Number: TypeAlias = int | float | bool
_Operation = TypeVar("_Operation", bound=Operation)


@dataclass(frozen=True)
class Numeral:
    """A constant whose elements are all one number: ``value`` where that is given, any otherwise."""

    name: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Made:
    """The result of one of ``operations`` on operands that fit, on any where they are None, or on any of which one is
    made by an operation that it ``reads``.

    Two operands fit in either order where the order does not count. ``once`` asks that nothing but the node that is
    looked at reads the result.
    """

    operations: tuple[type[Op], ...]
    operands: tuple[Pattern, ...] | None
    name: str = ""
    once: bool = False
    reads: tuple[type[Op], ...] = ()


# A name stands for any value; the same name twice, for the same value twice.
Pattern: TypeAlias = str | Numeral | Made


def made(operations: type[Op] | Sequence[type[Op]], *operands: Pattern, name: str = "", once: bool = False) -> Made:
    """A pattern for the result of an operation, or of one of several."""
    classes = (operations,) if isinstance(operations, type) else tuple(operations)
    return Made(classes, operands, name, once)


def any_of(operations: Sequence[type[Op]], *reads: type[Op]) -> Made:
    """A pattern for the result of one of several operations, whatever the operands; or where one of those is the result
    of an operation that is among ``reads``."""
    return Made(tuple(operations), None, reads=reads)


def number(value: float) -> Numeral:
    """A pattern for a constant that is ``value`` everywhere."""
    return Numeral(value=value)


@dataclass(frozen=True)
class Match:
    """A place where a pattern fits: the node that would be made there, and what the pattern names."""

    builder: Emit
    operation: Operation
    inputs: tuple[Value, ...]
    values: dict[str, Value] = field(default_factory=dict)
    # Those inside of the pattern, the root aside, from the root on.
    nodes: tuple[Node, ...] = ()
    named: dict[str, Node] = field(default_factory=dict)
    # Whether only one node reads a value.
    is_used_once: Callable[[Value], bool] = lambda value: False

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    @cached_property
    def type(self) -> TensorType:
        """The type of the result, which the replacement has to have too."""
        return self.operation.infer(tuple(value.type for value in self.inputs))[0]

    def find(self, operation: builtins.type[_Operation]) -> _Operation:
        """The first operation of this class in the match, from the root on."""
        for found in (self.operation, *(node.operation for node in self.nodes)):
            if isinstance(found, operation):
                return found
        raise KeyError(operation.opcode)

    def number(self, name: str) -> Number:
        """The number that the constant ``name`` consists of."""
        found = uniform(self.builder, self.values[name])
        if found is None:
            raise KeyError(name)
        return found

    def origin(self) -> Origin:
        """Where what replaces this comes from: all matched nodes, the root's the first."""
        return Origin.merge((*(node.origin for node in reversed(self.nodes)), self.builder.origin))


# What a constant may go through and still have one number in all of its elements.
_REPEATING = (Expand, Reshape)


def uniform(builder: Emit, value: Value) -> Number | None:
    """The number that all elements of ``value`` are, known where it is made from a constant by repeating at most."""
    node = builder.producer(value)
    while node is not None and isinstance(node.operation, _REPEATING):
        node = builder.producer(node.inputs[0])
    if node is None or not isinstance(node.operation, Constant) or node.operation.array.size == 0:
        return None
    array = node.operation.array
    first: Number = array.flat[0].item()
    return first if array.size == 1 or bool((array == array.flat[0]).all()) else None


# The class of the operation that made a value: None for an input.
Maker: TypeAlias = type[Operation] | None


def may_fit(pattern: Made, operation: Operation, makers: Sequence[Maker], distinct: bool) -> bool:
    """Whether ``pattern`` can fit a node of ``operation``, whose class is one of the pattern's, on operands that
    ``makers`` made, and that are all ``distinct`` or not."""
    wanted = pattern.operands
    if wanted is None:
        return _reads(pattern, makers)
    names = [item for item in wanted if isinstance(item, str)]
    if len(wanted) != len(makers) or (distinct and len(names) > len(set(names))):
        return False
    orders = (wanted, wanted[::-1]) if isinstance(operation, Op) and operation.commutative else (wanted,)
    return any(all(map(_may_be, makers, order)) for order in orders)


def _may_be(maker: Maker, pattern: Pattern) -> bool:
    if isinstance(pattern, str):
        return True
    return _is_of(maker, (Constant, *_REPEATING) if isinstance(pattern, Numeral) else pattern.operations)


def _reads(pattern: Made, makers: Sequence[Maker]) -> bool:
    """Whether one of ``makers`` is what the pattern reads, if it says that."""
    return not pattern.reads or any(_is_of(maker, pattern.reads) for maker in makers)


def _is_of(maker: Maker, classes: tuple[type[Op], ...]) -> bool:
    return maker is not None and issubclass(maker, classes)


# Told why a pattern does not fit.
Refuse: TypeAlias = Callable[[str], None]
# What has been found of a pattern so far: the named values, the nodes inside, and the named ones among these.
_Found: TypeAlias = tuple[dict[str, Value], tuple[Node, ...], dict[str, Node]]


@dataclass(frozen=True)
class Matcher:
    """Looks for patterns among the nodes of ``builder``; ``is_used_once`` tells whether only one node reads a value."""

    builder: Emit
    is_used_once: Callable[[Value], bool]
    refuse: Refuse | None = None

    def matches(self, pattern: Made, operation: Operation, inputs: tuple[Value, ...]) -> Iterator[Match]:
        """Every way in which ``pattern`` fits a node, whose class is known to be one of the pattern's."""
        for values, nodes, named in self._operands(pattern, operation, inputs, ({}, (), {})):
            yield Match(self.builder, operation, inputs, values, nodes, named, self.is_used_once)

    def _operands(
        self, pattern: Made, operation: Operation, inputs: tuple[Value, ...], found: _Found
    ) -> Iterator[_Found]:
        wanted = pattern.operands
        if wanted is None:
            makers = [self.builder.producer(value) for value in inputs]
            if _reads(pattern, [None if node is None else type(node.operation) for node in makers]):
                yield found
            elif self.refuse:
                self.refuse(f"no operand is made by {_listed(pattern.reads)}")
        elif len(wanted) == len(inputs):
            yield from self._in_order(wanted, inputs, found)
            plain = all(isinstance(item, str) for item in wanted)
            if not plain and isinstance(operation, Op) and operation.commutative:
                yield from self._in_order(wanted[::-1], inputs, found)

    def _in_order(self, wanted: tuple[Pattern, ...], values: tuple[Value, ...], found: _Found) -> Iterator[_Found]:
        # Most patterns fail at a first look, which costs less than going through the operands one by one.
        if not all(map(self._may_fit, wanted, values)):
            return
        if not wanted:
            yield found
            return
        for further in self._value(wanted[0], values[0], found):
            yield from self._in_order(wanted[1:], values[1:], further)

    def _may_fit(self, pattern: Pattern, value: Value) -> bool:
        if isinstance(pattern, str):
            return True
        reason = None
        if isinstance(pattern, Numeral):
            found = uniform(self.builder, value)
            if found is None or pattern.value not in (None, found):
                reason = "a number" if pattern.value is None else f"{pattern.value:g}"
                reason = f"{value} is not {reason}" if self.refuse else ""
        else:
            node = self.builder.producer(value)
            if node is None or not isinstance(node.operation, pattern.operations) or len(node.outputs) > 1:
                reason = _other_maker(pattern, value, node) if self.refuse else ""
            elif pattern.once and not self.is_used_once(value):
                reason = f"{value} has other uses" if self.refuse else ""
        if reason and self.refuse:
            self.refuse(reason)
        return reason is None

    def _value(self, pattern: Pattern, value: Value, found: _Found) -> Iterator[_Found]:
        """Every way in which a value fits that may."""
        values, nodes, named = found
        if isinstance(pattern, Made):
            node = self.builder.producer(value)
            assert node is not None, "otherwise it may not fit"
            if pattern.name:
                named = {**named, pattern.name: node}
            yield from self._operands(pattern, node.operation, node.inputs, (values, (*nodes, node), named))
            return
        name = pattern if isinstance(pattern, str) else pattern.name
        known = values.get(name)
        if known is None or known is value:
            yield ({**values, name: value}, nodes, named) if name else found
        elif self.refuse:
            self.refuse(f"{value} is not {known}")


def _other_maker(pattern: Made, value: Value, node: Node | None) -> str:
    maker = "an input" if node is None else f"made by {node.operation.opcode}"
    return f"{value} is {maker}, not by {_listed(pattern.operations)}"


def _listed(classes: Sequence[type[Op]]) -> str:
    return " or ".join(cls.opcode for cls in classes)
