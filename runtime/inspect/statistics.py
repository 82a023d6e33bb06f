"""The values of a network and its gradients over one batch, in a few figures each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import compiler
from runtime.disk.tensors import Array
from runtime.inspect.batch import Batch
from runtime.programs.engine import Engine
from runtime.training.job import Job
from runtime.training.loop import initial_state

# A unit is dead where it gives the same to every sample; so many of them are worth a word.
_DEAD = 0.5
# Gradients of two weights that are further apart than this are not trained at one pace.
_APART = 1e4
# The gradient of a bias is that of its layer's kernel divided by what goes into the layer; where it is smaller by more
# than this, it is what rounding leaves of none.
_IDLE = 1e-5
# A step that moves a weight by its own size is no step.
_EXPLODING = 1e3


@dataclass(frozen=True)
class ValueStatistics:
    """What a layer gives: ``dead`` is the share of its units, entries of a sample, that all samples have alike."""

    where: str
    text: str
    type: str
    mean: float
    deviation: float
    dead: float
    finite: bool


@dataclass(frozen=True)
class WeightStatistics:
    """A weight: its root mean square, that of its gradient, and that of what the last step changed of it, where one was
    made."""

    name: str
    size: float
    gradient: float
    update: float = math.nan


@dataclass(frozen=True)
class Statistics:
    """One minimize statement over one batch."""

    loss: float
    values: tuple[ValueStatistics, ...]
    weights: tuple[WeightStatistics, ...]

    @property
    def remarks(self) -> list[str]:
        """What looks wrong, in words."""
        found = [f"{v.where} {v.text} gives NaN or infinity" for v in self.values if not v.finite]
        found += [
            f"dead: {100 * v.dead:.0f}% of what {v.where} {v.text} gives is the same for every sample"
            for v in self.values
            if v.finite and v.dead > _DEAD
        ]
        idle = self._idle
        if idle:
            named = idle[0].name if len(idle) == 1 else f"{idle[0].name} and {len(idle) - 1} more like it"
            found.append(f"idle: {named}: a norm behind takes off what the bias adds, and bias=false leaves it out")
        others = [w for w in self.weights if w not in idle]
        found += [f"no gradient reaches {w.name}" for w in others if w.gradient == 0]
        moved = [w for w in others if w.gradient > 0 and np.isfinite(w.gradient)]
        if moved:
            least, most = min(moved, key=lambda w: w.gradient), max(moved, key=lambda w: w.gradient)
            if most.gradient > _APART * least.gradient:
                share = most.gradient / least.gradient
                found.append(f"vanishing: the gradient of {least.name} is {share:.0e} times smaller than {most.name}'s")
        found += [
            f"exploding: the gradient of {w.name} is {w.gradient / max(w.size, 1e-3):.0e} times its size"
            for w in self.weights
            if not w.gradient <= _EXPLODING * max(w.size, 1e-3)
        ]
        return found

    @property
    def _idle(self) -> list[WeightStatistics]:
        """Biases without a gradient in layers that have one."""
        kernels = {w.name.removesuffix("weight"): w.gradient for w in self.weights if w.name.endswith(".weight")}
        biases = (w for w in self.weights if w.name.endswith(".bias"))
        return [w for w in biases if w.gradient < _IDLE * kernels.get(w.name.removesuffix("bias"), 0.0)]


def statistics(job: Job, batch: Batch, weights: Mapping[str, Array]) -> list[Statistics]:
    """The statistics of every minimize statement, over a batch as training sees it: augmentation and dropout on."""
    return Inspector(job, initial_state(job.program, job.make_engine) | dict(weights)).look(batch.inputs)


class Inspector:
    """Looks into a network with the weights and the state ``kept``, as they are at the time."""

    def __init__(self, job: Job, kept: Mapping[str, Array]) -> None:
        self._kept = kept
        self._inspected = list(compiler.inspection_graphs(job.project.checked, job.program.name))
        texts = (compiler.numpy_module([one.graph], f"inspection of {job.program.name}") for one in self._inspected)
        self._engines = [Engine(text, kept) for text in texts]

    @property
    def weights(self) -> list[str]:
        """The names of the weights that are trained."""
        return list(dict.fromkeys(name for inspected in self._inspected for name in inspected.over))

    def look(self, inputs: Mapping[str, Array], before: Mapping[str, Array] | None = None) -> list[Statistics]:
        """The statistics of every minimize statement, over ``inputs``. ``before`` has the weights from before the last
        step."""
        found = []
        for inspected, engine in zip(self._inspected, self._engines, strict=True):
            outputs = engine.call(inspected.graph.name, inputs)
            values = tuple(
                _values(where, words, type, outputs[name]) for name, (where, words, type) in inspected.values.items()
            )
            moved = tuple(
                self._weight(name, outputs[f"gradient:{name}"], (before or {}).get(name)) for name in inspected.over
            )
            found.append(Statistics(float(outputs["loss"]), values, moved))
        return found

    def _weight(self, name: str, gradient: Array, before: Array | None) -> WeightStatistics:
        now = self._kept[name]
        update = math.nan if before is None else size_of(now.astype(np.float64) - before)
        return WeightStatistics(name, size_of(now), size_of(gradient), update)


def _values(where: str, text: str, type: str, array: Array) -> ValueStatistics:
    exact = array.astype(np.float64)
    finite = bool(np.isfinite(exact).all())
    with np.errstate(all="ignore"):
        mean, deviation = float(exact.mean()), float(exact.std())
    units = exact.reshape(len(exact), -1) if exact.ndim else exact.reshape(1, 1)
    same = (units == units[:1]).all(0)
    return ValueStatistics(where, text, type, mean, deviation, float(same.mean()) if len(units) > 1 else 0.0, finite)


def size_of(array: Array) -> float:
    """The root mean square of an array."""
    return float(np.sqrt(np.mean(np.square(array.astype(np.float64))))) if array.size else 0.0
