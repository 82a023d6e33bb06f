"""A graph while the front end writes it: the builder, the weights met so far, random streams, stages."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from compiler.diagnostics import Span
from compiler.front.catalogue.entry import Initialiser
from compiler.front.limits import check_type
from compiler.front.patterns import belongs
from compiler.front.scope import Scope
from compiler.ir.dims import Dim
from compiler.ir.graph import Origin, Role, Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.emit import Emit
from compiler.program import Compared, IndexRange, ModelCall, Stage, Weight


class StrayWeight(Exception):
    """A layer with weights where there is no model to own them."""


@dataclass(frozen=True, slots=True)
class TracedWeight:
    """A weight with the value that stands for it in this graph, and how it begins."""

    weight: Weight
    value: Value
    init: Initialiser


@dataclass(frozen=True, slots=True)
class _Update:
    """The next content of a statistic, and what the layer gave in each of its uses."""

    value: Value
    results: tuple[Value, ...]


class _Bounded(Emit):
    """Refuses values that no program could hold."""

    def _value(self, type: TensorType, name: str) -> Value:
        check_type(type)
        return super()._value(type, name)


@dataclass
class Trace:
    """One graph under construction, and what the catalogue's entries see of it (their ``Context``)."""

    name: str
    training: bool
    has_state: bool  # a train block's graph carries seed and step; a model's takes the seed as an input
    b: Emit = field(init=False)
    weights: dict[str, TracedWeight] = field(default_factory=dict)
    ranges: list[IndexRange] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    calls: list[ModelCall] = field(default_factory=list)
    recorded: Scope | None = None  # the body whose stages are noted
    weightless: str = ""  # the path under which no weight may be made: that of a train block
    frozen_parts: tuple[str, ...] = ()  # the paths of what is not trained
    steady: bool = False  # whether random numbers are the same in every step
    owners: dict[str, Span] = field(default_factory=dict)  # the models met so far, and where they are declared
    _augmented: dict[Value, str] = field(default_factory=dict)  # what augmentation made, and of which input
    _changed_again: set[Value] = field(default_factory=set)  # those of them that another augmentation took
    _updates: dict[str, _Update] = field(default_factory=dict)
    _new_weights: list[Weight] = field(default_factory=list)
    _state: dict[str, Value] = field(default_factory=dict)
    _streams: int = 0
    _placeholders: int = 0

    def __post_init__(self) -> None:
        self.b = _Bounded(self.name)

    @contextmanager
    def at(self, span: Span, scope: str) -> Iterator[None]:
        """Stamp the place ``span`` and the path ``scope`` on what is added inside."""
        with self.b.at(Origin((span,), scope)):
            yield

    def weight(self, name: str, type: TensorType, init: Initialiser, *, decays: bool = True) -> Value:
        """The weight ``name`` under the current path; the same one again where it was made before."""
        origin = self.b.origin
        if self.weightless and f"{origin.scope}.".startswith(f"{self.weightless}."):
            raise StrayWeight(name)
        return self.adopt(Weight(f"{origin.scope}.{name}", type, origin.spans[0], decays), init)

    def statistic(self, name: str, type: TensorType, init: Initialiser) -> Value:
        """The statistic ``name`` under the current path, as the uses before this one in the step left it."""
        origin = self.b.origin
        if self.weightless and f"{origin.scope}.".startswith(f"{self.weightless}."):
            raise StrayWeight(name)
        return self.follow(Weight(f"{origin.scope}.{name}", type, origin.spans[0], False, trainable=False), init)

    def follow(self, weight: Weight, init: Initialiser) -> Value:
        """A statistic that is described whole, as the uses before this one in the step left it."""
        value = self.adopt(weight, init)
        return self._updates[weight.name].value if weight.name in self._updates else value

    def update(self, name: str, value: Value, result: Value) -> None:
        """Let ``value`` be the content of the statistic after a step whose loss needs ``result``."""
        self.lead(f"{self.b.origin.scope}.{name}", value, result)

    def lead(self, full: str, value: Value, result: Value) -> None:
        """:meth:`update` for the whole name of a statistic."""
        before = self._updates.get(full)
        self._updates[full] = _Update(value, (*(before.results if before else ()), result))

    def updates_behind(self, needed: Container[Value]) -> Iterator[tuple[str, Value]]:
        """The statistics to update, with their next content, where a layer's result is among ``needed``."""
        for name, update in self._updates.items():
            if any(result in needed for result in update.results):
                yield name, update.value

    @property
    def frozen(self) -> bool:
        """Whether what is being built is in a part of a model that is not trained."""
        return any(belongs(self.b.origin.scope, part) for part in self.frozen_parts)

    def adopt(self, weight: Weight, init: Initialiser) -> Value:
        """The value of a weight that is described whole; the same one again where it was made before."""
        known = self.weights.get(weight.name)
        if known is None:
            known = TracedWeight(weight, self.b.input(weight.name, weight.type, Role.WEIGHT), init)
            self.weights[weight.name] = known
            self._new_weights.append(weight)
        elif known.weight.type != weight.type:
            raise TypeMismatch(
                "E0301",
                f"{weight.name} is {known.weight.type} in one use and {weight.type} in another",
                "shared weights have to have one type",
            )
        return known.value

    def new_weights(self) -> tuple[Weight, ...]:
        """The weights met since this was last asked."""
        found = tuple(self._new_weights)
        self._new_weights.clear()
        return found

    def placeholder(self, name: str, type: TensorType) -> Value:
        """A value that stands for what could not be built; the graph is given up later. The name gets a number."""
        self._placeholders += 1
        return self.b.input(f"{name}{self._placeholders}", type)

    def random(self) -> tuple[Value, Value, int]:
        """Seed, counter and a stream of its own for one more random tensor."""
        self._streams += 1
        return self._kept("seed"), self._counter(), self._streams

    def augment(self, given: Sequence[Value], results: Sequence[Value]) -> None:
        """Note that an augmentation made these results of what it was given, one of each."""
        for before, after in zip(given, results, strict=True):
            if before is not after:
                self._augmented[after] = self._augmented.get(before, before.name)
                self._changed_again.add(before)

    def augmented(self) -> dict[str, Value]:
        """What augmentation made in the end, under the names of the inputs: a second view of one is ``image_2``."""
        found: dict[str, Value] = {}
        for value, name in self._augmented.items():
            if value not in self._changed_again:
                count = sum(other == name or other.startswith(f"{name}_") for other in found)
                found[f"{name}_{count + 1}" if count else name] = value
        return found

    def index_range(self, indices: Value, size: Dim, ignored: int | None = None) -> None:
        """Note that the data array ``indices`` has to stay below ``size``; what was computed is not checked."""
        if self.b.producer(indices) is None and isinstance(size, int):
            self.ranges.append(IndexRange(indices.name, size, self.b.origin.spans[0], ignored))

    def _counter(self) -> Value:
        counts = self.has_state and not self.steady
        return self._kept("step") if counts else self.b.constant(np.array(0, np.int64))

    def _kept(self, name: str) -> Value:
        if name not in self._state:
            role = Role.STATE if self.has_state else Role.DATA
            self._state[name] = self.b.input(name, TensorType(DType.I64), role)
        return self._state[name]
