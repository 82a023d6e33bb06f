"""What compilation gives: the graphs of a file and what the runtime has to know to run them.

The front end makes :class:`Elaborated`; ``compiler`` turns it into :class:`ModelProgram` and :class:`TrainProgram`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy.typing as npt

from compiler.diagnostics.source import Span
from compiler.ir.dims import Dim
from compiler.ir.graph import Graph, Value
from compiler.ir.types import TensorType
from compiler.rules import Schedule
from compiler.sources import DataSetting, SetAsideSetting

# What the figures of a run are counted by.
Unit: TypeAlias = Literal["epoch", "step"]


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that a model keeps.

    ``decays`` tells whether regularisation takes it in: kernels yes, biases and norms no. One that is not ``trainable``
    follows the data instead of gradients, as the running statistics of a norm do.
    """

    name: str
    type: TensorType
    span: Span
    decays: bool
    trainable: bool = True


@dataclass(frozen=True, eq=False, slots=True)
class Given:
    """The first content of a weight that is not drawn but was made elsewhere: ``read`` gives it, an array of the
    weight's type, when it is needed. ``source`` is the file that it comes from, as messages call that."""

    source: str
    read: Callable[[], npt.NDArray[Any]]


@dataclass(frozen=True)
class StoredWeights:
    """What a statement ``weights MODEL from FILE`` came to: ``given`` is the first content of the weights that it has.

    ``names`` are these weights, each with the tensors of ``file`` that it is made of and, where it is not one of them
    as it is, how: ``transposed``, ``f16 to f32``. ``fresh`` weights begin as they would without the statement, and
    ``left_out`` are the tensors that the model has no use for; the statement says so of both.
    """

    model: str
    file: str
    names: tuple[tuple[str, tuple[str, ...], str], ...]
    fresh: tuple[str, ...]
    left_out: tuple[str, ...]
    given: Mapping[str, Given]


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of ``dlc check``: a stage of a model's body, what it gives and what it costs for one forward pass.

    ``path`` is the path of labels; ``outputs`` are several where the stage gives a tuple; ``macs`` counts
    multiply-adds, symbolic in the batch size; ``nodes`` are the places of its nodes in the model's graph as it was
    before any pass.
    """

    path: str
    text: str
    span: Span
    outputs: tuple[TensorType, ...]
    weights: tuple[Weight, ...]
    macs: Dim
    nodes: range = range(0)


@dataclass(frozen=True)
class ModelProgram:
    """A model for inference: ``graph`` takes data and weights and gives the named results. ``given`` is the first
    content of those weights that come from elsewhere."""

    name: str
    graph: Graph
    weights: tuple[Weight, ...]
    stages: tuple[Stage, ...] = ()
    given: Mapping[str, Given] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IndexRange:
    """The integers of the data array ``input`` index something of ``size`` entries (classes, a vocabulary), or are
    ``ignored``."""

    input: str
    size: int
    span: Span
    ignored: int | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure over a whole data set, or a table such as a confusion matrix.

    ``totals`` name outputs of the step and evaluation graphs that add up over batches; ``finish`` takes inputs of those
    names, in f64, and gives the output ``value``: a scalar, or an array for a table, for which ``better`` is None.
    That less of an expression is better, which is no ``metric``, is only taken to be so.
    """

    name: str
    totals: tuple[str, ...]
    finish: Graph
    better: Literal["higher", "lower"] | None
    metric: bool = True

    @property
    def is_table(self) -> bool:
        """Whether it gives an array rather than one number."""
        return self.finish.outputs[0].value.type.rank > 0


@dataclass(frozen=True, slots=True)
class Compared:
    """What a loss holds against each other: two values of its graph, with one row for each sample.

    ``classes``: scores along ``axis`` against class indices, of which ``ignored`` does not count, or against one-hot
    vectors. ``binary``: one score for each sample against 0 or 1. ``numbers``: anything else, element by element.
    ``probabilities`` tells scores that softmax or sigmoid made from logits.
    """

    kind: Literal["classes", "binary", "numbers"]
    prediction: Value
    target: Value
    axis: int = -1
    probabilities: bool = False
    ignored: int | None = None


@dataclass(frozen=True)
class Comparison:
    """How the predictions of a train block are held against its targets: ``graph`` takes data, weights and state and
    gives ``prediction`` and ``target``, dropout and augmentation off."""

    compared: Compared
    graph: Graph


@dataclass(frozen=True)
class ModelCall:
    """One use of a model in a graph: what it takes by name, and what it gives in the order of its outputs."""

    model: str
    inputs: Mapping[str, Value]
    outputs: tuple[Value, ...]


@dataclass(frozen=True)
class CallPart:
    """What leads to one use of a model: ``graph`` gives its inputs by name. ``results`` has, for each output of the
    model, the name of the input by which later graphs take it."""

    graph: Graph
    results: Mapping[str, str]


@dataclass(frozen=True)
class EvaluationParts:
    """The evaluation of a train block with one of its models taken out, so that something else can stand for it.

    ``calls`` are the uses of the model in their order; each graph takes data, weights and state as the whole evaluation
    does, and the results of the uses before it. ``rest`` gives what the whole evaluation gives.
    """

    calls: tuple[CallPart, ...]
    rest: Graph

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """All of them, in the order of an evaluation."""
        return (*(call.graph for call in self.calls), self.rest)


@dataclass(frozen=True)
class GradientGraphs:
    """A loss in f64, to hold its gradients against differences: ``loss`` gives ``loss``, ``gradients`` gives
    ``gradient:NAME`` of every weight in ``over``. What gradients do not go through is an input of ``loss``, and
    ``stopped`` gives it, under the same names."""

    over: tuple[str, ...]
    stopped: Graph
    loss: Graph
    gradients: Graph


@dataclass(frozen=True)
class Inspection:
    """A loss to look into: ``graph`` gives ``loss``, ``gradient:NAME`` of every weight in ``over``, and what the
    models' layers give; ``values`` has of each of these, under its name, its path, the layer's text and its type."""

    over: tuple[str, ...]
    graph: Graph
    values: Mapping[str, tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What a search tries for a constant: one of ``choices``, or a number from ``low`` to ``high``, both included;
    whole numbers where ``whole``, evenly by their ratio where ``logarithmic``."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Early stopping: when ``measure`` (``loss``, ``val.loss``, ``val.accuracy`` …) has not improved for ``patience``
    epochs (validations, where these are made after so many steps), training ends and the best weights are kept."""

    measure: str
    patience: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The statements of a ``train`` block, with the places where they stand under the statement's name.

    ``data`` is a file that tells its kind, or a reader's call; ``validate`` and ``test`` are such or shares of the
    samples, a plain number one that is chosen as suits the data. A step takes ``accumulate`` batches of
    ``batch`` samples each. Training ends after ``epochs`` passes over
    the data or, where these are not given, after ``steps`` steps; ``clip`` bounds the norm of all gradients together,
    ``clip_value`` each element of them. ``average`` is how much of a running mean of the weights stays at each step,
    and ``keep`` how many checkpoints of epochs are kept. ``interval`` is the number of steps after which the
    figures of a run are taken, validation included; by default that is done after every epoch.
    """

    data: DataSetting | None = None
    validate: SetAsideSetting | None = None
    test: SetAsideSetting | None = None
    batch: int = 32
    accumulate: int = 1
    epochs: int | None = None
    steps: int | None = None
    stop: Stop | None = None
    clip: float | None = None
    clip_value: float | None = None
    average: float | None = None
    keep: int | None = None
    interval: int | None = None
    seed: int = 0
    spans: Mapping[str, Span] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """The samples of a step."""
        return self.batch * self.accumulate

    @property
    def unit(self) -> Unit:
        """What the figures of a run are counted by."""
        return "step" if self.interval else "epoch"


@dataclass(frozen=True, slots=True)
class Turns:
    """When it is the turn of a minimize statement: in each so many steps. ``schedule`` gives the learning rate, where
    that changes, and the state ``rate`` holds it."""

    every: int = 1
    schedule: Schedule | None = None
    rate: str = ""


@dataclass(frozen=True)
class TrainProgram:
    """A training run, ready for a target.

    ``inputs`` are the data arrays by name; their first dimension is the symbol ``batch_symbol``. ``initial`` takes the
    state input ``seed`` (i64 scalar), and those weights that come from elsewhere, which ``given`` has, and gives every
    weight and state under its name. Each of ``steps``, run in order, makes one minimize statement's update: outputs
    ``loss`` (a mean over the batch), the totals of the measures (in the first), and updates, where ``turns`` says that
    it is its turn. Where a step takes several batches, each of ``steps`` adds up the gradients of one of them, and that
    of ``updates`` with its number makes the update: see :mod:`compiler.passes.accumulate`. ``evaluate`` gives ``loss``
    and the totals with dropout and augmentation off. ``average``, where weights are averaged, is run after each step
    and updates the state ``NAME.average`` of each of them.
    ``pictures``, where anything is drawn, gives u8 or floats [M, height, width] or [M, 1 or 3, height, width].
    """

    name: str
    inputs: tuple[Value, ...]
    batch_symbol: str
    initial: Graph
    steps: tuple[Graph, ...]
    evaluate: Graph
    weights: tuple[Weight, ...]
    models: tuple[str, ...]
    measures: tuple[Measure, ...] = ()
    ranges: tuple[IndexRange, ...] = ()
    settings: Settings = Settings()
    pictures: Graph | None = None
    turns: tuple[Turns, ...] = ()
    average: Graph | None = None
    given: Mapping[str, Given] = field(default_factory=dict)
    updates: tuple[Graph, ...] = ()

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """All of them, in the order of a run."""
        more = (graph for graph in (self.average, self.pictures) if graph is not None)
        return (self.initial, *self.steps, *self.updates, self.evaluate, *more)


def loss_names(count: int) -> tuple[str, ...]:
    """What the losses of ``count`` minimize statements are called in a run's figures."""
    return ("loss",) if count == 1 else tuple(f"loss{number}" for number in range(1, count + 1))
