"""Calls and arrows: layers, blocks, models and shared instances applied to values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compiler.diagnostics import Span, error
from compiler.front import tree
from compiler.front.arguments import (
    Given,
    Refused,
    bind_arguments,
    needs_current,
    report_argument,
)
from compiler.front.catalogue import Entry, entries
from compiler.front.catalogue.entry import ArgumentError
from compiler.front.compared import comparisons
from compiler.front.foreign import call_foreign
from compiler.front.modules import call_block, call_model
from compiler.front.scope import Naming, Scope
from compiler.front.trace import StrayWeight, Trace
from compiler.front.values import POISON, Callable, DslValue, Foreign, Instance, Tensor, describe, has_poison
from compiler.ir.graph import Value
from compiler.ir.types import TypeMismatch

if TYPE_CHECKING:
    from compiler.front.expressions import Evaluator


def call(evaluator: Evaluator, expression: tree.Call, scope: Scope) -> DslValue:
    """``f(a, b=1)``: takes the current value where its first tensor is missing."""
    callee = evaluator.evaluate(expression.function, scope)
    return apply(
        evaluator, callee, expression.span, expression.positional, expression.keywords, None, scope,
        name=expression.function.span,
    )  # fmt: skip


def step(evaluator: Evaluator, expression: tree.Expression, current: DslValue, scope: Scope) -> DslValue:
    """``… -> f(a)``: what stands before the arrow becomes the first argument.

    Behind an arrow may stand what can stand on a line of its own: everything but a call sees it as the current value.
    """
    if not isinstance(expression, tree.Call | tree.Name | tree.Attribute):
        inner = Scope(scope.naming, scope)
        inner.current = current
        return evaluator.flow(expression, inner)
    positional: tuple[tree.Expression, ...] = ()
    keywords: tuple[tree.Keyword, ...] = ()
    function: tree.Expression = expression
    if isinstance(expression, tree.Call):
        function, positional, keywords = expression.function, expression.positional, expression.keywords
    callee = evaluator.evaluate(function, scope)
    return apply(evaluator, callee, expression.span, positional, keywords, current, scope, name=function.span)


def apply(
    evaluator: Evaluator,
    callee: DslValue,
    at: Span,
    positional: Sequence[tree.Expression],
    keywords: Sequence[tree.Keyword],
    piped: DslValue | None,
    scope: Scope,
    *,
    name: Span | None = None,
) -> DslValue:
    """Call ``callee`` at the place ``at``; ``piped`` is what an arrow brings, None where there is no arrow."""
    given = [Given(item.span, item) for item in positional]
    brought = None if piped is None else _brought(piped, at)
    if isinstance(callee, Instance):
        # The declaration holds the arguments; a use brings only the tensors.
        return apply_instance(evaluator, callee, at, (brought or []) + given, keywords, scope, brought is None)
    if isinstance(callee, Callable):
        target = callee.target
        if isinstance(target, Entry):
            known = _look_at(evaluator, target, given, scope)
            if any(argument.value is not None and has_poison(argument.value) for argument in known):
                # Which parameter a faulty argument was meant for is not known.
                return _ignore(evaluator, known, keywords, scope)
            arguments = _with_current(target, brought, given, known, scope, at)
            naming = scope.naming.child(target.name, at) if target.kind == "layer" else scope.naming
            return apply_entry(evaluator, target, at, arguments, keywords, scope, naming.path)
        if evaluator.trace is None:
            _ignore(evaluator, given, keywords, scope)
            return _without_tensors(evaluator, callee.name, at)
        if isinstance(target, Foreign):
            return call_foreign(evaluator, target, at, brought, given, keywords, scope)
        home = evaluator.within(callee.home)
        if isinstance(target, tree.Model):
            return call_model(evaluator, home, target, at, brought, given, keywords, scope)
        return call_block(evaluator, home, target, at, brought, given, keywords, scope)
    _ignore(evaluator, given, keywords, scope)
    if has_poison(callee) or (piped is not None and has_poison(piped)):
        return POISON
    what, place = describe(callee), name or at
    hidden = entries("layer").get(place.text)
    help = f"{place.text} hides the {hidden.kind} of that name here: call the value something else" if hidden else ()
    return evaluator.report(error("E0403", f"{what} can't be called", place, "not a layer or a function", help=help))


def apply_entry(
    evaluator: Evaluator,
    entry: Entry,
    at: Span,
    given: Sequence[Given],
    keywords: Sequence[tree.Keyword],
    scope: Scope,
    path: str,
) -> DslValue:
    """Call an entry of the catalogue; what it makes belongs to ``path``."""
    trace = evaluator.trace
    if trace is None:
        return _without_tensors(evaluator, entry.name, at)
    if entry.kind == "augmentation" and not evaluator.in_train_block:
        return _augments_a_model(evaluator, entry, at)
    try:
        positional, named, places = bind_arguments(evaluator, entry, at, given, keywords, scope)
    except Refused:
        return POISON
    with trace.at(at, path):
        try:
            result = entry.build(trace, *positional, **named)
            if entry.kind == "augmentation":
                _note_augmented(trace, (*positional, *named.values()), result)
        except ArgumentError as problem:
            return report_argument(evaluator, problem, at, places)
        except TypeMismatch as problem:
            return evaluator.mismatch(problem, at, [argument.value for argument in given if argument.value is not None])
        except StrayWeight:
            return evaluator.report(
                error(
                    "E0505",
                    f"{entry.name} has weights, which only a model can own",
                    at,
                    "this stands in a train block",
                    help="move it into a model: what is exported holds the models' weights",
                )
            )
    if entry.kind == "loss":
        names = [parameter.name for parameter in entry.parameters]
        defaults = {parameter.name: parameter.default for parameter in entry.parameters}
        trace.compared += comparisons(trace.b, defaults | dict(zip(names, positional, strict=False)) | named)
    return _result(result, at)


def _augments_a_model(evaluator: Evaluator, entry: Entry, at: Span) -> DslValue:
    return evaluator.report(
        error(
            "E0515",
            f"{entry.name} changes data while training, and can stand in a train block only",
            at,
            "in a model it would be exported",
            help=f"put it in front of the model where that is trained: image -> {at.text.strip()} -> Net",
        )
    )


def _note_augmented(trace: Trace, arguments: Sequence[object], result: Any) -> None:
    """An augmentation takes tensors and gives one for each of the first of them."""
    results = result if isinstance(result, tuple) else (result,)
    given = [value for value in arguments if isinstance(value, Value)][: len(results)]
    trace.augment(given, results)


def _without_tensors(evaluator: Evaluator, name: str, at: Span) -> DslValue:
    return evaluator.report(error("E0403", f"{name} computes with tensors", at, "there are none among constants"))


def _result(result: Any, at: Span) -> DslValue:
    """What an entry gave, with its values as tensors."""
    if isinstance(result, tuple):
        return tuple(_result(part, at) for part in result)
    value: DslValue = Tensor(result, at) if isinstance(result, Value) else result
    return value


def apply_instance(
    evaluator: Evaluator,
    instance: Instance,
    at: Span,
    given: list[Given],
    keywords: Sequence[tree.Keyword],
    scope: Scope,
    bare: bool,
) -> DslValue:
    """Call what ``layer x = …`` declared: every use has the same weights."""
    values = [argument_value(evaluator, argument, scope) for argument in given]
    if bare and not values and scope.current is not None:
        values = [scope.current]
    if keywords or any(not isinstance(value, Tensor) and not has_poison(value) for value in values):
        return evaluator.report(
            error(
                "E0403",
                f"the layer {instance.name} takes tensors only",
                at,
                "its other arguments stand where it was declared",
            )
        )
    if any(map(has_poison, values)):
        return POISON
    call = instance.call if isinstance(instance.call, tree.Call) else None
    declared = [Given(item.span, item) for item in call.positional] if call else []
    arguments = _brought(tuple(values), at) + declared
    named = call.keywords if call else ()
    target = instance.callee.target
    if isinstance(target, Entry):
        result = apply_entry(evaluator, target, at, arguments, named, instance.scope, instance.path)
    else:
        assert isinstance(target, tree.Block)
        home = evaluator.within(instance.callee.home)
        naming = Naming(instance.path)
        result = call_block(evaluator, home, target, at, arguments, [], named, instance.scope, naming)
    prefix = f"{instance.path}."
    weights = evaluator.graph().weights
    instance.weights.update(
        (name.removeprefix(prefix), found.value) for name, found in weights.items() if name.startswith(prefix)
    )
    return result


def _ignore(evaluator: Evaluator, given: Sequence[Given], keywords: Sequence[tree.Keyword], scope: Scope) -> DslValue:
    """Look at the arguments of a call that can't be made, for the mistakes in them."""
    for argument in given:
        argument_value(evaluator, argument, scope)
    for keyword in keywords:
        evaluator.evaluate(keyword.value, scope)
    return POISON


def argument_value(evaluator: Evaluator, argument: Given, scope: Scope) -> DslValue:
    """The value of an argument that is evaluated as it stands."""
    if argument.value is not None:
        return argument.value
    assert argument.expression is not None
    return evaluator.evaluate(argument.expression, scope)


def _look_at(evaluator: Evaluator, entry: Entry, given: list[Given], scope: Scope) -> list[Given]:
    """The arguments, with those evaluated that may be the tensors which ``entry`` must have."""
    leading = len(entry.tensors)  # which tell whether the current value is to be put in
    return [
        Given(argument.span, None, argument_value(evaluator, argument, scope)) if index < leading else argument
        for index, argument in enumerate(given)
    ]


def _with_current(
    entry: Entry, brought: list[Given] | None, given: list[Given], known: list[Given], scope: Scope, at: Span
) -> list[Given]:
    """The arguments with what the arrow brought in front, or with the current value where a tensor is missing."""
    if brought is not None:
        return brought + known
    if entry.tensors and scope.current is not None and needs_current(entry, known):
        # What was looked at may be a word or an initialiser for a later parameter: leave that to its own reading.
        rest = [looked if isinstance(looked.value, Tensor) else raw for looked, raw in zip(known, given, strict=True)]
        return _brought(scope.current, at) + rest
    return known


def _brought(piped: DslValue, at: Span) -> list[Given]:
    """What an arrow brings, as arguments: a tuple is several."""
    parts = piped if isinstance(piped, tuple) else (piped,)
    return [Given(part.span if isinstance(part, Tensor) else at, None, part) for part in parts]
