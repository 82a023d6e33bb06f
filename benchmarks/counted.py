"""What is counted, in a process of its own: ``python -m benchmarks.counted CASE ROUNDS``.

Each case makes ready, tells whoever counts by a call of ``getpgid``, does its work so many times and ends at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def _check(example: str) -> Callable[[], object]:
    from dlc.overview import overview
    from runtime.programs.project import open_project

    return lambda: overview(open_project(EXAMPLES / f"{example}.dl"))


def _compile(example: str) -> Callable[[], object]:
    import compiler
    from runtime.programs.project import open_project

    project = open_project(EXAMPLES / f"{example}.dl")
    return lambda: compiler.train_module(compiler.compile_train(project.checked, project.checked.trains[0]))


def _export(example: str) -> Callable[[], object]:
    import compiler
    from runtime.programs.project import open_project
    from runtime.training.weights import fresh_weights

    project = open_project(EXAMPLES / f"{example}.dl")
    program = project.model(project.checked.models[0])
    weights = fresh_weights(project, program)
    compiler.onnx_file(program, weights)  # so that libraries are imported
    return lambda: compiler.onnx_file(program, weights)


def _step(workload: str) -> Callable[[], object]:
    from benchmarks.steps.dlc import make
    from benchmarks.workloads import WORKLOADS

    steps = make(WORKLOADS[workload])
    steps.step(0)
    return lambda: steps.step(0)


# How a case is made ready, and how often its work is counted.
CASES: dict[str, tuple[Callable[[], Callable[[], object]], int]] = {
    "check digits": (lambda: _check("digits"), 1),
    "check shakespeare": (lambda: _check("shakespeare"), 1),
    "compile digits": (lambda: _compile("digits"), 1),
    "compile gan": (lambda: _compile("gan"), 1),
    "compile shakespeare": (lambda: _compile("shakespeare"), 1),
    "export mnist_conv": (lambda: _export("mnist_conv"), 1),
    "export dates": (lambda: _export("dates"), 1),
    "step xor": (lambda: _step("xor"), 20),
    "step mlp_wide": (lambda: _step("mlp_wide"), 5),
    "step conv28": (lambda: _step("conv28"), 1),
    "step rnn": (lambda: _step("rnn"), 2),
    "step lstm": (lambda: _step("lstm"), 1),
    "step gpt": (lambda: _step("gpt"), 1),
    "step gan": (lambda: _step("gan"), 1),
}


def main(case: str, rounds: int) -> None:
    work = CASES[case][0]()
    os.getpgid(0)
    for _ in range(rounds):
        work()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
