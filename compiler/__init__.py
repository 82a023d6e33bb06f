"""The compiler: text in, programs out. This page is the whole flow, from a ``.dl`` file to what a runtime runs.

    source ──parse──▶ tree ──elaborate──▶ graphs ──passes──▶ graphs ──target──▶ NumPy module or ONNX file

Nothing here trains, opens a session or reads a data file: that is the runtime's part. Passes and targets are imported
where they are first needed, as a check runs none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from compiler.collection import uncollected
from compiler.diagnostics import Diagnostic, DiagnosticError, Sink, Source, did_you_mean, error
from compiler.foreign import Network
from compiler.front.elaborate import Elaborated, elaborate
from compiler.front.parse import parse
from compiler.front.trace import TracedWeight
from compiler.front.training import ElaboratedTrain, Loss, first_weights
from compiler.ir.graph import Graph, Output, Value
from compiler.ir.types import TensorType
from compiler.learning import check_steps
from compiler.ops.base import Device
from compiler.ops.emit import Emit
from compiler.passes.accumulate import Accumulate, gradients_graph
from compiler.passes.autodiff import Gradient
from compiler.passes.average import average_graph, average_name
from compiler.passes.base import Observer
from compiler.passes.update import Manner, Update, initial_state, rate_name
from compiler.program import (
    Comparison,
    Given,
    GradientGraphs,
    Inspection,
    ModelProgram,
    TrainProgram,
    Turns,
)

if TYPE_CHECKING:
    from compiler.targets.numpy.stages import Staged
    from compiler.targets.onnx.content import Content


@dataclass(frozen=True)
class Checked:
    """A source text without errors: its meaning, and the warnings about it."""

    source: Source
    elaborated: Elaborated
    warnings: tuple[Diagnostic, ...]
    overrides: Mapping[str, str]

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order of the file."""
        return tuple(self.elaborated.models)

    @property
    def trains(self) -> tuple[str, ...]:
        """The names of the train blocks, in the order of the file."""
        return tuple(self.elaborated.trains)


@dataclass(frozen=True)
class ForeignModel:
    """A model out of an ONNX file: its program, its weights by the names of the graph, the file's metadata and its
    description ``text``. ``content`` is the file as it was read, with what it keeps elsewhere in it where that fits."""

    program: ModelProgram
    weights: Mapping[str, npt.NDArray[Any]]
    metadata: Mapping[str, str]
    content: Content
    text: str = ""


@uncollected()
def check(source: Source, overrides: Mapping[str, str] | None = None) -> Checked:
    """Parse and elaborate a source text; ``overrides`` sets constants, as texts.

    Raises DiagnosticError with every mistake of the text.
    """
    sink = Sink()
    file = parse(source, sink)
    sink.finish()
    elaborated = elaborate(file, overrides or {}, sink, _read_network)
    for train in elaborated.trains.values():
        check_steps(train, sink)
    sink.finish()
    return Checked(source, elaborated, tuple(sink.warnings), dict(overrides or {}))


def _read_network(path: Path) -> Network:
    """The network in an ONNX file. Raises DiagnosticError."""
    from compiler.targets.onnx.read.network import read_network

    return read_network(path)


def compile_model(checked: Checked, name: str, observer: Observer | None = None) -> ModelProgram:
    """The inference program of the model ``name``; ``observer`` is told of each pass.

    Raises DiagnosticError where there is none of that name.
    """
    model = checked.elaborated.models.get(name)
    if model is None:
        raise _no_such("model", name, checked.models)
    from compiler.passes.order import COMMON, Pipeline

    graph = Pipeline(COMMON, observer).run(model.graph)
    weights = tuple(traced.weight for traced in model.weights)
    return ModelProgram(name, graph, weights, model.stages, _given(model.weights))


def import_onnx(path: Path, observer: Observer | None = None) -> ForeignModel:
    """The model in an ONNX file.

    Raises DiagnosticError for a file that can't be read (E0905), is no ONNX model (E0906), breaks a rule (E0920), keeps
    data where they are not read (E0921), or has what can't be brought into a graph (E0922).
    """
    from compiler.passes.order import COMMON, Pipeline
    from compiler.targets.onnx.read.importer import import_graph
    from compiler.targets.onnx.read.load import load

    model = load(path)
    imported = import_graph(model, path.stem)
    graph = Pipeline(COMMON, observer).run(imported.graph)
    program = ModelProgram(path.stem, graph, ())
    return ForeignModel(program, imported.weights, imported.metadata, model.content, model.proto.doc_string)


def initial_graph(checked: Checked, name: str) -> Graph:
    """The graph that makes the first weights of a model, of the state input ``seed`` and of the weights that come from
    elsewhere, as its training does."""
    model = checked.elaborated.models.get(name)
    if model is None:
        raise _no_such("model", name, checked.models)
    from compiler.passes.order import COMMON, Pipeline

    return Pipeline(COMMON).run(first_weights(model.weights))


@uncollected()
def compile_train(
    checked: Checked, name: str, observer: Observer | None = None, *, accumulates: bool | None = None
) -> TrainProgram:
    """The program of the train block ``name``: every minimize statement differentiated and turned into a step.

    A step can take several batches where ``accumulates`` says so, by default where the block does. ``observer`` is
    told of each pass. Raises DiagnosticError where there is no block of that name.
    """
    train = checked.elaborated.trains.get(name)
    if train is None:
        raise _no_such("train block", name, checked.trains)
    from compiler.passes.order import COMMON, Pipeline

    numbers, average = range(len(train.losses)), _average(train)
    updates: tuple[Graph, ...] = ()
    if accumulates if accumulates is not None else train.settings.accumulate > 1:
        steps = tuple(_gradients(train, number, observer) for number in numbers)
        updates = tuple(_update_of_sums(train, number, observer) for number in numbers)
    else:
        steps = tuple(_step(train, number, observer) for number in numbers)
    return TrainProgram(
        name,
        train.inputs,
        train.batch_symbol,
        Pipeline(COMMON, observer).run(_with_state(train, updates or steps, average)),
        steps,
        Pipeline(COMMON, observer).run(train.evaluate),
        tuple(traced.weight for traced in train.weights),
        train.models,
        train.measures,
        train.ranges,
        train.settings,
        Pipeline(COMMON, observer).run(train.pictures) if train.pictures else None,
        tuple(_turns(train, number) for number in numbers),
        Pipeline(COMMON, observer).run(average) if average else None,
        _given(train.weights),
        updates,
    )


def _given(weights: Sequence[TracedWeight]) -> dict[str, Given]:
    """The first content of those weights that come from elsewhere."""
    return {traced.weight.name: content for traced in weights if (content := traced.init.given) is not None}


def augmented_graph(checked: Checked, name: str) -> Graph:
    """The graph ``augmented`` of the train block ``name``: what its augmentation makes of a batch in the step that the
    states ``seed`` and ``step`` say, with an output for each input that it changes, under that one's name.

    Raises DiagnosticError where there is no block of that name.
    """
    train = checked.elaborated.trains.get(name)
    if train is None:
        raise _no_such("train block", name, checked.trains)
    from compiler.passes.order import COMMON, Pipeline

    graph = Pipeline(COMMON).run(train.augmented)
    read = {value for node in graph.nodes for value in node.inputs}
    inputs = tuple(item for item in graph.inputs if item.value in read)
    return Graph(graph.name, inputs, graph.nodes, graph.outputs, graph.input_origins)


def comparison(checked: Checked, name: str) -> Comparison | None:
    """How the predictions of the train block ``name`` are held against its targets; None where its loss compares
    nothing that has a row for each sample.

    Raises DiagnosticError where there is no block of that name.
    """
    train = checked.elaborated.trains.get(name)
    if train is None:
        raise _no_such("train block", name, checked.trains)
    if train.compared is None:
        return None
    from compiler.passes.order import COMMON, Pipeline

    graph, compared = train.evaluate, train.compared
    outputs = (Output("prediction", compared.prediction), Output("target", compared.target))
    only = Graph("compare", graph.inputs, graph.nodes, outputs, graph.input_origins)
    return Comparison(compared, Pipeline(COMMON).run(only))


def gradient_graphs(checked: Checked, name: str) -> Iterator[GradientGraphs]:
    """For each minimize statement of the train block ``name`` what its gradients are checked with.

    Raises DiagnosticError where there is no block of that name.
    """
    train = checked.elaborated.trains.get(name)
    if train is None:
        raise _no_such("train block", name, checked.trains)
    from compiler.passes.check import in_f64
    from compiler.passes.hold import held
    from compiler.passes.order import COMMON, TRAIN, Pipeline

    for loss in train.losses:
        wide = in_f64(loss.graph)
        stopped, free = held(wide)
        differentiated = Pipeline((*COMMON, Gradient("loss", loss.over), *TRAIN)).run(wide)
        outputs = tuple(output for output in differentiated.outputs if output.name.startswith("gradient:"))
        gradients = Graph("gradients", differentiated.inputs, differentiated.nodes, outputs)
        yield GradientGraphs(loss.over, stopped, free, gradients)


def inspection_graphs(checked: Checked, name: str) -> Iterator[Inspection]:
    """For each minimize statement of the train block ``name`` a graph that shows what is on the way to its loss.

    Raises DiagnosticError where there is no block of that name.
    """
    train = checked.elaborated.trains.get(name)
    if train is None:
        raise _no_such("train block", name, checked.trains)
    from compiler.passes.order import COMMON, Pipeline
    from compiler.passes.show import layers

    for loss in train.losses:
        graph = Pipeline((*COMMON, Gradient("loss", loss.over))).run(loss.graph)
        shown = layers(graph, train.models)
        kept = [output for output in graph.outputs if output.updates is None]
        outputs = (*kept, *(Output(key, value) for key, (value, _) in shown.items()))
        values = {key: (*where, str(value.type)) for key, (value, where) in shown.items()}
        yield Inspection(loss.over, Graph("inspect", graph.inputs, graph.nodes, outputs, graph.input_origins), values)


def numpy_graph(graph: Graph, observer: Observer | None = None) -> Graph:
    """A graph as it is written as NumPy code."""
    from compiler.passes.order import NUMPY, Pipeline

    return Pipeline(NUMPY, observer).run(graph)


@uncollected()
def numpy_module(
    graphs: Sequence[Graph],
    title: str,
    source: Source | None = None,
    program: TrainProgram | None = None,
    *,
    timed: bool = False,
) -> str:
    """The text of a Python module that runs the graphs with NumPy alone; those of ``program`` in stages, where it pays
    that threads share a batch. A ``timed`` module tells where it is."""
    from compiler.targets.numpy import generate

    return generate([_as_written(graph, program) for graph in graphs], title=title, source=source, timed=timed)


def planned_memory(graph: Graph, sizes: Mapping[str, int], program: TrainProgram | None = None) -> int:
    """The bytes that the NumPy function of ``graph``, which may be one of ``program``, works in where its symbols have
    these sizes; what it takes and what it keeps come on top."""
    from compiler.targets.numpy import planned_memory

    return planned_memory(_as_written(graph, program), sizes)


def _as_written(graph: Graph, program: TrainProgram | None) -> Graph | Staged:
    """A graph as it is written as NumPy code: of those that take a batch of ``program`` the stages, where it pays."""
    from compiler.passes.order import WHOLE, Pipeline
    from compiler.targets.numpy import in_stages

    if program is None or graph not in (*program.steps, program.evaluate):
        return numpy_graph(graph)
    whole = Pipeline(WHOLE).run(graph)
    staged = in_stages(whole, program.batch_symbol, program.settings.batch)
    return numpy_graph(whole) if staged is None else staged.through(numpy_graph)


def train_module(program: TrainProgram) -> str:
    """The NumPy module of a training program: ``initial``, ``step0`` …, ``evaluate``, ``pictures``."""
    return numpy_module(program.graphs, f"train {program.name}", program=program)


def model_module(program: ModelProgram) -> str:
    """The NumPy module of a model, with the one function ``infer``."""
    return numpy_module([inference_graph(program)], f"model {program.name}")


def inference_graph(program: ModelProgram, name: str = "infer") -> Graph:
    """The graph of a model under the name that its function has in a NumPy module."""
    graph = program.graph
    return Graph(name, graph.inputs, graph.nodes, graph.outputs, graph.input_origins)


def onnx_graph(program: ModelProgram, observer: Observer | None = None) -> Graph:
    """The graph of a model as it goes into an ONNX file."""
    from compiler.passes.order import ONNX, Pipeline

    return Pipeline(ONNX, observer).run(program.graph)


def onnx_file(
    program: ModelProgram,
    weights: Mapping[str, npt.NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
    opset: int | None = None,
) -> bytes:
    """The ONNX file of a model, not certified. Raises DiagnosticError as :func:`compiler.targets.onnx.export` does."""
    from compiler.targets.onnx import export
    from compiler.targets.onnx.releases import chosen_opset

    return export(onnx_graph(program), weights, metadata=metadata or {}, opset=chosen_opset(opset))


def onnx_model(
    program: ModelProgram, weights: Mapping[str, npt.NDArray[Any]], opset: int | None = None, device: Device = "cpu"
) -> Content:
    """What :func:`onnx_file` gives, or the model with its large weights apart where they do not fit into one file."""
    from compiler.targets.onnx import export_any
    from compiler.targets.onnx.releases import chosen_opset

    return export_any(onnx_graph(program), weights, opset=chosen_opset(opset), device=device)


def _step(train: ElaboratedTrain, number: int, observer: Observer | None) -> Graph:
    """One minimize statement as a step: forward, backward and update in one graph."""
    return _differentiated(train.losses[number], _update(train, number), observer)


def _gradients(train: ElaboratedTrain, number: int, observer: Observer | None) -> Graph:
    """One minimize statement for one of several batches of a step: its gradients are added up."""
    loss = train.losses[number]
    return _differentiated(loss, Accumulate(loss.over, train.batch_symbol), observer)


def _differentiated(loss: Loss, ending: Update | Accumulate, observer: Observer | None) -> Graph:
    from compiler.passes.order import LOSS, TRAIN, Pipeline

    return Pipeline((*LOSS, Gradient("loss", loss.over), ending, *TRAIN), observer).run(loss.graph)


def _update_of_sums(train: ElaboratedTrain, number: int, observer: Observer | None) -> Graph:
    """What follows the batches of a step: one update."""
    from compiler.passes.order import TRAIN, Pipeline

    loss = train.losses[number]
    sums = gradients_graph(f"update{number}", loss.graph, loss.over)
    return Pipeline(TRAIN, observer).run(_update(train, number).apply(sums))


def _update(train: ElaboratedTrain, number: int) -> Update:
    """What becomes of the gradients of a minimize statement."""
    loss, settings = train.losses[number], train.settings
    undecayed = frozenset(traced.weight.name for traced in train.weights if not traced.weight.decays)
    # The last one of those that run in each step counts the steps.
    counting = max(index for index, other in enumerate(train.losses) if other.every == 1)
    manner = Manner(settings.clip, settings.clip_value, undecayed, loss.every, number == counting)
    return Update(loss.rule, loss.over, _prefix(train, number), manner)


def _prefix(train: ElaboratedTrain, number: int) -> str:
    """What the state of an optimizer is called by."""
    name: str = train.losses[number].rule.name
    return name if len(train.losses) == 1 else f"{name}{number}"


def _turns(train: ElaboratedTrain, number: int) -> Turns:
    loss = train.losses[number]
    if isinstance(loss.rule.lr, float):
        return Turns(loss.every)
    return Turns(loss.every, loss.rule.lr, rate_name(_prefix(train, number)))


def _average(train: ElaboratedTrain) -> Graph | None:
    """The graph that averages what is trained, where the block asks for it."""
    if train.settings.average is None:
        return None
    changed = {name for loss in train.losses for name in loss.over}
    weights = [(traced.weight.name, traced.weight.type) for traced in train.weights if traced.weight.name in changed]
    return average_graph(weights, train.settings.average)


def _with_state(train: ElaboratedTrain, steps: Sequence[Graph], average: Graph | None) -> Graph:
    """The graph that makes the first weights, with the first content of the optimizers' state added."""
    b = Emit("initial")
    values = {item.value: b.input(item.name, item.value.type, item.role) for item in train.initial.inputs}
    for node in train.initial.nodes:
        made = b.copy(node, tuple(values[value] for value in node.inputs))
        values.update(zip(node.outputs, made, strict=True))
    for output in train.initial.outputs:
        b.output(output.name, values[output.value])
        if average and any(item.name == average_name(output.name) for item in average.inputs):
            b.output(average_name(output.name), values[output.value])
    rules = [loss.rule for loss in train.losses]
    filled: dict[tuple[TensorType, float], Value] = {}
    for name, begins in initial_state(steps, rules).items():
        if begins not in filled:
            type, fill = begins
            sizes = [dim for dim in type.shape if isinstance(dim, int)]  # no weight has a symbolic size
            filled[begins] = b.expand(b.scalar(fill, type.dtype), sizes)
        b.output(name, filled[begins])
    return b.finish()


def _no_such(kind: str, name: str, known: Sequence[str]) -> DiagnosticError:
    near = did_you_mean(name, known)
    listed = f"the file has {', '.join(known)}" if known else "the file has none"
    return DiagnosticError(
        [error("E0203", f"there is no {kind} {name}", None, help=f"did you mean {near}?" if near else listed)]
    )
