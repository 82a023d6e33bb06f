"""ONNX files of one network in ONNX Runtime, in one process, in turns.

Sessions run on the thread that calls them, and what is counted is the processor time of that thread: the time on
the clock where nothing else runs, and nearly the same where something does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any

import onnx
import onnxruntime

from benchmarks.examples import Input
from benchmarks.workloads import Array
from compiler.targets.onnx.inner import all_nodes

ROWS = (1, 64)
OPTIMISED = (False, True)
# Where the arrays of a session lie in memory makes up to 5% of a small network, so that each file has several.
SESSIONS = 5


@dataclass
class File:
    """What one exporter wrote for one network. ``seconds`` has the time of a run in each turn, by whether ONNX Runtime
    optimised the graph and by the number of rows; ``problem`` says why there are none, ``note`` what is less than
    asked for."""

    exporter: str
    path: Path | None = None
    nodes: int = 0
    bytes: int = 0
    seconds: dict[tuple[bool, int], list[float]] = field(default_factory=dict)
    problem: str | None = None
    note: str = ""

    def time(self, optimised: bool, rows: int) -> float:
        """The median time of a run in seconds."""
        return median(self.seconds[optimised, rows])


def ratio(one: File, other: File, optimised: bool, rows: int) -> float:
    """The median over the turns of what one takes of what the other takes beside it."""
    pairs = zip(one.seconds[optimised, rows], other.seconds[optimised, rows], strict=True)
    return median(first / second for first, second in pairs)


def best(files: Sequence[File], optimised: bool, rows: int, own: str = "dlc") -> File | None:
    """The fastest file that is not our own; None where there is none."""
    peers = [file for file in files if file.exporter != own and file.seconds]
    return min(peers, key=lambda file: file.time(optimised, rows)) if peers else None


def measure(files: Sequence[File], inputs: Sequence[Input], rounds: int, seconds: float) -> None:
    """Fill in what the files are and how long a run takes, in turns of about so many ``seconds``. One that ONNX Runtime
    does not load, or can't run on each number of rows, gets a problem."""
    for file in files:
        if file.path is not None and file.problem is None:
            _look(file, inputs)
    running = [file for file in files if file.problem is None]
    for optimised in OPTIMISED:
        sessions = [{file.exporter: session_of(file, optimised) for file in running} for _ in range(SESSIONS)]
        for rows in ROWS:
            feeds = {name: _feed(session, inputs, rows) for name, session in sessions[0].items()}
            timed = turns(sessions, feeds, rounds, seconds)
            for file in running:
                file.seconds[optimised, rows] = timed[file.exporter]


def turns(
    sessions: Sequence[Mapping[str, Any]], feeds: Mapping[str, Mapping[str, Array]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """The time of a run of each in each turn, by name: ``sessions`` are several of each, of which one runs in a turn of
    about so many ``seconds``."""
    counts = {name: _count(session, feeds[name], seconds) for name, session in sessions[0].items()}
    timed: dict[str, list[float]] = {name: [] for name in feeds}
    for number in range(rounds):
        # Who comes first changes, as the one after it finds other caches.
        for name in list(feeds)[:: 1 if number % 2 else -1]:
            run, feed, count = sessions[number % SESSIONS][name].run, feeds[name], counts[name]
            run(None, feed)
            begun = thread_time()
            for _ in range(count):
                run(None, feed)
            timed[name].append((thread_time() - begun) / count)
    return timed


def _count(session: Any, feed: Mapping[str, Array], seconds: float) -> int:
    """How many runs take about ``seconds``, once it is warm."""
    taken = []
    for _ in range(5):
        begun = thread_time()
        session.run(None, feed)
        taken.append(thread_time() - begun)
    return max(1, int(seconds / max(min(taken), 1e-7)))


def _look(file: File, inputs: Sequence[Input]) -> None:
    assert file.path is not None
    file.bytes = file.path.stat().st_size
    try:
        model = onnx.load(file.path)
        called = (node for function in model.functions for node in function.node)
        file.nodes = sum(1 for _ in all_nodes(chain(model.graph.node, called)))
        for optimised in OPTIMISED:
            session = session_of(file, optimised)
            for rows in ROWS:
                found = session.run(None, _feed(session, inputs, rows))[0]
                if found.shape[0] != rows:
                    file.problem = f"gives {found.shape[0]} rows for {rows}"
    except Exception as failure:  # ONNX Runtime has many kinds, and any of them is the file's
        words = re.sub(r"Load model from .*? failed:", "", str(failure).strip().splitlines()[0])
        file.problem = f"does not run: {words[:90]}"


def session_of(file: File, optimised: bool) -> Any:
    """A session of the file on one thread, with ONNX Runtime's own optimisations or without."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(file.path), options, providers=["CPUExecutionProvider"])


def _feed(session: Any, inputs: Sequence[Input], rows: int) -> dict[str, Array]:
    """The same rows for every file, pictures channels last where it has them so."""
    feed, ports = {}, session.get_inputs()
    if len(ports) != len(inputs):
        raise ValueError(f"takes {len(ports)} inputs where the network has {len(inputs)}")
    for port, item in zip(ports, inputs, strict=True):
        array = item.rows(rows)
        if array.ndim == 4 and port.shape[3] == array.shape[1] != port.shape[1]:
            array = array.transpose(0, 2, 3, 1).copy()
        feed[port.name] = array
    return feed
