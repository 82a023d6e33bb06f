"""What a graph is made of once it is raised: steps, each a call or an operation of the language."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from compiler.ir.graph import Value
from compiler.ops.base import Array

# A tensor, or a number as it is written.
Operand: TypeAlias = Value | str
Form: TypeAlias = Literal["call", "infix", "prefix", "index", "residual", "repeat"]


@dataclass(frozen=True, slots=True)
class Argument:
    """One that is known at compile time: ``name`` is its parameter's, ``named`` whether that has to be written."""

    name: str
    text: str
    named: bool = True

    def __str__(self) -> str:
        return f"{self.name}={self.text}" if self.named else self.text


def plain(name: str, text: object) -> Argument:
    """An argument given by position."""
    return Argument(name, str(text), named=False)


def flag(name: str, value: bool, default: bool) -> tuple[Argument, ...]:
    """The argument, where it is not what it is by default."""
    return () if value is default else (Argument(name, str(value).lower()),)


@dataclass(frozen=True, eq=False)
class Step:
    """One layer, function or operator. ``keywords`` are the names by which operands are given, "" for those given by
    position. ``weights`` are its first weights in the order in which the layer asks for them, by the layer's own names.
    ``path`` says where it stood in the file; ``body`` is what a residual or a repeat holds."""

    kind: str
    operands: tuple[Operand, ...]
    results: tuple[Value, ...]
    arguments: tuple[Argument, ...] = ()
    weights: tuple[tuple[str, Array], ...] = ()
    path: str = ""
    form: Form = "call"
    keywords: tuple[str, ...] = ()
    bodies: tuple[Body, ...] = ()

    @property
    def values(self) -> tuple[Value, ...]:
        """The operands that are tensors."""
        return tuple(item for item in self.operands if isinstance(item, Value))

    @property
    def result(self) -> Value:
        return self.results[0]

    def keyword(self, index: int) -> str:
        return self.keywords[index] if index < len(self.keywords) else ""

    def all_weights(self) -> Iterator[tuple[str, Array]]:
        """The weights of the step and of all that is in it, in the order in which they are asked for."""
        yield from self.weights
        # A repetition of calls that were put in place keeps what these had.
        for body in () if self.weights else self.bodies:
            for step in body.steps:
                yield from step.all_weights()

    @property
    def layers(self) -> int:
        """How many layers with weights there are, those that only scale and shift not counted."""
        own = any(array.ndim > 1 for _, array in self.weights)
        return own + sum(step.layers for body in self.bodies for step in body.steps)

    @property
    def is_weighted(self) -> bool:
        return any(True for _ in self.all_weights())


@dataclass(frozen=True, eq=False)
class Body:
    """Steps in order, from ``inputs``, of which the first is the current value in the beginning, to ``output``."""

    inputs: tuple[Value, ...]
    steps: tuple[Step, ...]
    output: Value


def inputs_of(steps: Sequence[Step]) -> tuple[Value, ...]:
    """The tensors that steps read and do not make, in the order in which they first read them."""
    made: set[Value] = set()
    found: dict[Value, None] = {}
    for step in steps:
        found.update((value, None) for value in step.values if value not in made)
        made.update(step.results)
    return tuple(found)


def readers_of(steps: Iterable[Step]) -> dict[Value, list[Step]]:
    """The steps that read each value, one for each time."""
    found: dict[Value, list[Step]] = {}
    for step in steps:
        for value in step.values:
            found.setdefault(value, []).append(step)
    return found


def common_path(steps: Sequence[Step]) -> str:
    """The path that the steps with weights have in common."""
    paths = [step.path.split(".") for step in steps if step.is_weighted]
    same = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        same.append(parts[0])
    return ".".join(same)
