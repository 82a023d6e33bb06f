"""``x[…]``: parts of tensors and elements of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compiler.diagnostics import Span, error
from compiler.front import tree
from compiler.front.scope import Scope
from compiler.front.values import POISON, DslValue, Tensor, describe, has_poison
from compiler.ir.dims import Dim, Poly, less_equal
from compiler.ir.types import TypeMismatch

if TYPE_CHECKING:
    from compiler.front.expressions import Evaluator


def index(evaluator: Evaluator, expression: tree.Index, scope: Scope) -> DslValue:
    """``x[:, 0]`` on a tensor, ``sizes[1]`` on a list."""
    value = evaluator.evaluate(expression.value, scope)
    if has_poison(value):
        return POISON
    if isinstance(value, Tensor):
        return _index_tensor(evaluator, expression, value, scope)
    if isinstance(value, tuple):
        return _index_list(evaluator, expression, value, scope)
    return evaluator.report(
        error("E0403", f"{describe(value)} has no elements", expression.value.span, describe(value))
    )


def _index_list(evaluator: Evaluator, expression: tree.Index, items: tuple[DslValue, ...], scope: Scope) -> DslValue:
    """``sizes[1]``, and ``sizes[1:]``, which is a list again, as in Python."""
    (item, *more) = expression.items
    bounds = (item.start, item.stop, item.step) if isinstance(item, tree.Slice) else (item,)
    numbers = [None if bound is None else evaluator.evaluate(bound, scope) for bound in bounds]
    if any(number is not None and has_poison(number) for number in numbers):
        return POISON
    whole = all(number is None or (isinstance(number, int) and not isinstance(number, bool)) for number in numbers)
    wanted: Any = slice(*numbers) if isinstance(item, tree.Slice) else numbers[0]
    try:
        if whole and not more:
            found: DslValue = items[wanted]
            return found
    except (IndexError, ValueError):
        pass  # beyond the list, or a step of 0
    last = f"from 0 to {len(items) - 1}" if items else "and this one is empty"
    return evaluator.report(
        error("E0404", f"a list of {len(items)} is indexed with one whole number {last}", expression.span)
    )


def _index_tensor(evaluator: Evaluator, expression: tree.Index, tensor: Tensor, scope: Scope) -> DslValue:
    type = tensor.value.type
    if len(expression.items) > type.rank:
        return evaluator.report(
            error("E0404", f"{type} has {type.rank} dimensions, not {len(expression.items)}", expression.span)
        )
    starts: list[Dim] = []
    stops: list[Dim] = []
    steps: list[int] = []
    kept: list[int] = []
    for axis, dim in enumerate(type.shape):
        item = expression.items[axis] if axis < len(expression.items) else None
        part = _slice_of(evaluator, item, dim, scope)
        if part is None:
            return POISON
        starts.append(part[0])
        stops.append(part[1])
        steps.append(part[2])
        if item is None or isinstance(item, tree.Slice):
            kept.append(axis)
    trace = evaluator.graph()
    with trace.at(expression.span, scope.naming.path):
        try:
            result = trace.b.slice(tensor.value, tuple(starts), tuple(stops), tuple(steps))
            if len(kept) < type.rank:
                result = trace.b.reshape(result, tuple(result.type.shape[axis] for axis in kept))
        except TypeMismatch as problem:
            return evaluator.mismatch(problem, expression.span, [tensor])
    return Tensor(result, expression.span)


def _slice_of(
    evaluator: Evaluator, item: tree.Expression | tree.Slice | None, dim: Dim, scope: Scope
) -> tuple[Dim, Dim, int] | None:
    """Start, stop and step of one axis as sizes counted from its front; None after a report."""
    if item is None:
        return 0, dim, 1
    if not isinstance(item, tree.Slice):
        start = _position(evaluator, item, dim, scope)
        if start is None:
            return None
        if not _lies_inside(
            evaluator, item.span, f"position {start}", dim, (less_equal(start + 1, dim), less_equal(0, start))
        ):
            return None
        return start, start + 1, 1
    start = 0 if item.start is None else _position(evaluator, item.start, dim, scope)
    stop = dim if item.stop is None else _position(evaluator, item.stop, dim, scope)
    step = 1 if item.step is None else _step(evaluator, item.step, scope)
    if start is None or stop is None or step is None:
        return None
    inside = (less_equal(stop, dim), less_equal(start + 1, stop), less_equal(0, start))
    if not _lies_inside(evaluator, item.span, f"the slice from {start} to {stop}", dim, inside):
        return None
    return start, stop, step


def _step(evaluator: Evaluator, item: tree.Expression, scope: Scope) -> int | None:
    step = evaluator.evaluate(item, scope)
    if isinstance(step, int) and not isinstance(step, bool) and step >= 1:
        return step
    if not has_poison(step):
        title = f"the step of a slice is a whole number of at least 1, not {describe(step)}"
        evaluator.report(error("E0404", title, item.span))
    return None


def _lies_inside(evaluator: Evaluator, at: Span, what: str, dim: Dim, verdicts: tuple[bool | None, ...]) -> bool:
    """Whether all the verdicts are yes; what is not is reported."""
    if False in verdicts:
        evaluator.report(error("E0404", f"{what} does not lie in a dimension of {dim}", at))
    elif None in verdicts:
        evaluator.report(
            error(
                "E0302",
                f"whether {what} lies in a dimension of {dim} is not known",
                at,
                "it depends on sizes that are known only when the model runs: a symbol may be 1",
                help="slices are never empty: say in the signature how large it is at least, as in f32[N, 2 <= T]",
            )
        )
    return all(verdicts)


def _position(evaluator: Evaluator, item: tree.Expression, dim: Dim, scope: Scope) -> Dim | None:
    value = evaluator.evaluate(item, scope)
    if isinstance(value, Poly) or (isinstance(value, int) and not isinstance(value, bool)):
        return value + dim if isinstance(value, int) and value < 0 else value
    if not has_poison(value):
        evaluator.report(error("E0403", f"a position is a whole number, not {describe(value)}", item.span))
    return None
