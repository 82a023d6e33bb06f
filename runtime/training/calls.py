"""What a step calls of its program: one function for each minimize statement or, where a step takes several batches,
one for each of them and then the update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from compiler.ir.dims import evaluate
from compiler.ir.graph import Graph, Role
from compiler.passes.accumulate import BEFORE, SHARE, sum_name
from compiler.program import TrainProgram
from runtime.disk.tensors import Array


@dataclass(frozen=True)
class Call:
    """One call of the function of ``graph`` on ``inputs``, which are ``rows`` samples; an update by itself takes 0."""

    graph: Graph
    inputs: Mapping[str, Array]
    rows: int


class Calls:
    """Those of the steps of one run. ``state`` is what they keep beside weights and the optimizer's state, by name; it
    says nothing between two steps."""

    def __init__(self, program: TrainProgram) -> None:
        self._program = program
        self._sums = [[sum_name(weight.name) for weight in graph.inputs_of(Role.WEIGHT)] for graph in program.updates]
        own = {SHARE, BEFORE}.union(*self._sums)
        self.state: dict[str, Array] = {
            value.name: np.zeros([evaluate(dim, {}) for dim in value.type.shape], value.type.dtype.numpy)
            for graph in (*program.steps, *program.updates)
            for value in graph.inputs_of(Role.STATE)
            if value.name in own
        }

    def of(self, index: int, inputs: Mapping[str, Array], rows: int) -> Iterator[Call]:
        """The calls for minimize statement ``index`` on a step's samples, one after the other: the state is made ready
        for each before it is given."""
        program = self._program
        if not program.updates:
            yield Call(program.steps[index], inputs, rows)
            return
        for name in self._sums[index]:
            self.state[name].fill(0)
        for start, size in batches_of(rows, program.settings.batch):
            self._note(start, size / rows)
            part = {name: array[start : start + size] for name, array in inputs.items()}
            yield Call(program.steps[index], part, size)
        yield Call(program.updates[index], {}, 0)

    def _note(self, before: int, share: float) -> None:
        for name, number in ((BEFORE, before), (SHARE, share)):
            if name in self.state:
                self.state[name][...] = number


def batches_of(rows: int, size: int) -> Iterator[tuple[int, int]]:
    """The batches of a step: where each begins, and its samples."""
    for start in range(0, rows, size):
        yield start, min(size, rows - start)
