"""The one call rule: which argument goes to which parameter of a catalogue entry, and what it has to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from compiler.diagnostics import Span, did_you_mean, error
from compiler.front import tree
from compiler.front.catalogue import Entry, entries
from compiler.front.catalogue.entry import ArgumentError, Columns, Initialiser, ModelWeights, Operand, Parameter, Rate
from compiler.front.kinds import KIND_WORDS, as_kind
from compiler.front.scope import Scope
from compiler.front.signature import as_dim
from compiler.front.trained import choose
from compiler.front.values import NONE, Callable, DslValue, Foreign, Poison, Tensor, describe, has_poison, is_number
from compiler.sources import Encoding

if TYPE_CHECKING:
    from compiler.front.expressions import Evaluator


@dataclass(frozen=True, slots=True)
class Given:
    """One argument as it came: already a value (piped in, or looked at before), or an expression still to evaluate."""

    span: Span
    expression: tree.Expression | None = None
    value: DslValue | None = None


class Refused(Exception):
    """An argument was reported; the call gives POISON."""


def needs_current(entry: Entry, given: Sequence[Given]) -> bool:
    """Whether the tensors that ``entry`` must have are not all among the leading arguments."""
    for position, parameter in enumerate(entry.tensors):
        if position >= len(given):
            return True
        value = given[position].value
        fits = isinstance(value, Tensor | Poison) or (parameter.kind == Operand and _is_numeric(value))
        if not fits:
            return True
    return False


def bind_arguments(
    evaluator: Evaluator,
    entry: Entry,
    at: Span,
    given: Sequence[Given],
    keywords: Sequence[tree.Keyword],
    scope: Scope,
) -> tuple[list[Any], dict[str, Any], dict[str, Span]]:
    """Positional and named arguments for ``entry.build``, and where each parameter's argument stands.

    Raises Refused after everything that is wrong with the arguments was reported.
    """
    assigned, extra = _assign(evaluator, entry, at, given, keywords)
    failed = extra
    positional: list[Any] = []
    named: dict[str, Any] = {}
    places: dict[str, Span] = {}
    for parameter in entry.parameters:
        arguments = assigned.get(parameter.name, [])
        if not arguments and parameter.required:
            _report_missing(evaluator, entry, parameter, at)
            failed = True
        values: list[Any] = []
        for argument in arguments:
            places.setdefault(parameter.name, argument.span)
            try:
                values.append(_convert(evaluator, entry, parameter, argument, scope))
            except Refused:
                failed = True
        if parameter.variadic:
            positional.extend(values)
        elif parameter.per_input:
            failed |= _bind_inputs(evaluator, entry, parameter, assigned, named, places, scope)
        elif values:
            named[parameter.name] = values[0]
    if failed:
        raise Refused
    before = [named.pop(name) for name in entry.before_variadic]
    return before + positional, named, places


def _bind_inputs(
    evaluator: Evaluator,
    entry: Entry,
    parameter: Parameter,
    assigned: dict[str, list[Given]],
    named: dict[str, Any],
    places: dict[str, Span],
    scope: Scope,
) -> bool:
    """Puts what is given for inputs of the train block among the named arguments; whether anything was reported."""
    failed, own = False, {parameter.name for parameter in entry.parameters if not parameter.per_input}
    for name, (argument,) in ((name, given) for name, given in assigned.items() if name not in own):
        places[name] = argument.span
        try:
            named[name] = _convert(evaluator, entry, replace(parameter, name=name), argument, scope)
        except Refused:
            failed = True
    return failed


def _assign(
    evaluator: Evaluator, entry: Entry, at: Span, given: Sequence[Given], keywords: Sequence[tree.Keyword]
) -> tuple[dict[str, list[Given]], bool]:
    """Arguments by parameter, and whether anything was reported."""
    failed = False
    assigned: dict[str, list[Given]] = {}
    by_position, known = entry.by_position, entry.by_name
    for index, argument in enumerate(given):
        if index < len(by_position) and not any(parameter.variadic for parameter in by_position[:index]):
            assigned.setdefault(by_position[index].name, []).append(argument)
        elif by_position and by_position[-1].variadic:
            assigned.setdefault(by_position[-1].name, []).append(argument)
        else:
            evaluator.report(_too_many(entry, argument.span, len(by_position)))
            failed = True
            break
    for keyword in keywords:
        name = keyword.name.name
        if (name not in known and not entry.per_input) or (name in known and known[name].variadic):
            near = did_you_mean(name, known)
            evaluator.report(
                error(
                    "E0401",
                    f"{entry.name} has no argument {name}",
                    keyword.name.span,
                    f"did you mean {near}?" if near else "",
                    help=f"it is {entry.signature}",
                )
            )
            failed = True
        elif name in assigned:
            evaluator.report(error("E0401", f"{entry.name} gets {name} twice", keyword.span, "given already"))
            failed = True
        else:
            assigned[name] = [Given(keyword.value.span, keyword.value)]
    return assigned, failed


def _too_many(entry: Entry, at: Span, limit: int) -> Any:
    takes = "no arguments" if limit == 0 else f"at most {limit} argument{'s' * (limit != 1)} by position"
    return error("E0405", f"{entry.name} takes {takes}", at, "one too many", help=f"it is {entry.signature}")


def _report_missing(evaluator: Evaluator, entry: Entry, parameter: Parameter, at: Span) -> None:
    text = "no current value to take here" if parameter.is_tensor else f"{parameter.name} is missing"
    evaluator.report(error("E0402", f"{entry.name} needs {parameter.name}", at, text, help=f"it is {entry.signature}"))


def _is_numeric(value: object) -> bool:
    return is_number(value) or as_dim(value) is not None


def _convert(evaluator: Evaluator, entry: Entry, parameter: Parameter, argument: Given, scope: Scope) -> Any:
    """The argument as what the parameter takes. Raises Refused after a report."""
    if parameter.choices:
        return _choice(evaluator, entry, parameter, argument, scope)
    if parameter.kind is Initialiser:
        return _from_namespace(evaluator, "initialiser", argument, scope)
    expression = argument.expression
    if parameter.kind == Rate and expression is not None and _is_schedule(evaluator, expression, scope):
        return build_from(evaluator, "schedule", expression, scope)
    if parameter.kind == Columns:
        return _columns(evaluator, entry, parameter, argument, scope)
    if parameter.kind is ModelWeights:
        return _model_weights(evaluator, entry, parameter, argument, scope)
    value = argument.value
    if value is None:
        assert argument.expression is not None
        value = evaluator.evaluate(argument.expression, scope)
    if has_poison(value):
        raise Refused
    if value == NONE and not parameter.required and parameter.default is None:
        return None
    converted = as_kind(parameter.kind, value)
    if converted is not None:
        return converted
    raise _wrong_kind(evaluator, entry, parameter, argument, value)


def _model_weights(
    evaluator: Evaluator, entry: Entry, parameter: Parameter, argument: Given, scope: Scope
) -> ModelWeights:
    """The weights of a model, or of a part of one such as ``Net.head``. Raises Refused after a report."""
    value = argument.value
    labels: tuple[str, ...] = ()
    if argument.expression is not None:
        value, labels = _model_and_labels(evaluator, argument.expression, scope)
    if value is None or has_poison(value):
        raise Refused
    if not isinstance(value, Callable) or not isinstance(value.target, tree.Model | Foreign):
        raise _wrong_kind(evaluator, entry, parameter, argument, value)
    if isinstance(value.target, Foreign):
        return _weights_of_foreign(evaluator, value.target, argument, ".".join(labels))
    if evaluator.declarations.is_in_progress(value):
        evaluator.report(
            error(
                "E0406",
                f"{entry.name} takes all weights of {value.name}, which are not known inside of {value.name}",
                argument.span,
                help=f"let it stand in a train block: minimize … + 1e-4 * {entry.name}({value.name})",
            )
        )
        raise Refused
    if not (value.home or evaluator.declarations).is_sound(value.target):
        raise Refused  # what is wrong with the model is told where that stands
    weights = evaluator.declarations.model_weights(evaluator, value, ".".join(labels))
    assert weights is not None, "a model has weights"
    if argument.expression is not None and labels and not weights.every:
        model = (value.home or evaluator.declarations).elaborated(value.target)
        every = [traced.weight.name for traced in model.weights] if model else []
        choose(
            [tree.Name(argument.expression.span, argument.expression.span.text)],
            every,
            evaluator.sink,
            f"of {value.name}",
        )
        raise Refused
    return weights


def _weights_of_foreign(evaluator: Evaluator, foreign: Foreign, argument: Given, part: str) -> ModelWeights:
    """The weights of a network from elsewhere, or of a part of it. Raises Refused after a report."""
    weights = evaluator.declarations.foreign_weights(evaluator, foreign, part)
    if not weights.every:
        what = f"{foreign.name} has no weight in {part}" if part else f"no weight of {foreign.name} is used before this"
        help = f"dlc check shows the parts of {foreign.name}" if part else f"call it first: logits = {foreign.name}(…)"
        evaluator.report(error("E0201", what, argument.span, "nothing here", help=help))
        raise Refused
    return weights


def _model_and_labels(
    evaluator: Evaluator, expression: tree.Expression, scope: Scope
) -> tuple[DslValue, tuple[str, ...]]:
    """``Net.body.last`` as the model and the labels behind it; what is none of that as its value."""
    if isinstance(expression, tree.Attribute):
        value, labels = _model_and_labels(evaluator, expression.value, scope)
        if has_poison(value):
            return value, ()
        if isinstance(value, Callable) and isinstance(value.target, tree.Model | Foreign):
            return value, (*labels, expression.name.name)
    return evaluator.evaluate(expression, scope), ()


def _wrong_kind(evaluator: Evaluator, entry: Entry, parameter: Parameter, argument: Given, value: DslValue) -> Refused:
    evaluator.report(
        error(
            "E0403",
            f"{parameter.name} of {entry.name} is {KIND_WORDS[parameter.kind]}, not {describe(value)}",
            argument.span,
            describe(value),
            help=_kind_help(parameter, value, entry),
        )
    )
    return Refused()


def _columns(evaluator: Evaluator, entry: Entry, parameter: Parameter, argument: Given, scope: Scope) -> Columns:
    """Names of columns and encodings, one or a list of them."""
    expression = argument.expression
    listed = isinstance(expression, tree.List)
    parts = expression.items if isinstance(expression, tree.List) else (expression,)
    found: list[str | Encoding] = []
    for part in parts:
        if isinstance(part, tree.Call):
            found.append(build_from(evaluator, "encoding", part, scope))
            continue
        assert part is not None, "a reader's arguments are expressions"
        value = evaluator.evaluate(part, scope)
        if has_poison(value):
            raise Refused
        names = value if isinstance(value, tuple) else (value,)  # a constant may be a list of names
        listed |= isinstance(value, tuple)
        for name in names:
            if not isinstance(name, str):
                raise _wrong_kind(evaluator, entry, parameter, Given(part.span), name)
            found.append(name)
    if not found:
        raise _wrong_kind(evaluator, entry, parameter, argument, ())
    return tuple(found) if listed else found[0]


def _kind_help(parameter: Parameter, value: DslValue, entry: Entry) -> tuple[str, ...]:
    if isinstance(value, Callable) and parameter.is_tensor:
        return (f"a layer is applied with an arrow: write (x -> {value.name})",)
    if isinstance(value, tuple) and parameter.variadic:
        return (f"leave the brackets out: {entry.name}(a, b)",)
    return (f"it is {entry.signature}",)


def _choice(evaluator: Evaluator, entry: Entry, parameter: Parameter, argument: Given, scope: Scope) -> str:
    """One of the words of a Literal, written as a name or as a text."""
    expression = argument.expression
    word: DslValue | None = argument.value
    if isinstance(expression, tree.Name) and scope.find(expression.name) is None:
        word = expression.name
    elif expression is not None:
        word = evaluator.evaluate(expression, scope)
    if isinstance(word, str) and word in parameter.choices:
        return word
    if word is None or not has_poison(word):
        near = did_you_mean(word, parameter.choices) if isinstance(word, str) else None
        shown = ", ".join(parameter.choices)
        evaluator.report(
            error(
                "E0404",
                f"{parameter.name} of {entry.name} is one of {shown}",
                argument.span,
                f"did you mean {near}?" if near else "none of them",
            )
        )
    raise Refused


def _from_namespace(evaluator: Evaluator, kind: Any, argument: Given, scope: Scope) -> Any:
    """An initialiser, written as its name or as a call."""
    expression = argument.expression
    if expression is None:
        evaluator.report(error("E0403", f"an {kind} is needed here", argument.span, help=_known(kind)))
        raise Refused
    return build_from(evaluator, kind, expression, scope)


def _is_schedule(evaluator: Evaluator, expression: tree.Expression, scope: Scope) -> bool:
    """Whether a learning rate is a schedule, known or unknown: a call of what the file does not declare."""
    name = expression.function if isinstance(expression, tree.Call) else expression
    if not isinstance(name, tree.Name) or evaluator.is_known(name.name, scope):
        return False
    return name is not expression or name.name in entries("schedule")


def _known(kind: Any) -> str:
    return f"the {kind}s are {', '.join(sorted(entries(kind)))}"


def build_from(evaluator: Evaluator, kind: Any, expression: tree.Expression, scope: Scope) -> Any:
    """What an initialiser or optimizer expression builds. Raises Refused after a report."""
    name = expression.function if isinstance(expression, tree.Call) else expression
    known = entries(kind)
    if not isinstance(name, tree.Name) or name.name not in known:
        near = did_you_mean(name.name, known) if isinstance(name, tree.Name) else None
        shown = name.name if isinstance(name, tree.Name) else name.span.text
        evaluator.report(
            error(
                "E0201",
                f"there is no {kind} {shown}",
                name.span,
                f"did you mean {near}?" if near else "not found",
                help=_known(kind),
            )
        )
        raise Refused
    entry = known[name.name]
    call = expression if isinstance(expression, tree.Call) else None
    given = [Given(item.span, item) for item in call.positional] if call else []
    keywords = call.keywords if call else ()
    positional, named, places = bind_arguments(evaluator, entry, expression.span, given, keywords, scope)
    try:
        return entry.build(*positional, **named)
    except ArgumentError as problem:
        report_argument(evaluator, problem, expression.span, places)
        raise Refused from None


def report_argument(evaluator: Evaluator, problem: ArgumentError, at: Span, places: dict[str, Span]) -> Poison:
    """Report an argument that its entry refused."""
    span = places.get(problem.argument, at)
    return evaluator.report(error("E0404", problem.title, span, problem.detail, help=problem.help))
