"""What a search tries for the constants of a file."""

from __future__ import annotations

from compiler.diagnostics import Label, error
from compiler.front import tree
from compiler.front.declarations import Declarations
from compiler.front.expressions import Evaluator
from compiler.front.values import DslValue, describe, has_poison, is_number, same_kind
from compiler.program import SearchSpace


def search_spaces(declarations: Declarations, file: tree.File) -> dict[str, SearchSpace]:
    """The space of every constant that has one; what is wrong with one is reported, and it is left out."""
    found = {}
    for node in file.declarations:
        if isinstance(node, tree.Const) and node.space is not None:
            space = _space(declarations, node)
            if space is not None:
                found[node.name.name] = space
    return found


def _space(declarations: Declarations, node: tree.Const) -> SearchSpace | None:
    space, evaluator = node.space, Evaluator(declarations)
    assert space is not None
    scope = declarations.module_scope(node.name.name)
    default = evaluator.evaluate(node.value, scope)
    if not isinstance(space, tree.Range | tree.List):
        help = "write a range, as in 1e-4 .. 1e-2 log, or a list of choices, as in [16, 32, 64]"
        evaluator.report(error("E0403", "a search takes a range or a list", space.span, "neither of them", help=help))
        return None
    if isinstance(space, tree.List):
        choices = [(item, evaluator.evaluate(item, scope)) for item in space.items]
        if has_poison(default) or any(has_poison(value) for _, value in choices):
            return None
        if not choices:
            evaluator.report(error("E0404", "there is nothing to choose from", space.span, "no values here"))
            return None
        for item, value in choices:
            if not same_kind(default, value):
                _report_kind(evaluator, node, default, item, value)
                return None
        return SearchSpace(tuple(value for _, value in choices))
    ends = [(item, evaluator.evaluate(item, scope)) for item in (space.low, space.high)]
    if has_poison(default) or any(has_poison(value) for _, value in ends):
        return None
    for item, value in ends:
        if not is_number(value) or not same_kind(default, value):
            _report_kind(evaluator, node, default, item, value)
            return None
    low, high = (value for _, value in ends)
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if not low < high:
        title = f"a range goes from the smaller to the larger number, not from {low} to {high}"
        evaluator.report(error("E0404", title, space.span, help=f"write {high} .. {low}" if high < low else ()))
        return None
    if space.logarithmic and low <= 0:
        title = f"a logarithmic range begins above 0, not at {low}"
        evaluator.report(error("E0404", title, space.low.span, help="leave `log` out, or begin with a small number"))
        return None
    return SearchSpace((), low, high, isinstance(default, int), space.logarithmic)


def _report_kind(
    evaluator: Evaluator, node: tree.Const, default: DslValue, item: tree.Expression, value: DslValue
) -> None:
    title = f"a search can't put {describe(value)} in the place of {describe(default)}"
    labels = [Label(node.value.span, describe(default))]
    help = (
        f"write {default}.0 for the constant, if fractions are meant" if is_number(default) and is_number(value) else ()
    )
    evaluator.report(error("E0502", title, item.span, describe(value), labels=labels, help=help))
