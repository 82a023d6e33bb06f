"""Models and blocks: their signatures matched with arguments, their bodies run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from compiler.diagnostics import Label, Span, did_you_mean, error
from compiler.front import tree
from compiler.front.arguments import Given
from compiler.front.limits import nested_too_deeply
from compiler.front.scope import Naming, Scope
from compiler.front.signature import check_promise, declare_type, match_argument, written_type
from compiler.front.values import NONE, POISON, DslValue, Poison, Tensor, describe, has_poison
from compiler.ir.graph import Role
from compiler.program import ModelCall

if TYPE_CHECKING:
    from compiler.front.expressions import Evaluator

Module = tree.Model | tree.Block


def declare_inputs(evaluator: Evaluator, parameters: Sequence[tree.Parameter], scope: Scope, path: str) -> list[Tensor]:
    """Make a graph input of every tensor parameter and bind its name; what can't be declared is bound to POISON."""
    trace = evaluator.graph()
    made: list[Tensor] = []
    for parameter in parameters:
        name = parameter.name.name
        if parameter.pattern is None:
            evaluator.report(
                error(
                    "E0403",
                    f"{name} needs a type: the inputs here are tensors",
                    parameter.span,
                    help=f"write for example {name}: f32[N, 8]; a block takes hyper-parameters",
                )
            )
            scope.declare(name, POISON, parameter.span)
            continue
        if parameter.default is not None:
            text = f"{name} is an input of {path}, which is never missing"
            evaluator.report(error("E0403", text, parameter.default.span, help="only a block can do without a tensor"))
        type = declare_type(evaluator, parameter.pattern, scope)
        if type is None:
            scope.declare(name, POISON, parameter.span)
            continue
        with trace.at(parameter.span, path):
            tensor = Tensor(trace.b.input(name, type, Role.DATA), parameter.span)
        scope.declare(name, tensor, parameter.span)
        made.append(tensor)
    return made


def call_model(
    evaluator: Evaluator,
    home: Evaluator,
    model: tree.Model,
    at: Span,
    brought: list[Given] | None,
    given: list[Given],
    keywords: Sequence[tree.Keyword],
    scope: Scope,
) -> DslValue:
    """Call a model: every call shares its weights, which go by the model's own name.

    Arguments are read by ``evaluator``; ``home`` sees the names of the file that declares the model.
    """
    inner = home.declarations.module_scope(model.name.name)
    arguments = _assign(evaluator, model, at, brought, given, keywords, scope)
    with _entered(home, model, at) as entered:
        if not entered or arguments is None or not _match(home, model, at, arguments, inner):
            return POISON
        if not home.declarations.is_sound(model):
            return _promised(home, model, at, inner)
        result = _run(home, model, at, inner)
        _note_call(evaluator, model, arguments, result)
        return result


def _note_call(
    evaluator: Evaluator, model: tree.Model, arguments: Mapping[str, tuple[DslValue, Span]], result: DslValue
) -> None:
    taken = {name: value.value for name, (value, _) in arguments.items() if isinstance(value, Tensor)}
    results = result if isinstance(result, tuple) else (result,)
    given = tuple(tensor.value for tensor in results if isinstance(tensor, Tensor))
    if len(given) == len(results):
        evaluator.graph().calls.append(ModelCall(model.name.name, taken, given))


def call_block(
    evaluator: Evaluator,
    home: Evaluator,
    block: tree.Block,
    at: Span,
    brought: list[Given] | None,
    given: list[Given],
    keywords: Sequence[tree.Keyword],
    scope: Scope,
    naming: Naming | None = None,
) -> DslValue:
    """Call a block: each call has weights of its own, unless ``naming`` says whose they are."""
    inner = Scope(naming or scope.naming.child(block.name.name, at))
    arguments = _assign(evaluator, block, at, brought, given, keywords, scope)
    with _entered(home, block, at) as entered:
        if not entered or arguments is None or not _match(home, block, at, arguments, inner):
            return POISON
        return _run(home, block, at, inner)


def run_module(evaluator: Evaluator, module: Module, at: Span, scope: Scope) -> DslValue:
    """Run the body on the parameters bound in ``scope`` and check what the signature promises."""
    with _entered(evaluator, module, at) as entered:
        return _run(evaluator, module, at, scope) if entered else POISON


def _run(evaluator: Evaluator, module: Module, at: Span, scope: Scope) -> DslValue:
    if not _owns_its_name(evaluator, module, at):
        return POISON
    first = next((p for p in module.parameters if p.pattern is not None), None)
    binding = scope.find(first.name.name) if first else None
    scope.current = binding.value if binding else None
    try:
        result = evaluator.body(module.body, scope)
    except RecursionError:
        return evaluator.report(nested_too_deeply(at, module.name.name))
    if has_poison(result) or not _keeps_promises(evaluator, module.name.name, module, result, scope):
        return POISON
    return Tensor(result.value, at) if isinstance(result, Tensor) else result


def _owns_its_name(evaluator: Evaluator, module: Module, at: Span) -> bool:
    """Whether no other file's model of that name is part of this graph: both would have the same weights."""
    if isinstance(module, tree.Block):
        return True
    name = module.name
    owner = evaluator.graph().owners.setdefault(name.name, name.span)
    if owner == name.span:
        return True
    evaluator.report(
        error(
            "E0202",
            f"two models called {name.name} meet here",
            at,
            "their weights would have the same names",
            labels=[Label(owner, "one is declared here"), Label(name.span, "the other here")],
            help="rename one of them",
        )
    )
    return False


@contextmanager
def _entered(evaluator: Evaluator, module: Module, at: Span) -> Iterator[bool]:
    """Whether the module may be run: not inside itself."""
    modules = [called for called, _ in evaluator.stack]
    if module in modules:
        since = evaluator.stack[modules.index(module) :]
        path = " -> ".join([*(called.name.name for called, _ in since), module.name.name])
        labels = [Label(span, f"{called.name.name} is called here") for called, span in since[1:]]
        evaluator.report(
            error(
                "E0406",
                f"{module.name.name} calls itself: {path}",
                at,
                "this call never ends",
                labels=labels,
                help="repeat a block with repeat n { … }",
            )
        )
        yield False
        return
    evaluator.stack.append((module, at))
    try:
        yield True
    finally:
        evaluator.stack.pop()


def _assign(
    evaluator: Evaluator,
    module: Module,
    at: Span,
    brought: list[Given] | None,
    given: list[Given],
    keywords: Sequence[tree.Keyword],
    scope: Scope,
) -> dict[str, tuple[DslValue, Span]] | None:
    """The value for each parameter; None after a report."""
    values = [(_value(evaluator, item, scope), item.span) for item in (brought or []) + given]
    tensors = sum(parameter.pattern is not None and parameter.default is None for parameter in module.parameters)
    missing = tensors - sum(isinstance(value, Tensor | Poison) for value, _ in values[:tensors])
    named = {keyword.name.name for keyword in keywords}
    first = next((p.name.name for p in module.parameters if p.pattern is not None), "")
    if brought is None and missing == 1 and first not in named and scope.current is not None:
        current = scope.current
        values.insert(0, (current, current.span if isinstance(current, Tensor) else at))
    assigned = {parameter.name.name: pair for parameter, pair in zip(module.parameters, values, strict=False)}
    failed = False
    if len(values) > len(module.parameters):
        takes = len(module.parameters)
        text = f"{module.name.name} takes {takes} argument{'s' * (takes != 1)}, not {len(values)}"
        evaluator.report(error("E0405", text, values[takes][1], "one too many", labels=_declared(module)))
        failed = True
    for keyword in keywords:
        failed |= not _assign_keyword(evaluator, module, keyword, assigned, scope)
    for parameter in module.parameters:
        name = parameter.name.name
        if name in assigned:
            continue
        if parameter.default is None:
            text = f"{module.name.name} needs {name}"
            evaluator.report(error("E0402", text, at, f"{name} is missing", labels=_declared(module)))
            failed = True
    return None if failed else assigned


def _assign_keyword(
    evaluator: Evaluator,
    module: Module,
    keyword: tree.Keyword,
    assigned: dict[str, tuple[DslValue, Span]],
    scope: Scope,
) -> bool:
    name = keyword.name.name
    value = evaluator.evaluate(keyword.value, scope)
    names = [parameter.name.name for parameter in module.parameters]
    if name not in names:
        near = did_you_mean(name, names)
        help = (f"did you mean {near}?",) if near else ()
        evaluator.report(
            error(
                "E0401", f"{module.name.name} has no argument {name}", keyword.name.span, labels=_declared(module),
                help=help,
            )
        )  # fmt: skip
        return False
    if name in assigned:
        evaluator.report(error("E0401", f"{module.name.name} gets {name} twice", keyword.span, "given already"))
        return False
    assigned[name] = (value, keyword.value.span)
    return True


def _match(
    evaluator: Evaluator,
    module: Module,
    at: Span,
    assigned: dict[str, tuple[DslValue, Span]],
    inner: Scope,
) -> bool:
    """Bind the parameters in ``inner``; False after a report, or where an argument was faulty already."""
    sound = not any(has_poison(value) for value, _ in assigned.values())
    for parameter in module.parameters:
        name = parameter.name.name
        if name not in assigned:
            assert parameter.default is not None
            default = evaluator.evaluate(parameter.default, inner)
            if parameter.pattern is not None and default != NONE:
                text = f"the default of a tensor can only be {NONE}"
                evaluator.report(error("E0403", text, parameter.default.span, describe(default)))
                sound = False
            inner.declare(name, default, parameter.span)
            continue
        value, span = assigned[name]
        if parameter.pattern is not None and isinstance(value, Tensor):
            # Before the name is bound: in its own type it means what it means outside.
            sound &= match_argument(evaluator, module.name.name, parameter, value, at, inner)
        inner.declare(name, value, parameter.span)
        if has_poison(value):
            continue
        if parameter.pattern is not None:
            if not isinstance(value, Tensor) and not (value == NONE and parameter.default is not None):
                title = f"{name} of {module.name.name} is a tensor, not {describe(value)}"
                evaluator.report(error("E0403", title, span, describe(value), labels=_declared(module)))
                sound = False
        elif isinstance(value, Tensor):
            title = f"{name} of {module.name.name} is known at compile time, not {describe(value)}"
            evaluator.report(error("E0403", title, span, describe(value), labels=_declared(module)))
            sound = False
    return sound


def _keeps_promises(evaluator: Evaluator, name: str, module: Module, result: DslValue, scope: Scope) -> bool:
    """Whether the result is what the signature says; without an output type anything is."""
    if not module.outputs:
        return True
    parts = result if isinstance(result, tuple) else (result,)
    if len(parts) != len(module.outputs) or not all(isinstance(part, Tensor) for part in parts):
        wanted = len(module.outputs)
        evaluator.report(
            error(
                "E0304",
                f"{name} promises {wanted} result{'s' * (wanted != 1)}, but gives {describe(result)}",
                module.body.stages[-1].span if module.body.stages else module.span,
                labels=[Label(module.outputs[0].span, "promised here")],
            )
        )
        return False
    kept = [
        check_promise(evaluator, name, output, part, scope)
        for output, part in zip(module.outputs, parts, strict=True)
        if isinstance(part, Tensor)
    ]
    return all(kept)


def _promised(evaluator: Evaluator, model: tree.Model, at: Span, scope: Scope) -> DslValue:
    """Stands for a call of a model whose body has errors that were reported: a tensor of the promised type, so that
    what follows is still checked."""
    if not model.outputs or any(output.type.dtype is None for output in model.outputs):
        return POISON
    trace = evaluator.graph()
    results: list[DslValue] = []
    for output in model.outputs:
        type = written_type(evaluator, output.type, scope)
        if type is None:
            return POISON
        results.append(Tensor(trace.placeholder(f"{model.name.name}.promised", type), at))
    return results[0] if len(results) == 1 else tuple(results)


def _value(evaluator: Evaluator, argument: Given, scope: Scope) -> DslValue:
    if argument.value is not None:
        return argument.value
    assert argument.expression is not None
    return evaluator.evaluate(argument.expression, scope)


def _declared(module: Module) -> list[Label]:
    return [Label(module.name.span, "declared here")]
