"""Train blocks: the graphs of losses and measures, and the settings."""

from __future__ import annotations

import zlib
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from compiler.diagnostics import Diagnostic, DiagnosticError, Label, Span, error
from compiler.front import bodies, tree
from compiler.front.arguments import Refused, build_from
from compiler.front.declarations import Declarations
from compiler.front.expressions import Evaluator
from compiler.front.measures import measure
from compiler.front.modules import declare_inputs
from compiler.front.patterns import belongs
from compiler.front.pictures import elaborate_pictures
from compiler.front.scope import Scope
from compiler.front.settings import check_figures, read_settings
from compiler.front.trace import Trace, TracedWeight
from compiler.front.trained import choose, frozen_parts, values_behind, weights_behind
from compiler.front.values import Tensor, describe, has_poison
from compiler.ir.dims import Symbol, as_symbol
from compiler.ir.graph import Graph, Output, Role, Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.emit import Emit
from compiler.program import Compared, IndexRange, Measure, ModelCall, Settings


@dataclass(frozen=True)
class Loss:
    """One minimize statement: the graph with the output ``loss``, what is changed, and by which rule."""

    graph: Graph
    over: tuple[str, ...]
    named: bool  # whether ``over`` was said in the source
    rule: Any  # an update rule, as compiler.passes.update describes it
    span: Span
    optimizer: Span
    every: int  # an update is made in each so many steps


@dataclass(frozen=True)
class ElaboratedTrain:
    """A train block: a graph for each minimize statement, one for evaluation, one that makes the first weights, and
    one that gives what augmentation makes of a batch, under the names of the inputs."""

    name: str
    span: Span
    inputs: tuple[Value, ...]
    batch_symbol: str
    losses: tuple[Loss, ...]
    evaluate: Graph
    pictures: Graph | None
    augmented: Graph
    initial: Graph
    weights: tuple[TracedWeight, ...]
    frozen: frozenset[str]
    models: tuple[str, ...]
    measures: tuple[Measure, ...]
    ranges: tuple[IndexRange, ...]
    settings: Settings
    compared: Compared | None
    calls: tuple[ModelCall, ...]  # in the evaluation


def elaborate_train(declarations: Declarations, train: tree.Train) -> ElaboratedTrain | None:
    """The graphs of a train block; None where it has errors, which are reported."""
    sink = declarations.sink
    before = len(sink.errors)
    settings = read_settings(declarations, train)
    minimizes = [statement for statement in train.statements if isinstance(statement, tree.Minimize)]
    if not minimizes:
        help = "add for example: minimize mse(Net(x), y) with adam(1e-3)"
        sink.report(error("E0503", f"{train.name.name} minimizes nothing", train.name.span, help=help))
    runs = [_run(declarations, train, index, training=True) for index in range(max(1, len(minimizes)))]
    pictures = elaborate_pictures(declarations, train)
    if len(sink.errors) > before or not all(run.sound for run in runs):
        return None
    _check_turns(declarations, minimizes, runs)
    evaluation = _run(declarations, train, 0, training=False)
    batch = _batch_symbol(declarations, train, evaluation.inputs)
    if settings is not None:
        check_figures(declarations, train, settings, evaluation.measures, [run.rule for run in runs])
    if batch is not None and settings is not None:
        _check_bound(declarations, settings, batch, evaluation.inputs[0])
    if len(sink.errors) > before or batch is None or settings is None:
        return None
    weights = {traced.weight.name: traced for run in runs for traced in run.trace.weights.values()}
    learned = [name for name, traced in weights.items() if traced.weight.trainable]
    if not _models_are_sound(declarations):
        return None
    frozen = choose(frozen_parts(train), learned, sink, "of this train block")
    weights |= {traced.weight.name: traced for traced in pictures.weights} if pictures else {}
    weights = {traced.weight.name: traced for traced in declarations.begun(weights.values())}
    try:
        initial = first_weights(tuple(weights.values()))
    except DiagnosticError as problem:
        for diagnostic in problem.diagnostics:
            sink.report(diagnostic)
    if len(sink.errors) > before:
        return None
    return ElaboratedTrain(
        train.name.name,
        train.name.span,
        tuple(tensor.value for tensor in evaluation.inputs),
        batch.name,
        tuple(run.loss() for run in runs),
        evaluation.trace.b.finish(),
        pictures.graph if pictures else None,
        _augmented(runs[0].trace),
        initial,
        tuple(weights.values()),
        frozenset(frozen),
        tuple(_models_used(declarations, weights, evaluation.trace.owners)),
        tuple(evaluation.measures),
        tuple(dict.fromkeys(evaluation.trace.ranges)),
        settings,
        _compared(evaluation, batch),
        tuple(evaluation.trace.calls),
    )


def _augmented(trace: Trace) -> Graph:
    graph = trace.b.finish()
    outputs = tuple(Output(name, value) for name, value in trace.augmented().items())
    return Graph("augmented", graph.inputs, graph.nodes, outputs, graph.input_origins)


def _compared(run: _Run, batch: Symbol) -> Compared | None:
    """The first thing that the loss compares with one row for each sample; None where there is none."""
    for found in run.trace.compared:
        rows = [value.type.shape[0] if value.type.rank else 1 for value in (found.prediction, found.target)]
        if all(as_symbol(row) == batch for row in rows):
            return found
    return None


@dataclass
class _Run:
    """The statements of a train block, run once for one minimize statement."""

    evaluator: Evaluator
    trace: Trace
    scope: Scope
    inputs: list[Tensor]
    measures: list[Measure]
    frozen: tuple[tree.Name, ...]
    statement: tree.Minimize | None = None
    rule: Any = None
    over: tuple[str, ...] = ()
    every: int = 1
    sound: bool = False  # whether there is a loss

    def loss(self) -> Loss:
        assert self.statement is not None
        statement = self.statement
        graph, named = self.trace.b.finish(), bool(statement.over)
        return Loss(graph, self.over, named, self.rule, statement.span, statement.optimizer.span, self.every)


def _run(declarations: Declarations, train: tree.Train, number: int, *, training: bool) -> _Run:
    """_Run the statements: the loss of minimize statement ``number``, and the measures along with the first."""
    name = train.name.name
    trace = Trace(f"step{number}" if training else "evaluate", training=training, has_state=True, weightless=name)
    evaluator = Evaluator(declarations, trace)
    scope = declarations.module_scope(name)
    inputs = declare_inputs(evaluator, train.parameters, scope, name)
    frozen = frozen_parts(train)
    trace.frozen_parts = tuple(part.name for part in frozen)
    run = _Run(evaluator, trace, scope, inputs, [], frozen)
    seen = 0
    for statement in train.statements:
        match statement:
            case tree.Assign():
                bodies.assign(evaluator, statement, scope)
            case tree.Minimize():
                if seen == number:
                    _minimize(run, statement)
                seen += 1
            case tree.Measure() if number == 0:
                for item in statement.items:
                    found = measure(evaluator, item, scope, inputs, run.measures)
                    run.measures += [found] if found else []
    return run


def _minimize(run: _Run, statement: tree.Minimize) -> None:
    evaluator, trace = run.evaluator, run.trace
    run.statement = statement
    loss = evaluator.stage(statement.loss, run.scope)
    if trace.training:
        with suppress(Refused):
            run.rule = build_from(evaluator, "optimizer", statement.optimizer, run.scope)
        run.every = _every(evaluator, statement, run.scope)
    if has_poison(loss):
        return
    if not isinstance(loss, Tensor):
        evaluator.report(
            error("E0403", f"a loss is a tensor, not {describe(loss)}", statement.loss.span, describe(loss))
        )
        return
    type = loss.value.type
    if type.rank or not type.dtype.is_float:
        evaluator.report(
            error(
                "E0504",
                f"a loss is one floating-point number, but this is {type}",
                statement.loss.span,
                f"this gives {type}",
                help="take the mean of it: mean(…)",
            )
        )
        return
    trace.b.output("loss", loss.value)
    if trace.training:
        _choose_weights(run, statement, weights_behind(trace.b, loss.value, trace.weights.values()))
        for name, value in trace.updates_behind(values_behind(trace.b, loss.value)):
            trace.b.output(name, value, updates=name)
    run.sound = True


def _choose_weights(run: _Run, statement: tree.Minimize, every: tuple[str, ...]) -> None:
    """Settle what the statement changes of the weights ``every`` that its loss depends on."""
    declarations = run.evaluator.declarations
    if not _models_are_sound(declarations):
        return
    sink = run.evaluator.sink
    chosen = choose(statement.over, every, sink, "that this loss depends on") if statement.over else set(every)
    frozen = {name for name in every if any(belongs(name, part.name) for part in run.frozen)}
    if every and chosen and chosen <= frozen:
        sink.report(error("E0503", "everything that this statement could change is frozen", statement.span))
    run.over = tuple(name for name in every if name in chosen and name not in frozen)


def _models_are_sound(declarations: Declarations) -> bool:
    """Whether a weight that is not there says anything: those of a model with errors are missing too."""
    return all(declarations.is_sound(model) for model in declarations.models())


def _every(evaluator: Evaluator, statement: tree.Minimize, scope: Scope) -> int:
    """In each so many steps it is the turn of a statement; 1 after a report."""
    if statement.every is None:
        return 1
    value = evaluator.evaluate(statement.every, scope)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if not has_poison(value):
        title = f"every takes a whole number of steps, at least 1, not {describe(value)}"
        evaluator.report(error("E0404", title, statement.every.span))
    return 1


def _check_turns(declarations: Declarations, minimizes: list[tree.Minimize], runs: list[_Run]) -> None:
    """Report E0404 where in some steps it is nobody's turn."""
    every = minimizes[0].every
    if every is not None and all(run.every > 1 for run in runs):
        help = "leave the every out where a statement is to run in each step"
        title = "in some steps no minimize statement has its turn"
        declarations.sink.report(error("E0404", title, every.span, help=help))


def _batch_symbol(declarations: Declarations, train: tree.Train, inputs: list[Tensor]) -> Symbol | None:
    """The symbol that is the first dimension of every input: the samples of a batch."""
    first: tuple[Symbol, Span] | None = None

    def fail(diagnostic: Diagnostic) -> None:
        declarations.sink.report(diagnostic)

    if not train.parameters:
        help = "name the arrays, as in train net(x: f32[N, 2])"
        fail(error("E0506", f"{train.name.name} learns from no array", train.name.span, help=help))
        return None
    for tensor in inputs:
        shape = tensor.value.type.shape
        found = as_symbol(shape[0]) if shape else None
        if found is None:
            fail(
                error(
                    "E0506",
                    f"the first dimension of {tensor.value.name} has to be a symbol",
                    tensor.span,
                    "one row for each sample",
                    help="write for example f32[N, 2]: N is the number of samples in a batch",
                )
            )
            return None
        if found.lower > 1:
            title = f"a batch can have fewer samples than {found.lower}: the last one has what is left"
            fail(error("E0506", title, tensor.span, help=f"leave the lower bound of {found} out"))
            return None
        if first is not None and found != first[0]:
            fail(
                error(
                    "E0506",
                    f"all inputs have the same samples, but these count {first[0]} and {found}",
                    tensor.span,
                    f"{found} samples here",
                    labels=[Label(first[1], f"{first[0]} samples here")],
                    help="give the first dimension of every input the same name",
                )
            )
            return None
        first = first or (found, tensor.span)
    return first[0] if first else None


def _check_bound(declarations: Declarations, settings: Settings, batch: Symbol, first: Tensor) -> None:
    """Report E0506 for a batch with more samples than its symbol may stand for."""
    if batch.upper is None or settings.batch <= batch.upper:
        return
    said, bound = settings.spans.get("batch"), f"{batch} is at most {batch.upper}"
    title = f"a batch has {settings.batch} samples{'' if said else ' where nothing else is said'}, but {bound}"
    labels = [Label(first.span, f"{bound} here")] if said else []
    help = f"take smaller ones, `batch {batch.upper}`, or give {batch} another bound"
    declarations.sink.report(error("E0506", title, said or first.span, labels=labels, help=help))


def _models_used(declarations: Declarations, weights: Mapping[str, TracedWeight], called: Container[str]) -> list[str]:
    """The models that own some of the weights, and those that were called and have only weights from elsewhere."""
    owners = {name.split(".")[0] for name in weights}
    models = {model.name.name: model for model in declarations.models()}
    borrowed = owners - set(models)

    def borrows(model: tree.Model) -> bool:
        made = declarations.elaborated(model)
        return made is not None and any(item.weight.name.split(".")[0] in borrowed for item in made.weights)

    return [name for name, model in models.items() if name in owners or (name in called and borrows(model))]


def first_weights(weights: tuple[TracedWeight, ...]) -> Graph:
    """The graph that makes the first weights of the seed. A weight's random stream depends on its name alone; one that
    comes from elsewhere is an input of its name.

    Raises DiagnosticError for a weight that cannot begin as it should, as with numbers that its type does not have.
    """
    b = Emit("initial")
    seed = b.input("seed", TensorType(DType.I64), Role.STATE)
    b.output("seed", seed)
    refused: list[Diagnostic] = []
    for traced in weights:
        weight = traced.weight
        if traced.init.given is not None:
            b.output(weight.name, b.input(weight.name, weight.type, Role.WEIGHT))
            continue
        stream = zlib.crc32(weight.name.encode())
        try:
            b.output(weight.name, traced.init.build(b, weight.type, seed, stream))
        except TypeMismatch as problem:
            title = f"{weight.name} cannot begin as {traced.init.text}: {problem.title}"
            refused.append(error(problem.code, title, weight.span, problem.detail))
    if refused:
        raise DiagnosticError(refused)
    return b.finish()
