"""Types as they are written: symbols declared, patterns matched with actual types, promises checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.diagnostics import Label, Span, did_you_mean, error
from compiler.front import tree
from compiler.front.limits import check_type
from compiler.front.scope import Scope
from compiler.front.values import Tensor
from compiler.ir.dims import Dim, Poly, as_symbol, equal, less_equal, symbol
from compiler.ir.types import DType, TensorType, TypeMismatch

if TYPE_CHECKING:
    from compiler.front.expressions import Evaluator

# What the sizes that `...` stands for are bound to: a tuple, under a name that can't be written as one.
REST = "..."
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
    rest = next((part for part in written.dimensions if isinstance(part, tree.Rest)), None)
    if rest is not None:
        title = "an input has a fixed number of dimensions"
        help = "write all of them; ... stands in the signatures of blocks"
        evaluator.report(error("E0301", title, rest.span, "any number of them", help=help))
        return None
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
    sizes: list[Dim | None] = []
    for part in written.dimensions:
        if isinstance(part, tree.Rest):
            sizes += _rest(evaluator, part, scope)
        else:
            sizes.append(_size(evaluator, part.size, scope))
    known = tuple(size for size in sizes if size is not None)
    return known if len(known) == len(sizes) else None


def _size(evaluator: Evaluator, written: tree.Expression, scope: Scope) -> Dim | None:
    """A size in a type; None after a report, which tells newcomers what a size that is open is written as."""
    if isinstance(written, tree.Unary) and isinstance(written.operand, tree.Number) and written.operand.value == 1:
        help = "a size that is known only when the model runs is a capitalised name, such as N"
        evaluator.report(error("E0404", "a size is at least 1, not -1", written.span, help=help))
        return None
    if (
        isinstance(written, tree.Name)
        and not written.name[:1].isupper()
        and not evaluator.is_known(written.name, scope)
    ):
        help = f"a size that is known only when the model runs is a capitalised name: {written.name.upper()}"
        evaluator.report(error("E0201", f"unknown name {written.name}", written.span, "not found", help=help))
        return None
    return evaluator.size(written, scope)


def _rest(evaluator: Evaluator, part: tree.Rest, scope: Scope) -> list[Dim | None]:
    """The sizes that ``...`` stands for; one that is None after a report."""
    bound = scope.peek(REST)
    if bound is not None:
        return [*map(as_dim, bound.value)] if isinstance(bound.value, tuple) else [None]
    help = "write it in the pattern of a parameter first, as in x: [N, ..., D]"
    evaluator.report(error("E0301", "what ... stands for is not known here", part.span, help=help))
    return [None]


def declare_symbols(evaluator: Evaluator, written: tree.TypeExpression, scope: Scope) -> None:
    """Bind every capitalised name that stands alone as a dimension and means nothing yet to a symbol of that name."""
    for dimension in written.dimensions:
        if isinstance(dimension, tree.Rest):
            continue
        name = free_symbol(evaluator, dimension, scope)
        if name is not None:
            lower, upper = _bounds(evaluator, dimension, scope)
            scope.declare(name.name, symbol(name.name, upper, lower), name.span, used=True)
        elif dimension.least is not None or dimension.bound is not None:
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


def _bounds(evaluator: Evaluator, dimension: tree.Dimension, scope: Scope) -> tuple[int, int | None]:
    """The least and the largest size that a symbol may have; those of any symbol after a report."""
    lower, upper = _bound(evaluator, dimension.least, scope), _bound(evaluator, dimension.bound, scope)
    if lower is not None and upper is not None and lower > upper:
        title = f"no size is at least {lower} and at most {upper}"
        evaluator.report(error("E0404", title, dimension.span, help="exchange the two bounds"))
        return 1, None
    return lower or 1, upper


def _bound(evaluator: Evaluator, written: tree.Expression | None, scope: Scope) -> int | None:
    if written is None:
        return None
    bound = evaluator.size(written, scope)
    if bound is None or isinstance(bound, int):
        return bound
    evaluator.report(error("E0404", f"a bound is a number, not {bound}", written.span))
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
    if sum(isinstance(part, tree.Rest) for part in pattern.dimensions) > 1:
        return fail("E0301", "... stands twice in one type", "leave one of them out: what each stands for is not clear")
    places = _places(pattern, actual.rank)
    if places is None:
        wanted = sum(isinstance(part, tree.Dimension) for part in pattern.dimensions)
        least = "at least " if wanted < len(pattern.dimensions) else ""
        return fail("E0301", f"{least}{wanted} dimension{'s' * (wanted != 1)} needed, {actual.rank} given")
    for part, axes in zip(pattern.dimensions, places, strict=True):
        dims = actual.shape[axes.start : axes.stop]
        if isinstance(part, tree.Rest):
            problem: tuple[str, ...] | None = _match_rest(part, dims, scope)
        else:
            problem = _match_dimension(evaluator, part, dims[0], scope)
        if problem is not None:
            where = f"dimension {axes.start}" if isinstance(part, tree.Dimension) else REST
            return fail(problem[0], f"{where}: {problem[1]}", *problem[2:])
    return True


def _places(pattern: tree.TypeExpression, rank: int) -> list[range] | None:
    """The axes that each part of a pattern stands for; None where a tensor of this rank can't fit."""
    parts = pattern.dimensions
    rest = next((index for index, part in enumerate(parts) if isinstance(part, tree.Rest)), None)
    if rest is None:
        return [range(axis, axis + 1) for axis in range(rank)] if rank == len(parts) else None
    behind = len(parts) - rest - 1
    if rank < rest + behind:
        return None
    before, after = range(rest), range(rank - behind, rank)
    return [range(a, a + 1) for a in before] + [range(rest, rank - behind)] + [range(a, a + 1) for a in after]


def _match_rest(part: tree.Rest, dims: tuple[Dim, ...], scope: Scope) -> tuple[str, str] | None:
    """Match the dimensions that ``...`` stands for; the code and the words of what is wrong, or None."""
    bound = scope.peek(REST)
    if bound is None:
        scope.declare(REST, dims, part.span, used=True)
        return None
    known = bound.value if isinstance(bound.value, tuple) else ()
    same = [a is not None and equal(a, b) for a, b in zip(map(as_dim, known), dims, strict=False)]
    if len(known) == len(dims) and all(same):
        return None
    unknown = len(known) == len(dims) and False not in same
    given, wanted = (f"[{', '.join(map(str, sizes))}]" for sizes in (dims, known))
    return (
        ("E0302", f"whether {given} equals {wanted} is not known")
        if unknown
        else ("E0301", f"{wanted} needed, {given} given")
    )


def _match_dimension(
    evaluator: Evaluator, dimension: tree.Dimension, actual: Dim, scope: Scope
) -> tuple[str, ...] | None:
    """Match one size; the code and the words of what is wrong, and what to do where that is clear, or None."""
    name = free_symbol(evaluator, dimension, scope)
    if name is not None:
        scope.declare(name.name, actual, name.span, used=True)
        lower, upper = _bounds(evaluator, dimension, scope)
        least, most = less_equal(lower, actual), True if upper is None else less_equal(actual, upper)
        if least is False or most is False:
            return "E0301", f"{actual} is less than {lower}" if least is False else f"{actual} is more than {upper}"
        if least is None or most is None:
            if not least or as_symbol(actual) is None:
                limit = f"at most {upper}" if least else f"at least {lower}"
                return "E0302", f"whether {actual} is {limit} is not known"
            advice = f"bound it where it is declared: {actual} <= {upper}"
            return "E0302", f"whether {actual} is at most {upper} is not known", advice
        return None
    wanted = _size(evaluator, dimension.size, scope)
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
