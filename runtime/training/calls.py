"""What a step calls of its program: one function for each minimize statement or, where a step takes several batches,
one for each of them and then the update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from compiler.diagnostics import Diagnostic, DiagnosticError, error
from compiler.ir.dims import evaluate
from compiler.ir.graph import Graph, Role
from compiler.passes.accumulate import BEFORE, SHARE, sum_name
from compiler.program import TrainProgram
from runtime.data.batches import Batches
from runtime.disk.tensors import Array
from runtime.programs.visible import visible
from runtime.training.evaluation import Executor


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
        self.state = visible(
            {
                value.name: np.zeros([evaluate(dim, {}) for dim in value.type.shape], value.type.dtype.numpy)
                for graph in (*program.steps, *program.updates)
                for value in graph.inputs_of(Role.STATE)
                if value.name in own
            }
        )

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

    def sums(self, index: int) -> dict[str, Array]:
        """The sums of gradients that minimize statement ``index`` has made of the last step, by name."""
        return {name: self.state[name] for name in self._sums[index]}

    def _note(self, before: int, share: float) -> None:
        for name, number in ((BEFORE, before), (SHARE, share)):
            if name in self.state:
                self.state[name][...] = number


def batches_of(rows: int, size: int) -> Iterator[tuple[int, int]]:
    """The batches of a step: where each begins, and its samples."""
    for start in range(0, rows, size):
        yield start, min(size, rows - start)


def check_batches(program: TrainProgram, engine: Executor, batches: Batches) -> None:
    """Has the steps made ready for the batches of an epoch, its last one included, which may be small. Raises
    DiagnosticError E0614 where a layer can't take one."""
    size, last = program.settings.batch, batches.count(len(batches) - 1)
    rows = [count for samples in (batches.size, last) for _, count in batches_of(samples, size)]
    for count in dict.fromkeys(rows):
        for graph in program.steps:
            try:
                engine.bind(graph.name, batches.blank(count))
            except ValueError as refusal:
                refused = _refused_batch(count, len(batches.data), size, str(refusal))
                raise DiagnosticError([refused]) from None


def _refused_batch(count: int, total: int, size: int, sentence: str) -> Diagnostic:
    size = min(size, total)
    samples = f"{count} sample{'s' * (count != 1)}"
    title = f"the network can't be trained on a batch of {samples}"
    if count == size:
        advice = "take a larger `batch`" if size < total else "train on more samples"
        return error("E0614", title, None, notes=sentence, help=advice)
    left = f"{total} samples in batches of {size} leave {samples} for the last one"
    better = next((n for n in range(size - 1, count, -1) if (total % n or n) > count), total)
    return error("E0614", title, None, notes=[sentence, left], help=f"take another size, for example `batch {better}`")
