"""Bodies: stages one after the other, labels, shared instances, and the structures with bodies of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compiler.diagnostics import Label, Span, error
from compiler.front import tree
from compiler.front.limits import MOST_REPEATS
from compiler.front.scope import Naming, Scope
from compiler.front.trace import Trace
from compiler.front.values import POISON, Callable, DslValue, Foreign, Instance, Tensor, describe, has_poison
from compiler.ir.dims import Dim
from compiler.ir.types import TypeMismatch
from compiler.ops.base import Op
from compiler.program import Stage

if TYPE_CHECKING:
    from compiler.front.expressions import Evaluator


def structure(evaluator: Evaluator, expression: tree.Expression, scope: Scope) -> DslValue:
    """``residual { … }``, ``repeat n { … }`` and ``if … { … } else { … }`` as stages."""
    match expression:
        case tree.Residual():
            before = _result(evaluator, scope.current, expression.span)
            if has_poison(before):
                return POISON
            inner = Scope(scope.naming, scope)
            after = run_body(evaluator, expression.body, inner)
            return _add_residual(evaluator, expression, before, after, scope)
        case tree.If():
            holds = evaluator.condition(expression.condition, scope)
            if holds is None:
                return POISON
            body = expression.then if holds else expression.otherwise
            if body is None:
                return _result(evaluator, scope.current, expression.span)
            return run_body(evaluator, body, Scope(scope.naming, scope))
        case tree.Repeat():
            return _repeat(evaluator, expression, scope)
    raise AssertionError(expression)


def _add_residual(
    evaluator: Evaluator, expression: tree.Residual, before: DslValue, after: DslValue, scope: Scope
) -> DslValue:
    if has_poison(after):
        return POISON
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        wrong = after if isinstance(before, Tensor) else before
        return evaluator.report(
            error("E0403", f"residual adds tensors, not {describe(wrong)}", expression.span, describe(wrong))
        )
    trace = evaluator.graph()
    with trace.at(expression.span, scope.naming.path):
        try:
            return Tensor(trace.b.add(before.value, after.value), expression.span)
        except TypeMismatch as problem:
            first = expression.span.source.span(expression.span.start, expression.span.start + len("residual"))
            return evaluator.mismatch(problem, first, [before, after])


def _repeat(evaluator: Evaluator, expression: tree.Repeat, scope: Scope) -> DslValue:
    counters = _counters(evaluator, expression, scope)
    if counters is None:
        return POISON
    naming = scope.naming if scope.fresh_label else scope.naming.child("repeat", expression.span)
    scope.fresh_label = False
    current = scope.current
    for number, counter in enumerate(counters):
        if not evaluator.may_go_on(expression.span):
            return POISON
        inner = Scope(Naming(f"{naming.path}.{number}"), scope)
        inner.current = current
        if expression.index is not None:
            inner.declare(expression.index.name, counter, expression.index.span)
        current = run_body(evaluator, expression.body, inner)
        if has_poison(current):
            return POISON  # the other copies would say the same
    return _result(evaluator, current, expression.span)


def _result(evaluator: Evaluator, current: DslValue | None, at: Span) -> DslValue:
    """The current value, which a train block and a model without inputs do not have at first."""
    if current is not None:
        return current
    return evaluator.report(error("E0201", "there is no current value here", at, "nothing flows here yet"))


def _counters(evaluator: Evaluator, expression: tree.Repeat, scope: Scope) -> Sequence[DslValue] | None:
    """What the index of a ``repeat`` is in each copy: 0, 1 … or the elements of a list; None after a report."""
    count = evaluator.evaluate(expression.count, scope)
    if has_poison(count):
        return None
    counters: Sequence[DslValue]
    if isinstance(count, tuple) and not any(isinstance(item, Tensor) for item in count):
        number, counters = len(count), count
    elif isinstance(count, int) and not isinstance(count, bool):
        number, counters = count, range(count)
    else:
        title = f"repeat takes a whole number or a list, not {describe(count)}"
        evaluator.report(error("E0403", title, expression.count.span))
        return None
    if 0 <= number <= MOST_REPEATS:
        return counters
    evaluator.report(error("E0404", f"repeat takes 0 to {MOST_REPEATS} copies, not {number}", expression.count.span))
    return None


def _declare_instance(evaluator: Evaluator, stage: tree.Layer, scope: Scope) -> None:
    name = stage.name.name
    call = stage.value
    function = call.function if isinstance(call, tree.Call) else call
    callee = evaluator.evaluate(function, scope)
    if isinstance(callee, Callable) and not isinstance(callee.target, tree.Model | Foreign):
        path = f"{_place(evaluator, stage.name, scope).path}.{callee.name}"
        scope.declare(name, Instance(name, path, call, callee, scope), stage.name.span)
        return
    scope.declare(name, POISON, stage.name.span)
    if not has_poison(callee):
        title = f"layer declares a layer or a block, not {describe(callee)}"
        help = "several stages are shared as a block: declare one, and an instance of it here"
        advice = (help,) if isinstance(function, tree.Chain) else ()
        evaluator.report(error("E0403", title, function.span, help=advice))


def run_body(evaluator: Evaluator, body: tree.Body, scope: Scope) -> DslValue:
    """Run the stages of a body in ``scope``; the last current value is its result."""
    trace = evaluator.trace
    for stage in body.stages:
        first = len(trace.b.nodes) if trace else 0
        run_stage(evaluator, stage, scope)
        if trace is not None and trace.recorded is scope:
            _record(trace, stage, first, scope)
    return _result(evaluator, scope.current, body.span)


def _record(trace: Trace, stage: tree.Stage, first: int, scope: Scope) -> None:
    """Note the stage for the table of a model: what it gives, its new weights, its multiply-adds."""
    result: DslValue | None = scope.current
    name = stage.label if isinstance(stage, tree.ExpressionStage) else None
    if isinstance(stage, tree.Assign):
        name = stage.targets[0]
        binding = scope.peek(name.name)
        result = binding.value if binding else None
    results = result if isinstance(result, tuple) else (result,)
    types = tuple(part.value.type for part in results if isinstance(part, Tensor))
    if isinstance(stage, tree.Layer) or not types:
        return
    path = f"{scope.naming.path}.{name.name}" if name else scope.naming.path
    text = " ".join(stage.value.span.text.split())
    nodes = range(first, len(trace.b.nodes))
    trace.stages.append(Stage(path, text, stage.span, types, trace.new_weights(), _macs(trace, first), nodes))


def _macs(trace: Trace, first: int) -> Dim:
    total: Dim = 0
    for node in trace.b.nodes[first:]:
        operation = node.operation
        assert isinstance(operation, Op)
        total = total + operation.macs(tuple(v.type for v in node.inputs), tuple(v.type for v in node.outputs))
    return total


def run_stage(evaluator: Evaluator, stage: tree.Stage, scope: Scope) -> None:
    """Run one stage: it makes the current value, names a value, or makes an instance to share."""
    if not evaluator.may_go_on(stage.span):
        scope.current = POISON
        return
    match stage:
        case tree.ExpressionStage():
            inner = scope if stage.label is None else _labelled(evaluator, stage.label, scope)
            scope.current = evaluator.flow(stage.value, inner)
        case tree.Assign():
            assign(evaluator, stage, scope)
        case tree.Layer():
            _declare_instance(evaluator, stage, scope)


def assign(evaluator: Evaluator, stage: tree.Assign, scope: Scope) -> None:
    """``skip = …``, ``mean, scale = …``."""
    value = evaluator.stage(stage.value, scope)
    if isinstance(value, Tensor):
        # Errors about a named value point at the whole expression that made it.
        value = Tensor(value.value, stage.value.span)
    if len(stage.targets) == 1:
        scope.bind(stage.targets[0].name, value, stage.targets[0].span)
        return
    if not has_poison(value) and not (isinstance(value, tuple) and len(value) == len(stage.targets)):
        what = f"{len(value)} values" if isinstance(value, tuple) else describe(value)
        evaluator.report(
            error("E0403", f"{len(stage.targets)} names, but {what}", stage.value.span, f"this gives {what}")
        )
    parts = value if isinstance(value, tuple) and len(value) == len(stage.targets) else ()
    for index, target in enumerate(stage.targets):
        scope.bind(target.name, parts[index] if parts else POISON, target.span)


def _labelled(evaluator: Evaluator, label: tree.Name, scope: Scope) -> Scope:
    inner = Scope(_place(evaluator, label, scope), scope)
    inner.fresh_label = True
    return inner


def _place(evaluator: Evaluator, label: tree.Name, scope: Scope) -> Naming:
    """The place that a label or ``layer`` names. E0202 where the body has one of that name."""
    name = label.name
    before = scope.naming.taken(name)
    if before is None:
        return scope.naming.labelled(name, label.span)
    if before.labelled:
        title, first = f"the label {name} stands twice in one body", "first used here"
    else:
        title, first = f"the label {name} is a name that was given already", "named after what it calls"
    evaluator.report(
        error(
            "E0202",
            title,
            label.span,
            "used again here",
            labels=[Label(before.span, first)],
            help="labels name weights: give each stage one of its own",
        )
    )
    return scope.naming.child(name, label.span)
