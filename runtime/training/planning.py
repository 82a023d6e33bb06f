"""How much memory a program takes, worked out before it runs: for training, and for inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import compiler
from compiler.ir.dims import Dim, Symbol, as_symbol, evaluate, symbols
from compiler.ir.graph import Graph, Role
from compiler.ir.types import TensorType
from compiler.passes.accumulate import sum_name
from compiler.program import ModelProgram, Settings, TrainProgram
from compiler.sources import DataSource
from runtime.data.batches import DataSet

# What a size is taken to be that nothing bounds.
_TYPICAL = 32


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by what they are for, where the symbols have these ``sizes``: everything but the data and Python itself."""

    parts: Mapping[str, int]
    sizes: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.parts.values())


def plan_training(program: TrainProgram, sizes: Mapping[str, int], last: int | None = None) -> MemoryPlan:
    """The memory of a training on batches of ``sizes``, the last one of an epoch with ``last`` samples if that is
    another number: weights, gradients, the state of the optimizer, what a step and a validation work in."""
    kept = {output.name: bytes_of(output.value.type) for output in program.initial.outputs}
    weights = sum(kept.get(weight.name, 0) for weight in program.weights)
    state = sum(kept.values()) - weights
    sums = {
        value.name: bytes_of(value.type)
        for graph in program.updates
        for weight in graph.inputs_of(Role.WEIGHT)
        for value in graph.inputs_of(Role.STATE)
        if value.name == sum_name(weight.name)
    }
    settings = program.settings
    # A copy to go back to where numbers get out of hand, and one of the best weights.
    copies = weights + state + (weights if settings.stop else 0)
    batch = sum(evaluate(value.type.size, sizes) * value.type.dtype.bytes for value in program.inputs)
    evaluated = settings.validate is not None or settings.test is not None
    steps = sum(_step_memory(program, graph, sizes, last) for graph in program.steps)
    alone = [graph for graph in (*program.updates, program.average) if graph is not None]
    parts = {
        "weights": weights,
        "state of the optimizer": state,
        "sums of gradients": sum(sums.values()),
        "copies of weights and state": copies,
        "batches": batch * (settings.accumulate + evaluated),
        "a step: activations, gradients": steps + sum(compiler.planned_memory(graph, {}) for graph in alone),
        "validation": _step_memory(program, program.evaluate, sizes, None) if evaluated else 0,
    }
    return MemoryPlan({name: size for name, size in parts.items() if size}, sizes)


def _step_memory(program: TrainProgram, graph: Graph, sizes: Mapping[str, int], last: int | None) -> int:
    size, symbol = compiler.planned_memory(graph, sizes, program), program.batch_symbol
    if last is None or last == sizes[symbol]:
        return size
    return size + compiler.planned_memory(graph, {**sizes, symbol: last}, program)


def plan_inference(program: ModelProgram, sizes: Mapping[str, int]) -> MemoryPlan:
    """The memory of the model's NumPy program on inputs of ``sizes``."""
    weights = sum(bytes_of(weight.type) for weight in program.weights)
    inputs = sum(
        evaluate(value.type.size, sizes) * value.type.dtype.bytes for value in program.graph.inputs_of(Role.DATA)
    )
    working = compiler.planned_memory(compiler.inference_graph(program), sizes)
    return MemoryPlan({"weights": weights, "inputs": inputs, "activations": working}, sizes)


def training_sizes(program: TrainProgram, batch: int | None = None) -> dict[str, int]:
    """A size for each symbol of the program's inputs: that of its batches, or ``batch``; of windows of a text, what the
    train block says; of others their bound or, where there is none, a typical one."""
    found = _sizes({s.name: s for value in program.inputs for s in value.type.symbols}, _window(program.settings))
    return found | {program.batch_symbol: batch or program.settings.batch}


def data_sizes(program: TrainProgram, data: DataSet) -> dict[str, int]:
    """The sizes of a whole batch of ``data``."""
    sizes = training_sizes(program, min(program.settings.batch, len(data)))
    for value in program.inputs:
        for dim, size in zip(value.type.shape[1:], data.arrays[value.name].shape[1:], strict=True):
            found = as_symbol(dim)
            sizes |= {found.name: size} if found else {}
    return sizes


def inference_sizes(program: ModelProgram, batch: int) -> dict[str, int]:
    """The same for a model's inputs, of which the first symbol counts samples."""
    inputs = program.graph.inputs_of(Role.DATA)
    found = _sizes({s.name: s for value in inputs for s in value.type.symbols}, None)
    first = next((symbols(value.type.shape[0]) for value in inputs if value.type.rank), ())
    return found | {s.name: batch for s in list(first)[:1]}


def _sizes(known: Mapping[str, Symbol], window: int | None) -> dict[str, int]:
    return {name: window or s.upper or s.nearest(_TYPICAL) for name, s in known.items()}


def _window(settings: Settings) -> int | None:
    data = settings.data
    found = data.arguments.get("window") if isinstance(data, DataSource) else None
    return found if isinstance(found, int) else None


def bytes_of(type: TensorType) -> int:
    """The bytes of a tensor whose sizes are numbers."""
    size: Dim = type.size
    return evaluate(size, {}) * type.dtype.bytes
