"""Train blocks: the graphs of losses and measures, and the settings."""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from compiler.diagnostics import Diagnostic, DiagnosticError, Label, Span, did_you_mean, error
from compiler.front import bodies, tree
from compiler.front.arguments import Given, Refused, bind_arguments, build_from, report_argument
from compiler.front.catalogue import Entry, entries
from compiler.front.catalogue.entry import ArgumentError, Totals
from compiler.front.declarations import Declarations
from compiler.front.expressions import Evaluator
from compiler.front.modules import declare_inputs
from compiler.front.pictures import elaborate_pictures
from compiler.front.scope import Scope
from compiler.front.settings import check_stop, read_settings
from compiler.front.trace import Trace, TracedWeight
from compiler.front.values import Tensor, describe, has_poison
from compiler.ir.dims import Symbol, as_symbol
from compiler.ir.graph import Graph, Output, Role, Value
from compiler.ir.types import DType, TensorType, TypeMismatch
from compiler.ops.emit import Emit
from compiler.program import Compared, IndexRange, Measure, Settings


@dataclass(frozen=True)
class Loss:
    """One minimize statement: the graph with the output ``loss``, what is changed, and by which rule."""

    graph: Graph
    over: tuple[str, ...]
    rule: Any  # an update rule, as compiler.passes.update describes it
    span: Span


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
    models: tuple[str, ...]
    measures: tuple[Measure, ...]
    ranges: tuple[IndexRange, ...]
    settings: Settings
    compared: Compared | None


def elaborate_train(declarations: Declarations, train: tree.Train) -> ElaboratedTrain | None:
    """The graphs of a train block; None where it has errors, which are reported."""
    sink = declarations.sink
    before = len(sink.errors)
    settings = read_settings(declarations, train)
    minimizes = [statement for statement in train.statements if isinstance(statement, tree.Minimize)]
    if not minimizes:
        sink.report(
            error(
                "E0503",
                f"{train.name.name} minimizes nothing",
                train.name.span,
                help="add for example: minimize mse(Net(x), y) with adam(1e-3)",
            )
        )
    runs = [_run(declarations, train, index, training=True) for index in range(max(1, len(minimizes)))]
    pictures = elaborate_pictures(declarations, train)
    if len(sink.errors) > before or not all(run.sound for run in runs):
        return None
    evaluation = _run(declarations, train, 0, training=False)
    batch = _batch_symbol(declarations, train, evaluation.inputs)
    if settings is not None:
        check_stop(declarations, train, settings, evaluation.measures, len(minimizes))
    if len(sink.errors) > before or batch is None or settings is None:
        return None
    weights = {traced.weight.name: traced for run in runs for traced in run.trace.weights.values()}
    weights |= {traced.weight.name: traced for traced in pictures.weights} if pictures else {}
    return ElaboratedTrain(
        train.name.name,
        train.name.span,
        tuple(tensor.value for tensor in evaluation.inputs),
        batch.name,
        tuple(run.loss() for run in runs),
        evaluation.trace.b.finish(),
        pictures.graph if pictures else None,
        _augmented(runs[0].trace),
        first_weights(tuple(weights.values())),
        tuple(weights.values()),
        tuple(_models_used(declarations, weights)),
        tuple(evaluation.measures),
        tuple(dict.fromkeys(evaluation.trace.ranges)),
        settings,
        _compared(evaluation, batch),
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
    frozen: list[tuple[tree.Expression, ...]]
    statement: tree.Minimize | None = None
    rule: Any = None
    over: tuple[str, ...] = ()
    sound: bool = False  # whether there is a loss

    def loss(self) -> Loss:
        assert self.statement is not None
        return Loss(self.trace.b.finish(), self.over, self.rule, self.statement.span)


def _run(declarations: Declarations, train: tree.Train, number: int, *, training: bool) -> _Run:
    """Run the statements: the loss of minimize statement ``number``, and the measures along with the first."""
    name = train.name.name
    trace = Trace(f"step{number}" if training else "evaluate", training=training, has_state=True, weightless=name)
    evaluator = Evaluator(declarations, trace)
    scope = declarations.module_scope(name)
    inputs = declare_inputs(evaluator, train.parameters, scope, name)
    frozen = [statement.parts for statement in train.statements if isinstance(statement, tree.Freeze)]
    trace.frozen_parts = tuple(part.span.text for parts in frozen for part in parts)
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
                    _measure(run, item)
    return run


def _minimize(run: _Run, statement: tree.Minimize) -> None:
    evaluator, trace = run.evaluator, run.trace
    run.statement = statement
    loss = evaluator.stage(statement.loss, run.scope)
    if trace.training:
        with suppress(Refused):
            run.rule = build_from(evaluator, "optimizer", statement.optimizer, run.scope)
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
        reached = _behind(trace.b, loss.value)
        run.over = _parameters_over(run, statement, reached)
        for name, value in trace.updates_behind(reached):
            trace.b.output(name, value, updates=name)
    run.sound = True


def _parameters_over(run: _Run, statement: tree.Minimize, reached: set[Value]) -> tuple[str, ...]:
    """The names of the weights that a minimize statement changes: those of the models named, or all it depends on."""
    every = tuple(
        name for name, traced in run.trace.weights.items() if traced.weight.trainable and traced.value in reached
    )
    chosen = _weights_of(run, statement.over, every) if statement.over else set(every)
    frozen = {name for parts in run.frozen for name in _weights_of(run, parts, every)}
    if every and chosen and chosen <= frozen:
        run.evaluator.report(error("E0503", "everything that this statement could change is frozen", statement.span))
    return tuple(name for name in every if name in chosen and name not in frozen)


def _behind(b: Emit, value: Value) -> set[Value]:
    """Every value that ``value`` was computed from."""
    found = {value}
    pending = [value]
    while pending:
        node = b.producer(pending.pop())
        fresh = [operand for operand in node.inputs if operand not in found] if node else []
        found.update(fresh)
        pending += fresh
    return found


def _weights_of(run: _Run, parts: tuple[tree.Expression, ...], every: tuple[str, ...]) -> set[str]:
    """The names of the weights that belong to models or labels such as ``Critic`` or ``VGG.body``."""
    chosen: set[str] = set()
    for part in parts:
        prefix = part.span.text
        found = {name for name in every if name == prefix or name.startswith(f"{prefix}.")}
        if not found:
            known = {name.rsplit(".", count)[0] for name in every for count in range(1, name.count(".") + 1)}
            near = did_you_mean(prefix, known)
            models = ", ".join(sorted({name.split(".")[0] for name in every})) or "no model"
            run.evaluator.report(
                error(
                    "E0201",
                    f"no weight that this loss depends on belongs to {prefix}",
                    part.span,
                    "nothing here",
                    help=f"did you mean {near}?" if near else f"it depends on {models}",
                )
            )
        chosen |= found
    return chosen


def _measure(run: _Run, item: tree.Expression | tree.Keyword) -> None:
    """One measure: a metric of the catalogue, or a scalar whose mean over the samples is taken."""
    evaluator = run.evaluator
    expression = item.value if isinstance(item, tree.Keyword) else item
    callee = expression.function if isinstance(expression, tree.Call) else expression
    known = entries("metric")
    name = item.name.name if isinstance(item, tree.Keyword) else _text(callee)
    if any(measure.name == name for measure in run.measures):
        evaluator.report(
            error(
                "E0202", f"two measures are called {name}", item.span, "named again here",
                help=f"give this one a name: measure other_{name} = …",
            )
        )  # fmt: skip
        return
    totals = None
    if isinstance(callee, tree.Name) and callee.name in known and run.scope.find(callee.name) is None:
        totals = _metric(run, known[callee.name], expression)
    elif not isinstance(expression, tree.Call) or _is_expression(evaluator, callee, run.scope):
        totals = _mean_over_samples(run, expression)
    else:
        near = [f"the metrics are {', '.join(sorted(known))}"]
        evaluator.report(error("E0201", f"there is no metric {_text(callee)}", callee.span, "not found", help=near))
    if totals is not None:
        run.measures.append(_as_measure(run.trace.b, name, totals))


def _text(expression: tree.Expression) -> str:
    return " ".join(expression.span.text.split())


def _is_expression(evaluator: Evaluator, callee: tree.Expression, scope: Scope) -> bool:
    """Whether a call that names no metric can be one of something else."""
    if not isinstance(callee, tree.Name):
        return True
    return evaluator.is_known(callee.name, scope) or callee.name in entries("layer")


def _metric(run: _Run, entry: Entry, expression: tree.Expression) -> Totals | None:
    evaluator = run.evaluator
    call = expression if isinstance(expression, tree.Call) else None
    given = []
    for item in call.positional if call else ():
        value = evaluator.evaluate(item, run.scope)
        given.append(Given(value.span if isinstance(value, Tensor) else item.span, None, value))
    keywords = call.keywords if call else ()
    at = expression.span
    try:
        positional, named, places = bind_arguments(evaluator, entry, at, given, keywords, run.scope)
    except Refused:
        return None
    with run.trace.at(at, run.scope.naming.path):
        try:
            totals: Totals = entry.build(run.trace, *positional, **named)
            return totals
        except ArgumentError as problem:
            report_argument(evaluator, problem, at, places)
        except TypeMismatch as problem:
            evaluator.mismatch(problem, at, [item.value for item in given if item.value is not None])
    return None


def _mean_over_samples(run: _Run, expression: tree.Expression) -> Totals | None:
    value = run.evaluator.stage(expression, run.scope)
    if has_poison(value):
        return None
    if not isinstance(value, Tensor) or value.value.type.rank or not value.value.type.dtype.is_float:
        run.evaluator.report(
            error("E0504", f"a measure is one floating-point number, not {describe(value)}", expression.span)
        )
        return None
    b = run.trace.b
    first = run.inputs[0].value.type.shape[0] if run.inputs and run.inputs[0].value.type.rank else 1
    with run.trace.at(expression.span, run.scope.naming.path):
        count = b.size(first, DType.I64)
        total = b.mul(value.value, b.cast(count, value.value.type.dtype))
    return Totals({"total": total, "count": count}, lambda b, total, count: b.div(total, count), "lower")


def _as_measure(b: Emit, name: str, totals: Totals) -> Measure:
    """Make the totals outputs of the graph, and the finishing formula a graph of its own."""
    finish = Emit(f"finish {name}")
    operands = []
    names = []
    for key, value in totals.totals.items():
        total = f"{name}.{key}"
        b.output(total, value)
        names.append(total)
        operands.append(finish.input(total, value.type.with_dtype(DType.F64)))
    finish.output("value", totals.finish(finish, *operands))
    return Measure(name, tuple(names), finish.finish(), totals.better)


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


def _models_used(declarations: Declarations, weights: dict[str, TracedWeight]) -> list[str]:
    owners = {name.split(".")[0] for name in weights}
    return [model.name.name for model in declarations.models() if model.name.name in owners]


def first_weights(weights: tuple[TracedWeight, ...]) -> Graph:
    """The graph that makes the first weights of the seed. A weight's random stream depends on its name alone.

    Raises DiagnosticError for a weight that cannot begin as it should, as with numbers that its type does not have.
    """
    b = Emit("initial")
    seed = b.input("seed", TensorType(DType.I64), Role.STATE)
    b.output("seed", seed)
    for traced in weights:
        weight = traced.weight
        stream = zlib.crc32(weight.name.encode())
        try:
            b.output(weight.name, traced.init.build(b, weight.type, seed, stream))
        except TypeMismatch as problem:
            title = f"{weight.name} cannot begin as {traced.init.text}: {problem.title}"
            raise DiagnosticError([error(problem.code, title, weight.span, problem.detail)]) from None
    return b.finish()
