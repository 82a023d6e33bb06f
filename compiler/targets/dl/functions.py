"""Rules for operations that are a function, a layer without weights or an operator of the language."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import isclose, sqrt
from typing import Any, TypeAlias

import numpy as np

from compiler.ir.dims import equal
from compiler.ir.graph import Node, Value
from compiler.ir.types import DType
from compiler.ops.base import Array
from compiler.targets.dl.raiser import Raiser, number, raises
from compiler.targets.dl.step import Argument, Form, Operand, Step, plain

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "mod": "%", "equal": "==", "not_equal": "!=",
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "logical_and": "and", "logical_or": "or",
}  # fmt: skip
_SAME = (
    "relu", "sigmoid", "tanh", "silu", "softplus", "softsign", "selu", "hard_sigmoid", "exp", "log", "sqrt", "square",
    "abs", "sign", "floor", "ceil", "round", "sin", "cos", "erf", "log1p", "expm1", "stop_gradient", "maximum",
    "minimum", "select",
)  # fmt: skip
Arguments: TypeAlias = Callable[[Raiser, Node], Sequence[Argument] | None]


def _fields(node: Node) -> Any:
    return node.operation


def operand(r: Raiser, value: Value) -> Operand:
    """A tensor, or the number that it is everywhere; what is stored becomes a parameter of its own."""
    written = r.literal(value)
    if written is not None:
        return written
    array = r.array(value)
    if array is None:
        return value
    made = r.value(value.type)
    flat = array.reshape(-1)
    if array.dtype == np.int64 and len(flat) > 1 and np.array_equal(flat, np.arange(len(flat))):
        row = made if array.ndim == 1 else r.value(value.type.with_shape((len(flat),)))
        if row is not made:
            r.add(Step("expand", (row,), (made,), tuple(plain("size", size) for size in array.shape)))
        if max(array.shape) == len(flat) == array.shape[-1]:
            r.add(Step("arange", (), (row,), (plain("length", len(flat)),)))
            return made
        r.steps.pop()
    store(r, made, array, r.path(value))
    return made


def store(r: Raiser, made: Value, array: Array, path: str) -> bool:
    """A parameter that begins as ``array``; whole numbers and truth values are made of floats."""
    kept = made
    if array.dtype != np.float32:
        kept = r.value(made.type.with_dtype(DType.F32))
        r.add(Step("cast", (kept,), (made,), (plain("dtype", made.type.dtype),)))
    shape = tuple(plain(f"size{axis}", size) for axis, size in enumerate(array.shape))
    return r.add(Step("parameter", (), (kept,), shape, (("weight", array.astype(np.float32)),), path))


def add_call(
    r: Raiser, node: Node, kind: str, arguments: Iterable[Argument] = (), form: Form = "call", *others: Node | None
) -> bool:
    """A step whose operands are the node's."""
    place = len(r.steps)
    step = Step(kind, (), node.outputs, tuple(arguments), path=r.path(node=node), form=form)
    r.add(step, node, *others)
    # Parameters that it needs come before it, which is behind it here.
    operands = tuple(operand(r, value) for value in node.inputs)
    r.steps[place] = Step(kind, operands, node.outputs, step.arguments, path=step.path, form=form)
    r.needed.update(r.steps[place].values)
    return True


@raises("reciprocal")
def reciprocal(r: Raiser, node: Node) -> bool:
    return r.add(Step("/", ("1", *node.inputs), node.outputs, form="infix", path=r.path(node=node)), node)


@raises("minimum")
def clipped(r: Raiser, node: Node) -> bool:
    """Bounds from both sides, which files have as two operations."""
    inner = r.inner(node.inputs[0], "maximum")
    if inner is None:
        return False
    low, high = r.scalar(inner.inputs[1]), r.scalar(node.inputs[1])
    if low is None or high is None or not inner.inputs[0].type.dtype.is_float:
        return False
    x = inner.inputs[0]
    return _clip(r, node, x, low, high, inner)


@raises("clip")
def clip(r: Raiser, node: Node) -> bool:
    return _clip(r, node, node.inputs[0], float(_fields(node).low), float(_fields(node).high), None)


def _clip(r: Raiser, node: Node, x: Value, low: float, high: float, inner: Node | None) -> bool:
    if x in r.known:
        return False
    scaled = _hard(r, x) if (low, high) == (0.0, 1.0) else None
    if scaled is not None:
        return r.add(Step("hard_sigmoid", scaled.inputs[:1], node.outputs, path=r.path(node=node)), node, inner)
    if (low, high) == (0.0, 6.0):
        step = Step("relu6", (x,), node.outputs, path=r.path(node=node))
    else:
        bounds = (plain("low", number(np.array(low, np.float32))), plain("high", number(np.array(high, np.float32))))
        step = Step("clip", (x,), node.outputs, bounds, path=r.path(node=node))
    return r.add(step, node, inner)


def _hard(r: Raiser, value: Value) -> Node | None:
    """The node that takes a sixth of what ``x / 6 + 1/2`` is made of; nothing reads the nodes between."""
    added = r.inner(value, "add")
    scaled = None if added is None or r.scalar(added.inputs[1]) != 0.5 else r.inner(added.inputs[0], "mul", "div")
    factor = None if scaled is None else r.scalar(scaled.inputs[1])
    if scaled is None or factor is None or scaled.inputs[0] in r.known:
        return None
    sixth = factor if scaled.operation.opcode == "mul" else 1 / factor if factor else 0.0
    return scaled if isclose(sixth, 1 / 6, rel_tol=1e-5) else None


@raises("gather")
def one_of(r: Raiser, node: Node) -> bool:
    """One place along an axis, by a number."""
    x, indices = node.inputs
    place, axis = r.size(indices), _fields(node).axis
    if place is None or x in r.known:
        return False
    last = equal(place, x.type.shape[axis] - 1) is True
    items = [plain("item", ":")] * axis + [plain("item", -1 if last else r.dim(place))]
    return r.add(Step("[]", (x,), node.outputs, tuple(items), (), r.path(node=node), "index"), node)


@raises("mul")
def gelu(r: Raiser, node: Node) -> bool:
    """``0.5 * x * (1 + erf(x / sqrt(2)))``, in any order."""
    factors, nodes = _factors(r, node)
    halves = [value for value in factors if r.scalar(value) == 0.5]
    others = [value for value in factors if value not in halves]
    if len(halves) != 1 or len(others) != 2:
        return False
    for x, tail in (others, others[::-1]):
        added = r.inner(tail, "add")
        one = added is not None and next((i for i in (0, 1) if r.scalar(added.inputs[i]) == 1), None)
        if added is None or one is None or one is False:
            continue
        erf = r.inner(added.inputs[1 - one], "erf")
        inside = None if erf is None else r.inner(erf.inputs[0], "mul", "div")
        number_ = None if inside is None else r.scalar(inside.inputs[1])
        if inside is None or number_ is None or inside.inputs[0] is not x or x in r.known:
            continue
        scale = number_ if inside.operation.opcode == "mul" else 1 / number_
        if abs(scale - sqrt(0.5)) < 1e-6:
            return r.add(Step("gelu", (x,), node.outputs, path=r.path(node=node)), *nodes, added, erf, inside)
    return False


def _factors(r: Raiser, node: Node) -> tuple[list[Value], list[Node]]:
    """What a product of several is made of, and the nodes that multiply."""
    factors, nodes = list[Value](), [node]
    for value in node.inputs:
        inner = r.inner(value, "mul")
        if inner is None:
            factors.append(value)
        else:
            found, more = _factors(r, inner)
            factors += found
            nodes += more
    return factors, nodes


@raises("mul")
def hard_swish(r: Raiser, node: Node) -> bool:
    """``x * hard_sigmoid(x)``, and ``x * sigmoid(x)``."""
    for x, gate in (node.inputs, node.inputs[::-1]):
        made = r.inner(gate, "hard_sigmoid", "sigmoid", "tanh")
        if made is None:
            continue
        kind = {"hard_sigmoid": "hard_swish", "sigmoid": "silu"}.get(made.operation.opcode, "")
        deeper = None
        if not kind:
            deeper = r.inner(made.inputs[0], "softplus")
            made_of, kind = (deeper.inputs[0] if deeper else None), "mish"
        else:
            made_of = made.inputs[0]
        if made_of is x and x not in r.known:
            return r.add(Step(kind, (x,), node.outputs, path=r.path(node=node)), node, made, deeper)
    return False


# Sums and the like, and what else has arguments.


@raises("mean")
def global_pool(r: Raiser, node: Node) -> bool:
    attributes, rank = _fields(node), node.inputs[0].type.rank
    if rank < 3 or tuple(attributes.axes) != tuple(range(2, rank)):
        return False
    return add_call(r, node, "global_avg_pool", [Argument("keep", "true")] if attributes.keepdims else [])


@raises("sum", "mean", "max", "min")
def reduced(r: Raiser, node: Node) -> bool:
    attributes, rank = _fields(node), node.inputs[0].type.rank
    axes = () if tuple(attributes.axes) == tuple(range(rank)) and not attributes.keepdims else attributes.axes
    arguments = [plain(f"axis{axis}", axis) for axis in axes]
    return add_call(r, node, node.operation.opcode, [*arguments, *_flag(attributes.keepdims)])


def _flag(keeps: bool) -> list[Argument]:
    return [Argument("keep", "true")] if keeps else []


def _axis_unless(default: int) -> Arguments:
    def arguments(r: Raiser, node: Node) -> list[Argument]:
        axis, rank = _fields(node).axis, node.inputs[0].type.rank
        return [] if axis % rank == default % rank else [plain("axis", axis)]

    return arguments


def _cumsum(r: Raiser, node: Node) -> list[Argument] | None:
    return None if _fields(node).reverse else list(_axis_unless(-1)(r, node) or ())


def _gelu(r: Raiser, node: Node) -> list[Argument]:
    return [] if _fields(node).approximate == "none" else [Argument("approximate", _fields(node).approximate)]


def _number(name: str, attribute: str, default: float | None) -> Arguments:
    def arguments(r: Raiser, node: Node) -> list[Argument]:
        found = float(getattr(_fields(node), attribute))
        if default is not None and np.float32(found) == np.float32(default):
            return []
        return [plain(name, number(np.array(found, np.float32)))]

    return arguments


def _gather(r: Raiser, node: Node) -> list[Argument]:
    axis = _fields(node).axis
    return [Argument("axis", str(axis))] if axis else []


_CALLS: dict[str, tuple[str, Arguments]] = {
    **{name: (name, lambda r, node: ()) for name in _SAME},
    "softmax": ("softmax", _axis_unless(-1)),
    "log_softmax": ("log_softmax", _axis_unless(-1)),
    "argmax": ("argmax", _axis_unless(-1)),
    "cumsum": ("cumsum", _cumsum),
    "gelu": ("gelu", _gelu),
    "leaky_relu": ("leaky_relu", _number("slope", "slope", 0.01)),
    "elu": ("elu", _number("alpha", "alpha", 1.0)),
    "cast": ("cast", lambda r, node: (plain("dtype", _fields(node).dtype),)),
    "gather": ("gather", _gather),
    "take_along": ("take_along", lambda r, node: (Argument("axis", str(_fields(node).axis)),)),
    "expand": ("expand", lambda r, node: tuple(plain("size", r.dim(dim)) for dim in _fields(node).shape)),
    "one_hot": (
        "one_hot",
        lambda r, node: (
            plain("classes", r.dim(_fields(node).size)),
            *([] if _fields(node).dtype is DType.F32 else [plain("dtype", _fields(node).dtype)]),
        ),
    ),
    "arange": (
        "arange",
        lambda r, node: (
            plain("length", r.dim(_fields(node).length)),
            *([] if _fields(node).dtype is DType.I64 else [plain("dtype", _fields(node).dtype)]),
        ),
    ),
}  # fmt: skip


@raises("mask")
def mask(r: Raiser, node: Node) -> bool:
    x, condition = node.inputs
    if x in r.known or condition in r.known:
        return False
    return r.add(Step("select", (condition, x, "0"), node.outputs, path=r.path(node=node)), node)


# What is left where no rule above has a better word.


@raises(*_INFIX)
def infix(r: Raiser, node: Node) -> bool:
    kind, place = _INFIX[node.operation.opcode], len(r.steps)
    add_call(r, node, kind, form="infix")
    step = r.steps[place]
    factor = r.scalar(node.inputs[1])
    # The importer multiplies by what files divide by; people write the division.
    if kind == "*" and factor and 0 < factor < 0.5 and (1 / factor).is_integer() and isinstance(step.operands[1], str):
        r.steps[place] = replace(step, kind="/", operands=(step.operands[0], str(int(1 / factor))))
    return True


@raises("neg", "logical_not")
def prefix(r: Raiser, node: Node) -> bool:
    return add_call(r, node, "-" if node.operation.opcode == "neg" else "not", form="prefix")


@raises("matmul")
def product(r: Raiser, node: Node) -> bool:
    return add_call(r, node, "@", form="infix")


@raises()
def call(r: Raiser, node: Node) -> bool:
    found = _CALLS.get(node.operation.opcode)
    arguments = None if found is None else found[1](r, node)
    return found is not None and arguments is not None and add_call(r, node, found[0], arguments)
