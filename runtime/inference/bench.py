"""How fast ONNX files are, side by side: they take turns, so that what else the machine does meets all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeAlias, TypeVar

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from compiler.ir.dims import Symbol
from compiler.targets.onnx.metadata import bounds
from runtime.data.columns import ArrayOrColumn, gather
from runtime.disk.tensors import Array
from runtime.inference.cases import random_array
from runtime.inference.feed import rows_symbol
from runtime.inference.session import Device, InferenceSession

# Of symbols that are not the batch, where the file does not bound them.
_SIZE = 16
_SEED = 0
_WARM_UPS, _STARTS = 3, 3
Clock: TypeAlias = Callable[[], float]
_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Plan:
    """What is measured: ``runs`` runs for each of ``rows`` and ``threads`` (None is what ONNX Runtime chooses).
    ``sizes`` are those of symbols; ``data`` has arrays to take the rows of inputs from, in place of random ones."""

    rows: Sequence[int] = (1, 16, 128)
    threads: Sequence[int | None] = (None,)
    runs: int = 50
    device: Device = "cpu"
    sizes: Mapping[str, int] = field(default_factory=dict)
    data: Mapping[str, ArrayOrColumn] = field(default_factory=dict)


@dataclass(frozen=True)
class Speed:
    """One file with this many rows and threads: ``seconds`` of each run in their order, and the median of what they
    are of those of the first file, run by run."""

    rows: int
    threads: int | None
    seconds: tuple[float, ...]
    ratio: float

    def percentile(self, share: int) -> float:
        """The time in seconds that ``share`` percent of the runs did not take longer than, linearly interpolated."""
        return float(np.percentile(self.seconds, share))

    @property
    def throughput(self) -> float:
        """Rows a second at the median."""
        return self.rows / max(self.percentile(50), 1e-12)


@dataclass(frozen=True)
class Measured:
    """One file: the median time from its path to a session, what its process grew by at most to hold it and run the
    most rows (bytes; None where the system does not tell), and its speeds."""

    file: str
    bytes: int
    start: float
    memory: int | None
    speeds: tuple[Speed, ...]


def measure(files: Sequence[Path], plan: Plan, clock: Clock = perf_counter) -> list[Measured]:
    """Measures ``files``, of which each is run once in every turn. Raises DiagnosticError for what can't be opened or
    run (E0905 to E0913)."""
    starts: dict[Path, list[float]] = {file: [] for file in files}
    for _ in range(_STARTS):
        for file in files:
            before = clock()
            InferenceSession(file, plan.device)
            starts[file].append(clock() - before)
    speeds: dict[Path, list[Speed]] = {file: [] for file in files}
    for threads in plan.threads:
        sessions = {file: InferenceSession(file, plan.device, threads=threads) for file in files}
        for rows in _rows_of_all(list(sessions.values()), plan.rows):
            inputs = {file: inputs_for(session, rows, plan) for file, session in sessions.items()}
            timed = take_turns(sessions, inputs, plan.runs, clock)
            first = timed[files[0]]
            for file, seconds in timed.items():
                speeds[file].append(Speed(rows, threads, tuple(seconds), ratio(seconds, first)))
    return [
        Measured(str(file), file.stat().st_size, median(starts[file]), _memory(file, plan), tuple(speeds[file]))
        for file in files
    ]


def take_turns(
    sessions: Mapping[_Key, InferenceSession],
    inputs: Mapping[_Key, Mapping[str, Array]],
    runs: int,
    clock: Clock = perf_counter,
) -> dict[_Key, list[float]]:
    """The seconds of each of ``runs`` runs of every session, which run one after another in each turn."""
    for key, session in sessions.items():
        session.warm_up(inputs[key], _WARM_UPS)
    timed: dict[_Key, list[float]] = {key: [] for key in sessions}
    for turn in range(runs):
        # Who comes first alternates, as the one after it finds other caches.
        order = list(sessions) if turn % 2 == 0 else list(sessions)[::-1]
        for key in order:
            before = clock()
            sessions[key].run(inputs[key])
            timed[key].append(clock() - before)
    return timed


def ratio(own: Sequence[float], others: Sequence[float]) -> float:
    """The median of what times are of other ones, turn by turn."""
    return median(a / max(b, 1e-12) for a, b in zip(own, others, strict=True))


def _rows_of_all(sessions: Sequence[InferenceSession], asked: Sequence[int]) -> list[int]:
    """The numbers of rows that every file takes, each once."""
    found = [min(session.most_rows(rows) for session in sessions) for rows in asked]
    return list(dict.fromkeys(found))


def inputs_for(session: InferenceSession, rows: int, plan: Plan) -> dict[str, Array]:
    """Arrays of ``rows`` rows for every input: from the data of the plan, of which rows come again where it has too
    few, or seeded random ones. Floats are standard normal; whole numbers are those of the range that the file
    tells, or for which it has names, all that 8 bits hold, or else 0 and 1, which any index allows."""
    generator = np.random.default_rng(_SEED)
    told, known = session.description, bounds(session.metadata)
    made: dict[str, Array] = {}
    for port in session.inputs:
        given = plan.data.get(port.name)
        if given is not None:
            made[port.name] = gather(given, np.arange(rows) % max(1, len(given)))
            continue
        shape = [_size(size, axis, rows, plan, known) for axis, size in enumerate(port.shape or ())]
        highest = told.ranges[port.name][1] if port.name in told.ranges else len(told.names.get(port.name, ())) - 1
        made[port.name] = random_array(port.dtype, tuple(shape), highest + 1 or None, generator, unit=False)
    return made


def _size(size: int | str | None, axis: int, rows: int, plan: Plan, known: Mapping[str, Symbol]) -> int:
    """The size of a dimension of an input, where the first one is that of the rows."""
    if isinstance(size, int):
        return size
    if size is not None and size in plan.sizes:
        return plan.sizes[size]
    if axis == 0:
        return rows
    symbol = known.get(size or "")
    return _SIZE if symbol is None else max(symbol.lower, min(_SIZE, symbol.upper or _SIZE))


def _memory(file: Path, plan: Plan) -> int | None:
    """What a fresh process measures, as the memory of this one has had other uses."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(growth, file, plan).result()


def growth(file: Path, plan: Plan) -> int | None:
    """The bytes by which the most memory that this process ever held grows while ``file`` is opened and run on the most
    rows of the plan; None where the system does not tell it."""
    from runtime.inference.session import runtime_version

    runtime_version()  # so that ONNX Runtime itself is there before
    before = _peak()
    session = InferenceSession(file, plan.device, threads=plan.threads[-1])
    session.warm_up(inputs_for(session, session.most_rows(max(plan.rows)), plan))
    after = _peak()
    return None if before is None or after is None else after - before


def _peak() -> int | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) * 1024 if found else None


def check_names(
    files: Sequence[Path], names: Sequence[str], sizes: Sequence[str], device: Device
) -> dict[str, InferenceSession]:
    """For each name of an input a session that has it. Raises DiagnosticError for one that a file lacks (E0910), and
    for one of ``sizes`` that no file has, or that is the number of rows (E0912)."""
    found: dict[str, InferenceSession] = {}
    sessions = {file: InferenceSession(file, device) for file in files}
    for file, session in sessions.items():
        for name in names:
            if name not in {port.name for port in session.inputs}:
                held = ", ".join(port.name for port in session.inputs) or "nothing"
                title = f"{file} has no input `{name}`"
                raise DiagnosticError([error("E0910", title, None, notes=f"it takes {held}", help="leave it out")])
            found.setdefault(name, session)
    _check_sizes(list(sessions.values()), sizes)
    return found


def _check_sizes(sessions: Sequence[InferenceSession], names: Sequence[str]) -> None:
    rows = {rows_symbol(session.inputs, session.outputs)[1] for session in sessions}
    ports = [port for session in sessions for port in session.inputs]
    free = {size: None for port in ports for size in port.shape or () if isinstance(size, str) and size not in rows}
    for name in names:
        if name in free:
            continue
        title = f"no input has a free dimension {name}"
        help = f"those that can be set are {', '.join(free)}" if free else "leave it out: only the rows are free"
        if name in rows:
            title, help = f"{name} is the number of rows", "say how many with --batch"
        notes = [f"{port.name} is {port}" for port in ports]
        raise DiagnosticError([error("E0912", title, None, notes=list(dict.fromkeys(notes)), help=help)])
