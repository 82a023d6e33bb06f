"""dlc, as ``dlc train`` runs it: the generated module in its engine, on as many threads as there are processors."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import compiler
from benchmarks.steps import Steps
from benchmarks.workloads import Array, Workload
from runtime.programs.blas import single_threaded_blas
from runtime.programs.engine import Engine
from runtime.programs.project import open_project
from runtime.training.loop import initial_state

NETWORKS = Path(__file__).parent.parent / "networks"


def make(workload: Workload) -> Steps:
    """The steps of the train block in the workload's model file."""
    program = open_project(NETWORKS / f"{workload.network}.dl", workload.constants).train()
    make_engine = partial(Engine, compiler.train_module(program))
    engine = make_engine(initial_state(program, make_engine))
    batches = [{"x": x, "y": y} for x, y in workload.data()]
    # As around the loop of a training; here for as long as the process lives.
    single_threaded_blas().__enter__()
    functions = [f"step{index}" for index in range(len(program.steps))]

    def step(number: int) -> Array:
        inputs = batches[number % len(batches)]
        losses = [engine.call(function, inputs)["loss"] for function in functions]
        return losses[0]

    sizes = [engine.kept[weight.name].size for weight in program.weights if weight.trainable]
    return Steps(step, float, sum(sizes))
