"""Operators: on numbers known at compile time, and on tensors."""

from __future__ import annotations

import math
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any

from compiler.diagnostics import error
from compiler.front import tree
from compiler.front.limits import is_too_large, is_too_long
from compiler.front.scope import Scope
from compiler.front.values import NONE, DslValue, Tensor, describe, is_number
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
