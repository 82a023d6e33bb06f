"""Gradients held against central differences in f64, weight by weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

import compiler
from compiler.ir.tolerance import GRADIENT
from runtime.disk.tensors import Array
from runtime.inspect.batch import Batch
from runtime.programs.engine import Engine
from runtime.training.job import Job
from runtime.training.loop import initial_state

# How far a weight is moved, for one of size 1: the error of the difference is smallest about there.
_STEP = 1e-5
# The slopes on both sides of a smooth place are as equal as this; at the corner of a relu they are not.
_CORNER = 1e-3


@dataclass(frozen=True)
class Entry:
    """One number of a weight: its place, the gradient that training uses, and the slope that was measured."""

    place: tuple[int, ...]
    gradient: float
    measured: float


@dataclass(frozen=True)
class WeightCheck:
    """What came out for one weight in one minimize statement, numbered from 1.

    ``excess`` is the largest difference in units of what is allowed, at ``worst``; up to 1 the gradient is right.
    ``corners`` of the entries tried lie where the loss has no slope, and are left out.
    """

    loss: int
    name: str
    size: int
    tried: int
    corners: int
    excess: float
    worst: Entry | None

    @property
    def right(self) -> bool:
        return self.excess <= 1


def check_gradients(job: Job, batch: Batch, weights: Mapping[str, Array], entries: int = 10) -> Iterator[WeightCheck]:
    """Checks at most ``entries`` numbers of every weight that a minimize statement trains, drawn by the seed.

    All of it is computed in f64. The differences are those of the loss as the front end wrote it, the gradients those
    that come out of the passes.
    """
    generator = np.random.default_rng(job.program.settings.seed)
    kept = initial_state(job.program, job.make_engine) | dict(weights)
    wide = {name: _wide(array) for name, array in {**kept, **batch.inputs}.items()}
    for number, pair in enumerate(compiler.gradient_graphs(job.project.checked, job.program.name), 1):
        text = compiler.numpy_module([pair.stopped, pair.loss, pair.gradients], f"gradients of {job.program.name}")
        state = {name: array for name, array in wide.items() if name not in batch.inputs}
        engine = Engine(text, state)
        data = {name: wide[name] for name in batch.inputs}
        # What gradients do not go through stays as it is while a weight is moved.
        data |= {name: array.copy() for name, array in engine.call(pair.stopped.name, data).items()}
        slopes = {name: array.copy() for name, array in engine.call(pair.gradients.name, data).items()}
        for name in pair.over:
            gradient = slopes[f"gradient:{name}"]
            yield _check(engine, pair.loss.name, data, number, name, gradient, entries, generator)


def _check(
    engine: Engine,
    loss: str,
    data: Mapping[str, Array],
    number: int,
    name: str,
    gradient: Array,
    entries: int,
    generator: np.random.Generator,
) -> WeightCheck:
    weight = engine.kept[name]
    chosen = np.sort(generator.permutation(weight.size)[:entries])
    allowed_at = GRADIENT.absolute + GRADIENT.relative * float(np.max(np.abs(gradient), initial=0.0))
    worst: Entry | None = None
    excess, corners = 0.0, 0
    for index in chosen:
        place = tuple(int(part) for part in np.unravel_index(index, weight.shape))
        below, here, above, step = _around(engine, loss, data, weight, place)
        measured, own = (above - below) / (2 * step), float(gradient[place])
        share = abs(measured - own) / (allowed_at + GRADIENT.relative * abs(measured))
        if not share <= 1 and _is_corner((here - below) / step, (above - here) / step):
            corners += 1
        elif worst is None or not share <= excess:
            worst, excess = Entry(place, own, measured), share
    return WeightCheck(number, name, weight.size, len(chosen), corners, excess, worst)


def _around(
    engine: Engine, loss: str, data: Mapping[str, Array], weight: Array, place: tuple[int, ...]
) -> tuple[float, float, float, float]:
    """The loss with one number of a weight made smaller, as it is, and larger; and by how much."""
    before = float(weight[place])
    step = _STEP * max(abs(before), 0.1)
    found = []
    for value in (before - step, before, before + step):
        weight[place] = value
        found.append(float(engine.call(loss, data)["loss"]))
    weight[place] = before
    return found[0], found[1], found[2], step


def _is_corner(left: float, right: float) -> bool:
    return abs(left - right) > _CORNER * max(abs(left), abs(right))


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype == np.float32 else array
