"""One batch to look into a training with: of its own data, or random where there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.diagnostics import DiagnosticError
from runtime.data.batches import Batches
from runtime.disk.tensors import Array
from runtime.inference.cases import random_inputs, size_cases
from runtime.training.job import Job

_NO_DATA = "E0613"


@dataclass(frozen=True)
class Batch:
    """Arrays by name; ``source`` says where they are from."""

    inputs: dict[str, Array]
    source: str


def first_batch(job: Job, samples: int) -> Batch:
    """The first ``samples`` of the job's training samples, or random ones where it names no data.

    Raises DiagnosticError for data that can't be read or does not fit.
    """
    try:
        data = job.prepare().train
    except DiagnosticError as problem:
        if [found.code for found in problem.diagnostics] != [_NO_DATA]:
            raise
        return _random(job, samples)
    batches = Batches(data, samples, job.program.settings.seed)
    inputs = {name: array.copy() for name, array in batches.at(1, 0).items()}
    return Batch(inputs, f"{batches.count(0)} samples of {data.source}")


def _random(job: Job, samples: int) -> Batch:
    program = job.program
    first = {program.batch_symbol: samples}
    sizes = next(({**case, **first} for case in size_cases(program.evaluate)), first)
    ranges = {limit.input: limit.size for limit in program.ranges}
    generator = np.random.default_rng(program.settings.seed)
    return Batch(random_inputs(program.inputs, sizes, ranges, generator, unit=True), f"{samples} random samples")
