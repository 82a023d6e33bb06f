"""Operators: on numbers known at compile time, and on tensors."""

from __future__ import annotations

import math
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any

from compiler.diagnostics import Span, error
from compiler.front import tree
from compiler.front.limits import is_too_large, is_too_long
from compiler.front.scope import Scope
from compiler.front.values import NONE, POISON, DslValue, Tensor, describe, has_poison, is_number
from compiler.ir.dims import Dim, Poly, equal, less_equal
from compiler.ir.graph import Value
from compiler.ir.types import DType, TypeMismatch

if TYPE_CHECKING:
    from compiler.front.expressions import Evaluator

_VERBS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "@": "multiply the matrices"}
_TENSOR_METHODS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "%": "mod", "**": "pow", "@": "matmul",
    "==": "equal", "!=": "not_equal", "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal",
}  # fmt: skip


def unary(evaluator: Evaluator, expression: tree.Unary, operand: DslValue, scope: Scope) -> DslValue:
    """``-x`` and ``not x``."""
    if isinstance(operand, Tensor):
        trace = evaluator.graph()
        with trace.at(expression.span, scope.naming.path):
            try:
                method = trace.b.neg if expression.operator == "-" else trace.b.logical_not
                return Tensor(method(operand.value), expression.span)
            except TypeMismatch as problem:
                return evaluator.mismatch(problem, expression.span, [operand])
    if expression.operator == "-" and (is_number(operand) or isinstance(operand, Poly)):
        return -operand
    if expression.operator == "not" and isinstance(operand, bool):
        return not operand
    wanted = "a number or a tensor" if expression.operator == "-" else "true or false"
    return evaluator.report(
        error(
            "E0403",
            f"{expression.operator} takes {wanted}, not {describe(operand)}",
            expression.operand.span,
            describe(operand),
        )
    )


def binary(
    evaluator: Evaluator, expression: tree.Binary | tree.Compare, left: DslValue, right: DslValue, scope: Scope
) -> DslValue:
    """Arithmetic and comparison of two operands, neither of them POISON."""
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        return _tensors(evaluator, expression, left, right, scope)
    operator = expression.operator
    try:
        compute = _compare if isinstance(expression, tree.Compare) else _calculate
        result: DslValue | None = compute(operator, left, right)
    except ZeroDivisionError:
        return evaluator.report(error("E0404", "division by zero", expression.right.span, "this is 0"))
    except _NoPowerError as wrong:
        return evaluator.report(error("E0404", str(wrong), expression.span, f"{left} to the power of {right}"))
    except OverflowError:
        return evaluator.report(
            error("E0404", f"this {_kind(left)} is too large", expression.span, "beyond what can be computed with")
        )
    if result is not None:
        return result
    if isinstance(expression, tree.Compare) and _are_sizes(left, right):
        return evaluator.report(
            error(
                "E0302",
                f"whether {left} {operator} {right} holds is not known",
                expression.span,
                "it depends on sizes that are known only when the model runs",
            )
        )
    return evaluator.report(
        error(
            "E0403",
            f"{operator} does not go with {describe(left)} and {describe(right)}",
            expression.span,
            help=_operand_help(left, right),
        )
    )


def _kind(value: DslValue) -> str:
    return "text" if isinstance(value, str) else "list" if isinstance(value, tuple) else "number"


def _operand_help(left: DslValue, right: DslValue) -> tuple[str, ...]:
    for side in (left, right):
        if not isinstance(side, Tensor) and describe(side).startswith(("the layer", "the function", "the block")):
            name = describe(side).split()[-1]
            return (f"a layer is applied with an arrow: write (x -> {name}), or (it -> {name})",)
    return ()


def _calculate(operator: str, left: Any, right: Any) -> Any:
    """Arithmetic on constants; None where the operands do not go together."""
    joined = isinstance(left, tuple | str) and isinstance(right, tuple | str) and type(left) is type(right)
    if joined and operator == "+":
        if is_too_long(left + right):
            raise OverflowError
        return left + right
    numbers = all(is_number(side) or isinstance(side, Poly) for side in (left, right))
    symbolic = isinstance(left, Poly) or isinstance(right, Poly)
    if not numbers or (symbolic and (isinstance(left, float) or isinstance(right, float))):
        return None
    match operator:
        case "+":
            return _in_range(left + right)
        case "-":
            return _in_range(left - right)
        case "*":
            return _in_range(left * right)
        case "//":
            return _in_range(left // right)
        case "%":
            return _in_range(left % right)
        case "/" if not symbolic:
            return _in_range(left / right)
        case "**" if not symbolic or (isinstance(left, Poly) and isinstance(right, int) and 0 < right <= 8):
            return _power(left, right)
    return None


class _NoPowerError(ArithmeticError):
    """A power that no number is."""


def _power(left: Any, right: Any) -> Any:
    if isinstance(left, Poly):
        result: Any = left
        for _ in range(right - 1):
            result = _in_range(result * left)
        return result
    if isinstance(left, int) and isinstance(right, int) and right >= 0:
        if abs(left) > 1 and right > 62:
            raise OverflowError
        return _in_range(left**right)
    if left == 0 and right < 0:
        raise _NoPowerError("zero has no negative powers")
    if left < 0 and right != int(right):
        raise _NoPowerError("a negative number has no power that is not a whole number")
    return _in_range(float(left) ** right)


def _in_range(result: Any) -> Any:
    if isinstance(result, int | Poly) and is_too_large(result):
        raise OverflowError
    if isinstance(result, float) and not math.isfinite(result):
        raise OverflowError
    return result


def _compare(operator: str, left: Any, right: Any) -> bool | None:
    """A comparison of constants; None where the answer is not known or the operands do not go together."""
    if isinstance(left, Poly) or isinstance(right, Poly):
        return _compare_sizes(operator, left, right) if _are_sizes(left, right) else None
    if operator in ("==", "!="):
        return bool((left == right) == (operator == "=="))
    if not ((is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str))):
        return None
    order: dict[str, Any] = {"<": lt, "<=": le, ">": gt, ">=": ge}
    return bool(order[operator](left, right))


def _are_sizes(left: DslValue, right: DslValue) -> bool:
    return all(isinstance(side, int | Poly) and not isinstance(side, bool) for side in (left, right))


def _compare_sizes(operator: str, left: Dim, right: Dim) -> bool | None:
    match operator:
        case "==":
            return equal(left, right)
        case "!=":
            same = equal(left, right)
            return None if same is None else not same
        case "<":
            return less_equal(left + 1, right)
        case "<=":
            return less_equal(left, right)
        case ">":
            return less_equal(right + 1, left)
        case _:
            return less_equal(right, left)


def _tensors(
    evaluator: Evaluator, expression: tree.Binary | tree.Compare, left: DslValue, right: DslValue, scope: Scope
) -> DslValue:
    operator = expression.operator
    if NONE in (left, right) and operator in ("==", "!="):
        return operator == "!="  # a tensor is there, whatever it holds
    if operator == "//":
        return evaluator.report(
            error("E0403", "// divides numbers, not tensors", expression.span, help="divide with /")
        )
    if operator == "@" and not (isinstance(left, Tensor) and isinstance(right, Tensor)):
        return evaluator.report(
            error(
                "E0403",
                f"@ multiplies matrices, not {describe(right if isinstance(left, Tensor) else left)}",
                expression.span,
                help="multiply with *",
            )
        )
    trace = evaluator.graph()
    with trace.at(expression.span, scope.naming.path):
        try:
            a = as_operand(evaluator, left, right)
            b = as_operand(evaluator, right, left)
            if a is None or b is None:
                wrong = left if a is None else right
                at = expression.left.span if a is None else expression.right.span
                return evaluator.report(
                    error(
                        "E0403",
                        f"{operator} does not go with {describe(left)} and {describe(right)}",
                        at,
                        describe(wrong),
                        help=_operand_help(left, right),
                    )
                )
            result = getattr(trace.b, _TENSOR_METHODS[operator])(a, b)
        except TypeMismatch as problem:
            return evaluator.mismatch(problem, expression.span, [left, right])
    return Tensor(result, expression.span)


def as_operand(evaluator: Evaluator, value: DslValue, other: DslValue) -> Value | float | None:
    """An operand of tensor arithmetic; None where it is neither a tensor nor a number."""
    if isinstance(value, Tensor):
        return value.value
    dtype = other.value.type.dtype if isinstance(other, Tensor) else DType.F32
    if isinstance(value, Poly):
        return evaluator.graph().b.size(value, dtype)
    if not is_number(value):
        return None
    if isinstance(value, float) and not dtype.is_float and not value.is_integer():
        raise TypeMismatch(
            "E0303",
            f"the number {value} does not go with {describe(other)}",
            f"{dtype} holds whole numbers only",
            ("convert the tensor first: cast(f32)",),
        )
    return value


def logic(evaluator: Evaluator, expression: tree.Logic, left: DslValue, right: DslValue, scope: Scope) -> DslValue:
    """``and`` and ``or`` of truth values, or of two tensors of them."""
    if isinstance(left, bool) and isinstance(right, bool):
        return right
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        trace = evaluator.graph()
        with trace.at(expression.span, scope.naming.path):
            try:
                method = trace.b.logical_and if expression.operator == "and" else trace.b.logical_or
                return Tensor(method(left.value, right.value), expression.span)
            except TypeMismatch as problem:
                return evaluator.mismatch(problem, expression.span, [left, right])
    wrong, at = (right, expression.right) if isinstance(left, bool | Tensor) else (left, expression.left)
    return evaluator.report(
        error("E0403", f"{expression.operator} takes true or false, not {describe(wrong)}", at.span, describe(wrong))
    )


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
