"""What an ONNX file is worth: the loss and the measures of a train block, with the file in place of its model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

import compiler
from compiler.diagnostics import DiagnosticError, error
from compiler.passes.cut import without_model
from compiler.program import EvaluationParts
from runtime.data.batches import Batches, DataSet
from runtime.disk.tensors import Array
from runtime.programs.engine import Engine
from runtime.training.evaluation import evaluate
from runtime.training.job import Job
from runtime.training.loop import initial_state

# Takes the inputs of a model by name and gives its outputs.
Runner: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True)
class Judge:
    """Evaluates a train block with other programs in place of one of its models. Made by :func:`judge_of`."""

    job: Job
    parts: EvaluationParts
    engine: Engine

    def measured(self, run: Runner, data: DataSet) -> dict[str, float]:
        """The loss and every measure that is a number over ``data``, where ``run`` computes the model. Raises
        DiagnosticError E0702 for a loss that is NaN or infinite."""
        return dict(evaluate(self.job.program, _Replaced(self, run), data).figures)

    def figures(self, run: Runner, data: DataSet) -> dict[str, float]:
        """The same, but that all figures are NaN where the loss of a batch is NaN or infinite."""
        try:
            return self.measured(run, data)
        except DiagnosticError as failure:
            if failure.diagnostics[0].code != "E0702":
                raise
            names = ["loss", *(measure.name for measure in self.job.program.measures if not measure.is_table)]
            return dict.fromkeys(names, math.nan)

    def batches(self, run: Runner, data: DataSet) -> Iterator[dict[str, Array]]:
        """What the model is given on the way through ``data``, arrays by the names of its inputs, with the batches that
        training has."""
        for inputs in Batches(data, self.job.program.settings.batch, seed=None).once():
            yield from self._calls(run, inputs)[0]

    def call(self, run: Runner, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """One batch evaluated: the loss and the totals of the measures."""
        _, results = self._calls(run, inputs)
        return self.engine.call(self.parts.rest.name, {**inputs, **results})

    def _calls(self, run: Runner, inputs: Mapping[str, Array]) -> tuple[list[dict[str, Array]], dict[str, Array]]:
        """What each use of the model is given, and all that they give, by the names that later graphs have for it."""
        given: list[dict[str, Array]] = []
        results: dict[str, Array] = {}
        for call in self.parts.calls:
            arrays = self.engine.call(call.graph.name, {**inputs, **results})
            given.append({name: np.array(array) for name, array in arrays.items()})
            outputs = run(given[-1])
            results |= {key: np.array(outputs[name]) for name, key in call.results.items()}
        return given, results


@dataclass(frozen=True)
class _Replaced:
    """The program of a train block as evaluation calls it."""

    judge: Judge
    run: Runner

    @property
    def kept(self) -> Mapping[str, Array]:
        return self.judge.engine.kept

    def call(self, name: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return self.judge.call(self.run, inputs)

    def bind(self, name: str, inputs: Mapping[str, Array]) -> None:
        """Nothing has to be made ready."""


def judge_of(job: Job, model: str, weights: Mapping[str, Array]) -> Judge:
    """The judge of files of ``model``; ``weights`` are those of the whole train block, as far as they are known.

    Raises DiagnosticError E0931 where the block's evaluation does not run the model as a whole.
    """
    elaborated = job.project.checked.elaborated
    train, outputs = elaborated.trains[job.program.name], elaborated.models[model].graph.outputs
    uses = [call for call in train.calls if call.model == model]
    parts = without_model(train.evaluate, uses, [output.name for output in outputs])
    if parts is None:
        title = f"the train block `{job.program.name}` can't tell what a smaller {model} loses: it never runs {model}"
        advice = "name the block that trains this model with --train, or call the model in its loss and its measures"
        raise DiagnosticError([error("E0931", title, None, help=advice)])
    module = compiler.numpy_module(parts.graphs, f"the evaluation of {job.program.name} around {model}")
    kept = initial_state(job.program, job.make_engine) | dict(weights)
    return Judge(job, parts, Engine(module, kept, job.program.name))
