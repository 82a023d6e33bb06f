"""How the predictions of trained weights hold against the targets, sample by sample."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

import compiler
from compiler.ir.graph import Role
from compiler.program import Compared
from runtime.data.batches import Batches, DataSet
from runtime.data.readers.content import Names
from runtime.disk.tensors import Array
from runtime.programs.engine import Engine
from runtime.programs.project import Project

# The samples that a judgement looks at, at most.
LIMIT = 20_000
_SMALLEST = 1e-12


@dataclass(frozen=True, order=True)
class Miss:
    """One badly predicted sample: the larger ``loss`` is, the worse. ``number`` is its row in the data, from 0.

    ``predicted`` and ``wanted`` are classes, or numbers; ``inputs`` are the sample's arrays by name.
    """

    loss: float
    number: int
    predicted: Array = field(compare=False)
    wanted: Array = field(compare=False)
    inputs: Mapping[str, Array] = field(compare=False)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What came out. ``predicted`` and ``wanted`` are class indices, or numbers, one for each thing that is predicted;
    ``classes`` is 0 where these are numbers. ``worst`` are the worst samples, the very worst first; ``names`` those of
    the classes, where the data has any, and ``vocabularies`` what the numbers of each array stand for."""

    samples: int
    classes: int
    predicted: Array
    wanted: Array
    worst: tuple[Miss, ...]
    names: tuple[str, ...] = ()
    vocabularies: Names = field(default_factory=dict)

    def name_of(self, index: int) -> str:
        """What the class ``index`` is called: its name, or its number."""
        return self.names[index] if index < len(self.names) else str(index)

    def confusion(self) -> Array:
        """i64[classes, classes]: how often the class of the row was taken for that of the column."""
        places = self.wanted * self.classes + self.predicted
        return np.bincount(places, minlength=self.classes**2).reshape(self.classes, self.classes)


def judge(
    project: Project, block: str, weights: Mapping[str, Array], data: DataSet, *, worst: int = 12, limit: int = LIMIT
) -> Judgement | None:
    """The predictions of the train block over the first ``limit`` samples; None where its loss compares nothing that
    has one row for each sample, or no sample counts.

    ``weights`` has the weights and statistics by name.
    """
    comparison = compiler.comparison(project.checked, block)
    if comparison is None:
        return None
    compared, graph = comparison.compared, comparison.graph
    kept = dict(weights) | {value.name: np.zeros((), np.int64) for value in graph.inputs_of(Role.STATE)}
    engine = Engine(compiler.numpy_module([graph], f"predictions of {block}"), kept, block)
    data = data.apart()
    batches = Batches(data, 64, seed=None)
    pairs: list[tuple[Array, Array]] = []
    misses: list[Miss] = []
    done = 0
    for inputs in batches.once():
        if done >= limit:
            break
        outputs = engine.call("compare", inputs)
        predicted, wanted, losses, counted = _decide(compared, outputs["prediction"], outputs["target"])
        pairs.append((predicted[counted].ravel(), wanted[counted].ravel()))
        for row in np.argsort(-losses)[:worst]:
            if np.isfinite(losses[row]) and (len(misses) < worst or losses[row] > misses[0].loss):
                own = {name: array[row].copy() for name, array in inputs.items()}
                decided = np.where(counted[row], predicted[row], wanted[row])  # nothing is, where nothing counts
                miss = Miss(float(losses[row]), int(data.rows[done + row]), decided, wanted[row].copy(), own)
                heapq.heappush(misses, miss) if len(misses) < worst else heapq.heapreplace(misses, miss)
        done += len(losses)
    if not any(len(wanted) for _, wanted in pairs):
        return None
    predicted, wanted = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    classes = _classes(compared)
    names = tuple(data.names.get(compared.target.name, ()))
    return Judgement(done, classes, predicted, wanted, tuple(sorted(misses, reverse=True)), names, data.names)


def _classes(compared: Compared) -> int:
    if compared.kind == "classes":
        size = compared.prediction.type.shape[compared.axis]
        assert isinstance(size, int), "the loss has checked that the number of classes is fixed"
        return size
    return 2 if compared.kind == "binary" else 0


def _decide(compared: Compared, scores: Array, target: Array) -> tuple[Array, Array, Array, Array]:
    """What was predicted and wanted, element by element, the mean loss of each sample, and which elements count.

    The losses are -log p of the true class, and absolute differences of numbers; NaN for samples that do not count.
    """
    scores = scores.astype(np.float64)
    if compared.kind == "numbers":
        target = target.astype(np.float64)
        return scores, target, _means(np.abs(scores - target)), np.ones(scores.shape, bool)
    if compared.kind == "binary":
        chances = scores if compared.probabilities else 1 / (1 + np.exp(-np.clip(scores, -700, 700)))
        wanted = (target > 0.5).astype(np.int64)
        right = np.where(wanted == 1, chances, 1 - chances)
        losses = _means(-np.log(np.maximum(right, _SMALLEST)))
        return (chances > 0.5).astype(np.int64), wanted, losses, np.ones(wanted.shape, bool)
    axis = compared.axis % scores.ndim
    chances = scores if compared.probabilities else _softmax(scores, axis)
    wanted = target.argmax(axis) if target.ndim == scores.ndim else target.astype(np.int64)
    counted = np.ones(wanted.shape, bool) if compared.ignored is None else wanted != compared.ignored
    places = np.expand_dims(np.where(counted, wanted, 0), axis)
    right = np.take_along_axis(chances, places, axis).squeeze(axis)
    losses = np.where(counted, -np.log(np.maximum(right, _SMALLEST)), np.nan)
    return scores.argmax(axis), wanted, _means(losses), counted


def _softmax(scores: Array, axis: int) -> Array:
    powers = np.exp(scores - scores.max(axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis, keepdims=True))


def _means(losses: Array) -> Array:
    """The mean of each row, over the elements that are numbers."""
    rows = losses.reshape(len(losses), -1)
    counts = np.isfinite(rows).sum(1)
    return np.where(counts > 0, np.nansum(rows, 1) / np.maximum(counts, 1), np.nan)
