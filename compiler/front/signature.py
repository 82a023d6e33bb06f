"""Types as they are written: symbols declared, patterns matched with actual types, promises checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.diagnostics import Label, Span, did_you_mean, error
from compiler.front import tree
from compiler.front.limits import check_type
from compiler.front.scope import Scope
from compiler.front.values import Tensor
from compiler.ir.dims import Dim, Poly, equal, less_equal, symbol
from compiler.ir.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    from compiler.front.expressions import Evaluator

DTYPES = {dtype.value: dtype for dtype in DType if dtype is not DType.U32}


def element_type(evaluator: Evaluator, name: tree.Name) -> DType | None:
    """The dtype that ``name`` spells; None after reporting that there is none."""
    found = DTYPES.get(name.name)
    if found is None:
        near = did_you_mean(name.name, DTYPES)
        evaluator.report(
            error(
                "E0303",
                f"there is no element type {name.name}",
                name.span,
                f"did you mean {near}?" if near else "",
                help=f"the element types are {', '.join(DTYPES)}",
            )
        )
    return found


def declare_type(evaluator: Evaluator, written: tree.TypeExpression, scope: Scope) -> TensorType | None:
    """The type of an input, whose capitalised unknown names become symbols; None after a report."""
    declare_symbols(evaluator, written, scope)
    return written_type(evaluator, written, scope)


def written_type(evaluator: Evaluator, written: tree.TypeExpression, scope: Scope) -> TensorType | None:
    """The type that is spelled with names that are known; None after a report."""
    if written.dtype is None:
        evaluator.report(
            error("E0303", "a type needs an element type here", written.span, help="write for example f32[N, 8]")
        )
        return None
    dtype = element_type(evaluator, written.dtype)
    shape = _written_shape(evaluator, written, scope)
    if dtype is None or shape is None:
        return None
    type = TensorType(dtype, shape)
    try:
        check_type(type)
    except TypeMismatch as problem:
        evaluator.report(error(problem.code, problem.title, written.span, problem.detail))
        return None
    return type


def _written_shape(evaluator: Evaluator, written: tree.TypeExpression, scope: Scope) -> tuple[Dim, ...] | None:
    sizes = [evaluator.size(dimension.size, scope) for dimension in written.dimensions]
    known = tuple(size for size in sizes if size is not None)
    return known if len(known) == len(sizes) else None


def declare_symbols(evaluator: Evaluator, written: tree.TypeExpression, scope: Scope) -> None:
    """Bind every capitalised name that stands alone as a dimension and means nothing yet to a symbol of that name."""
    for dimension in written.dimensions:
        name = free_symbol(evaluator, dimension, scope)
        if name is not None:
            upper = _upper_bound(evaluator, dimension, scope)
            scope.declare(name.name, symbol(name.name, upper), name.span, used=True)
        elif dimension.bound is not None:
            evaluator.report(
                error(
                    "E0404",
                    "only a new symbol can be given a bound",
                    dimension.span,
                    "this size is known already",
                    help="write the bound where the symbol first appears, as in f32[N, T <= 64]",
                )
            )


def free_symbol(evaluator: Evaluator, dimension: tree.Dimension, scope: Scope) -> tree.Name | None:
    """The name that a dimension consists of, where it is capitalised and has no meaning yet."""
    name = dimension.size
    if isinstance(name, tree.Name) and name.name[:1].isupper() and not evaluator.is_known(name.name, scope):
        return name
    return None


def _upper_bound(evaluator: Evaluator, dimension: tree.Dimension, scope: Scope) -> int | None:
    if dimension.bound is None:
        return None
    bound = evaluator.size(dimension.bound, scope)
    if bound is None or isinstance(bound, int):
        return bound
    evaluator.report(error("E0404", f"a bound is a number, not {bound}", dimension.bound.span))
    return None


def match_argument(
    evaluator: Evaluator, owner: str, parameter: tree.Parameter, argument: Tensor, at: Span, scope: Scope
) -> bool:
    """Bind the free names of a parameter's pattern to the sizes of ``argument``; False after a report."""
    pattern = parameter.pattern
    assert pattern is not None
    actual = argument.value.type
    takes = f"{owner} takes {parameter.name.name}: {pattern.span.text}"
    labels = [Label(parameter.span, "declared here")]
    if argument.span != at:
        labels.append(evaluator.made_here(argument))

    def fail(code: str, detail: str, *help: str) -> bool:
        evaluator.report(error(code, f"{takes}, but gets {actual}", at, detail, labels=labels, help=help))
        return False

    if pattern.dtype is not None:
        dtype = element_type(evaluator, pattern.dtype)
        if dtype is not None and dtype != actual.dtype:
            return fail("E0303", f"{actual.dtype} where {dtype} is needed", f"convert it: cast({dtype})")
    if len(pattern.dimensions) != actual.rank:
        wanted = len(pattern.dimensions)
        return fail("E0301", f"{wanted} dimension{'s' * (wanted != 1)} needed, {actual.rank} given")
    for axis, (dimension, dim) in enumerate(zip(pattern.dimensions, actual.shape, strict=True)):
        problem = _match_dimension(evaluator, dimension, dim, scope)
        if problem is not None:
            return fail(problem[0], f"dimension {axis}: {problem[1]}")
    return True


def _match_dimension(
    evaluator: Evaluator, dimension: tree.Dimension, actual: Dim, scope: Scope
) -> tuple[str, str] | None:
    """Match one size; the code and the words of what is wrong, or None."""
    name = free_symbol(evaluator, dimension, scope)
    if name is not None:
        scope.declare(name.name, actual, name.span, used=True)
        upper = _upper_bound(evaluator, dimension, scope)
        fits = True if upper is None else less_equal(actual, upper)
        if fits is None:
            return "E0302", f"whether {actual} is at most {upper} is not known"
        return None if fits else ("E0301", f"{actual} is more than {upper}")
    wanted = evaluator.size(dimension.size, scope)
    same = True if wanted is None else equal(wanted, actual)
    if same is None:
        return "E0302", f"whether {actual} equals {wanted} is not known"
    return None if same else ("E0301", f"{wanted} needed, {actual} given")


def check_promise(evaluator: Evaluator, owner: str, output: tree.Output, result: Tensor, scope: Scope) -> bool:
    """Whether ``result`` is what the signature promises, of any dtype where that names none; False after a report."""
    actual = result.value.type
    dtype = actual.dtype if output.type.dtype is None else element_type(evaluator, output.type.dtype)
    shape = _written_shape(evaluator, output.type, scope)
    if dtype is None or shape is None:
        return False
    promised = TensorType(dtype, shape)
    same = [equal(a, b) for a, b in zip(promised.shape, actual.shape, strict=False)]
    if promised.dtype == actual.dtype and promised.rank == actual.rank and all(same):
        return True
    unknown = promised.dtype == actual.dtype and promised.rank == actual.rank and False not in same
    differing = next((axis for axis, fits in enumerate(same) if not fits), None)
    detail = f"this gives {actual}"
    if promised.dtype == actual.dtype and promised.rank == actual.rank and differing is not None:
        detail += f": dimension {differing} is {actual.shape[differing]}, not {promised.shape[differing]}"
    evaluator.report(
        error(
            "E0302" if unknown else "E0304",
            f"{owner} promises {promised}, but gives {actual}",
            result.span,
            detail,
            labels=[Label(output.type.span, "promised here")],
            help=_promise_help(promised, actual),
        )
    )
    return False


def _promise_help(promised: TensorType, actual: TensorType) -> tuple[str, ...]:
    if promised.dtype != actual.dtype and promised.shape == actual.shape:
        return (f"convert the result: cast({promised.dtype})",)
    return ("change the last stage, or the type after ->",)


def as_dim(value: object) -> Dim | None:
    """A value as a size: whole numbers and symbolic sizes are."""
    if isinstance(value, Poly) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return None
