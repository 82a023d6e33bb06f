"""Making a training fit into so much memory: steps whose batch goes through in several smaller ones, where that changes
no numbers but for rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from compiler.diagnostics import DiagnosticError, error
from compiler.ops.batch_norm import BatchNorm
from runtime.amounts import bytes_text
from runtime.data.batches import Batches
from runtime.data.split import Splits
from runtime.disk.tensors import Array
from runtime.programs.project import Project
from runtime.training.calls import Calls
from runtime.training.job import Changes, Job, make_job
from runtime.training.loop import initial_state
from runtime.training.planning import MemoryPlan, data_sizes, plan_training

# What Python, NumPy and ONNX Runtime take by themselves.
PROGRAM = 110_000_000
# What amounts that are recommended are rounded up to.
_ROUND = 1_000_000
# Samples that both ways of a step are tried with, and by how much of the largest gradient they may differ.
_TRIED, _TOLERANCE = 8, 1e-3


def plan_of(job: Job, splits: Splits) -> MemoryPlan:
    """The memory that training takes on this data, the data that is held in memory and Python included."""
    program, rows = job.program, len(splits.train)
    sizes = data_sizes(program, splits.train)
    plan = plan_training(program, sizes, rows % sizes[program.batch_symbol] or None)
    parts = {"data": _held(splits), "Python and its libraries": PROGRAM}
    return replace(plan, parts={**plan.parts, **parts})


def fitted(project: Project, name: str | None, changes: Changes, limit: int) -> tuple[Job, Splits, MemoryPlan]:
    """The train block ``name`` with ``changes``, its data, and a plan of at most ``limit`` bytes: with the batch as it
    is or, where that takes more, in the largest batches of equal size that fit, whose gradients are accumulated.

    Raises DiagnosticError E0812 where none fit, or where smaller batches would give other numbers, and what
    :func:`make_job` and :meth:`Job.prepare` raise.
    """
    job = make_job(project, name, changes)
    splits = job.prepare()
    whole = plan = plan_of(job, splits)
    if plan.total <= limit:
        return job, splits, plan
    settings = job.program.settings
    counts = [count for count in range(2, settings.batch + 1) if settings.batch % count == 0]
    found: tuple[Job, MemoryPlan] | None = None
    low, high = 0, len(counts)
    while low < high:
        middle = (low + high) // 2
        count = counts[middle]
        smaller = replace(changes, batch=settings.batch // count, accumulate=settings.accumulate * count)
        tried = make_job(project, name, smaller)
        plan = plan_of(tried, splits)
        if plan.total <= limit:
            found, high = (tried, plan), middle
        else:
            low = middle + 1
    if found is None:
        raise _too_much(whole, plan, limit)
    _check_numbers(found[0], splits, whole, limit)
    return found[0], splits, found[1]


def _held(splits: Splits) -> int:
    """The bytes of the arrays that are in memory."""
    sets = (data for data in (splits.train, splits.validation, splits.test) if data is not None)
    arrays = {id(array): array for data in sets for array in data.arrays.values() if isinstance(array, np.ndarray)}
    return sum(array.nbytes for array in arrays.values())


def _check_numbers(job: Job, splits: Splits, whole: MemoryPlan, limit: int) -> None:
    """Raises DiagnosticError E0812 where the gradients of a batch are not those of its samples in smaller ones."""
    count = min(_TRIED, len(splits.train)) // 2 * 2
    batches = Batches(splits.train, max(2, count), job.program.settings.seed)
    inputs = {name: array.copy() for name, array in batches.at(1, 0).items()}
    batches.close()
    together, apart = (_gradients(job, inputs, size) for size in (count, count // 2))
    scale = max((float(np.abs(array).max()) for array in together.values() if array.size), default=0.0)
    if any(np.abs(together[name] - apart[name]).max(initial=0.0) > _TOLERANCE * scale for name in together):
        raise _would_differ(job, whole, limit)


def _gradients(job: Job, inputs: Mapping[str, Array], size: int) -> dict[str, Array]:
    """The sums of gradients of the first step on ``inputs``, in batches of ``size`` samples, by statement and name."""
    program = replace(job.program, settings=replace(job.program.settings, batch=size))
    calls, kept = Calls(program), initial_state(program, job.make_engine)
    engine = job.make_engine({**kept, **calls.state})
    rows = len(next(iter(inputs.values())))
    found: dict[str, Array] = {}
    for index in range(len(program.steps)):
        for call in calls.of(index, inputs, rows):
            if call.rows:
                engine.call(call.graph.name, call.inputs)
        found |= {f"{index} {name}": array.astype(np.float64) for name, array in calls.sums(index).items()}
    return found


def _too_much(whole: MemoryPlan, least: MemoryPlan, limit: int) -> DiagnosticError:
    title = f"training takes {bytes_text(whole.total)} of memory, and may take {bytes_text(limit)}"
    size, part = max((size, part) for part, size in least.parts.items())
    notes = [
        f"with one sample in a batch it would still take {bytes_text(least.total)}",
        f"most of that is for {part}: {bytes_text(size)}",
    ]
    enough = -(-least.total // _ROUND) * _ROUND
    advice = f"allow {bytes_text(enough)} or more, or take a smaller network"
    return DiagnosticError([error("E0812", title, None, notes=notes, help=advice)])


def _would_differ(job: Job, whole: MemoryPlan, limit: int) -> DiagnosticError:
    title = f"training takes {bytes_text(whole.total)} of memory, and may take {bytes_text(limit)}"
    norms = [node for graph in job.program.steps for node in graph.nodes if isinstance(node.operation, BatchNorm)]
    looks = f"{norms[0].origin.scope} looks" if norms else "something in the network or its loss looks"
    note = f"{looks} at the whole batch, so that smaller ones with their gradients added up give other numbers"
    settings = job.program.settings
    advice = f"if that is meant, say so: --batch {settings.batch} --accumulate {settings.accumulate} fits"
    return DiagnosticError([error("E0812", title, None, notes=note, help=advice)])
