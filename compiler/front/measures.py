"""The statement ``measure``: metrics of the catalogue, and scalars that are averaged over the samples."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.diagnostics import error
from compiler.front import tree
from compiler.front.arguments import Given, Refused, bind_arguments, report_argument
from compiler.front.catalogue import Entry, entries
from compiler.front.catalogue.entry import ArgumentError, Totals
from compiler.front.expressions import Evaluator
from compiler.front.scope import Scope
from compiler.front.values import Tensor, describe, has_poison
from compiler.ir.types import DType, TypeMismatch
from compiler.ops.emit import Emit
from compiler.program import Measure


def measure(
    evaluator: Evaluator,
    item: tree.Expression | tree.Keyword,
    scope: Scope,
    inputs: Sequence[Tensor],
    before: Sequence[Measure],
) -> Measure | None:
    """One item of a statement: a metric of the catalogue, or a scalar whose mean over the samples of ``inputs`` is
    taken. Its totals become outputs of the graph. None after a report; ``before`` are the measures that stand before
    it."""
    expression = item.value if isinstance(item, tree.Keyword) else item
    callee = expression.function if isinstance(expression, tree.Call) else expression
    known = entries("metric")
    name = item.name.name if isinstance(item, tree.Keyword) else _text(callee)
    if any(other.name == name for other in before):
        evaluator.report(
            error(
                "E0202", f"two measures are called {name}", item.span, "named again here",
                help=f"give this one a name: measure other_{name} = …",
            )
        )  # fmt: skip
        return None
    totals = None
    metric = known.get(callee.name) if isinstance(callee, tree.Name) and scope.find(callee.name) is None else None
    if metric is not None:
        totals = _metric(evaluator, metric, expression, scope)
    elif not isinstance(expression, tree.Call) or _is_expression(evaluator, callee, scope):
        totals = _mean_over_samples(evaluator, expression, scope, inputs)
    else:
        near = [f"the metrics are {', '.join(sorted(known))}"]
        evaluator.report(error("E0201", f"there is no metric {_text(callee)}", callee.span, "not found", help=near))
    return None if totals is None else _as_measure(evaluator.graph().b, name, totals, metric is not None)


def _text(expression: tree.Expression) -> str:
    return " ".join(expression.span.text.split())


def _is_expression(evaluator: Evaluator, callee: tree.Expression, scope: Scope) -> bool:
    """Whether a call that names no metric can be one of something else."""
    if not isinstance(callee, tree.Name):
        return True
    return evaluator.is_known(callee.name, scope) or callee.name in entries("layer")


def _metric(evaluator: Evaluator, entry: Entry, expression: tree.Expression, scope: Scope) -> Totals | None:
    trace = evaluator.graph()
    call = expression if isinstance(expression, tree.Call) else None
    given = []
    for item in call.positional if call else ():
        value = evaluator.evaluate(item, scope)
        given.append(Given(value.span if isinstance(value, Tensor) else item.span, None, value))
    keywords = call.keywords if call else ()
    at = expression.span
    try:
        positional, named, places = bind_arguments(evaluator, entry, at, given, keywords, scope)
    except Refused:
        return None
    with trace.at(at, scope.naming.path):
        try:
            totals: Totals = entry.build(trace, *positional, **named)
            return totals
        except ArgumentError as problem:
            report_argument(evaluator, problem, at, places)
        except TypeMismatch as problem:
            evaluator.mismatch(problem, at, [item.value for item in given if item.value is not None])
    return None


def _mean_over_samples(
    evaluator: Evaluator, expression: tree.Expression, scope: Scope, inputs: Sequence[Tensor]
) -> Totals | None:
    value = evaluator.stage(expression, scope)
    if has_poison(value):
        return None
    if not isinstance(value, Tensor) or value.value.type.rank or not value.value.type.dtype.is_float:
        evaluator.report(
            error("E0504", f"a measure is one floating-point number, not {describe(value)}", expression.span)
        )
        return None
    b = evaluator.graph().b
    first = inputs[0].value.type.shape[0] if inputs and inputs[0].value.type.rank else 1
    with evaluator.graph().at(expression.span, scope.naming.path):
        count = b.size(first, DType.I64)
        total = b.mul(value.value, b.cast(count, value.value.type.dtype))
    return Totals({"total": total, "count": count}, lambda b, total, count: b.div(total, count), "lower")


def _as_measure(b: Emit, name: str, totals: Totals, metric: bool) -> Measure:
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
    return Measure(name, tuple(names), finish.finish(), totals.better, metric)
