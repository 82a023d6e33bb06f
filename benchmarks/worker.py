"""One contender in a process of its own: ``python -m benchmarks.worker CONTENDER WORKLOAD``.

It tells when it is ready, as a line of JSON, then makes as many steps as each line of its input says and tells how long
they took. What libraries print goes to the standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path

from benchmarks.contenders import CONTENDERS
from benchmarks.workloads import WORKLOADS


def main(name: str, workload_name: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**content: object) -> None:
        print(json.dumps(content), file=answers, flush=True)

    contender, workload, begun = CONTENDERS[name], WORKLOADS[workload_name], time.perf_counter()
    try:
        make = importlib.import_module(contender.module).make
    except ImportError as absence:
        answer(absent=str(absence))
        return
    imported = time.perf_counter()
    steps = make(workload, **contender.options)
    made = time.perf_counter()
    loss = steps.loss(steps.step(0))
    stepped = time.perf_counter()
    answer(
        parameters=steps.parameters,
        loss=loss,
        imported=imported - begun,
        made=made - imported,
        stepped=stepped - made,
        cpu=processor_seconds(),
        peak=peak_bytes(),
    )
    done = 1
    for line in sys.stdin:
        count, wall, cpu = int(line), time.perf_counter(), processor_seconds()
        for number in range(done, done + count):
            handle = steps.step(number)
        loss = steps.loss(handle)
        answer(wall=time.perf_counter() - wall, cpu=processor_seconds() - cpu, loss=loss)
        done += count


def processor_seconds() -> float:
    """What this process has taken of the processors, and those that it has forked and that still are: dlc's helpers."""
    forked = (pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split())
    nanoseconds = sum(int(Path("/proc", pid, "schedstat").read_text().split()[0]) for pid in forked)
    return time.process_time() + nanoseconds / 1e9


def peak_bytes() -> int | None:
    """The most memory that this process ever held; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM")]
    return 1024 * int(lines[0][1]) if lines else None


if __name__ == "__main__":
    main(*sys.argv[1:])
