"""The rule for attention, which files spell out as products, a softmax and moves of axes."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose, sqrt
from typing import Any

import numpy as np

from compiler.ir.dims import equal
from compiler.ir.graph import Node, Value
from compiler.ops.base import Array
from compiler.targets.dl.raiser import Raiser, raises
from compiler.targets.dl.step import Operand, Step, flag, plain

_HEADS_FIRST = (0, 2, 1, 3)
_KEYS = (0, 2, 3, 1)
_HIDDEN = -1e9  # scores that are lower than this keep a step from being seen


@dataclass
class _Projected:
    """Heads [N, T, H, D] of ``source``: the columns of a matrix, and of a bias if there is one."""

    source: Value
    weight: Array
    bias: Array | None
    nodes: list[Node]
    name: Value


@raises("add", "matmul")
def attention(r: Raiser, node: Node) -> bool:
    """``x -> attention(heads)``, from its last projection back to x."""
    out = _projection(r, node)
    joined = None if out is None else r.inner(out.source, "reshape")
    turned = None if joined is None else r.inner(joined.inputs[0], "transpose")
    if out is None or joined is None or turned is None or _axes(turned) != _HEADS_FIRST:
        return False
    seen = r.inner(turned.inputs[0], "matmul")
    nodes = [joined, turned]
    if seen is None:
        return False
    softmax, values = r.inner(seen.inputs[0], "softmax"), _heads(r, seen.inputs[1], _HEADS_FIRST)
    if softmax is None or values is None or _attribute(softmax, "axis") != 3:
        return False
    nodes += [seen, softmax]
    scores = _scores(r, softmax.inputs[0], nodes)
    if scores is None:
        return False
    (queries, keys), masks, causal = scores
    parts = (queries, keys, values)
    x = queries.source
    if keys.source is not values.source or len({part.bias is None for part in (*parts, out)}) > 1:
        return False
    heads, width = turned.output.type.shape[2:]
    if not isinstance(heads, int) or not isinstance(width, int) or equal(x.type.shape[2], heads * width) is not True:
        return False
    if any(part.weight.shape[1] != heads * width for part in parts):
        return False
    own = keys.source is x
    arguments = [plain("heads", heads), *flag("causal", causal, False), *flag("bias", out.bias is not None, True)]
    operands: list[Operand] = [x, *([] if own else [keys.source]), *masks]
    keywords = ("", *([] if own else ["context"]), *(["mask"] if masks else []))
    taken = {n: None for part in (*parts, out) for n in part.nodes} | dict.fromkeys(nodes)
    step = Step(
        "attention",
        tuple(operands),
        node.outputs,
        tuple(arguments),
        _weights(parts, out, own),
        _place(r, queries, out, node),
        keywords=keywords,
    )
    return r.add(step, *taken)


def _weights(parts: tuple[_Projected, ...], out: _Projected, own: bool) -> tuple[tuple[str, Array], ...]:
    groups = [("in_proj_", parts)] if own else [("q_proj_", parts[:1]), ("kv_proj_", parts[1:])]
    found: list[tuple[str, Array]] = []
    for name, members in groups:
        found.append((f"{name}weight", np.concatenate([part.weight for part in members], 1)))
        biases = [part.bias for part in members if part.bias is not None]
        found += [(f"{name}bias", np.concatenate(biases))] if biases else []
    found.append(("out_proj.weight", out.weight))
    return (*found, *((("out_proj.bias", out.bias),) if out.bias is not None else ()))


def _place(r: Raiser, queries: _Projected, out: _Projected, node: Node) -> str:
    """Where queries and results have their layers in common."""
    one, other = r.path(queries.name, node=node).split("."), r.path(out.name, node=node).split(".")
    same = [a for a, b in zip(one, other, strict=False) if a == b]
    return ".".join(same)


def _projection(r: Raiser, node: Node) -> _Projected | None:
    """A dense layer that ends at ``node``."""
    bias, nodes = None, [node]
    product: Node | None = node
    if node.operation.opcode == "add":
        product = None
        for value, other in (node.inputs, node.inputs[::-1]):
            array, made = r.array(other), r.inner(value, "matmul")
            if array is not None and made is not None:
                product, bias = made, array.reshape(-1)
                nodes.append(made)
    weight = None if product is None else r.array(product.inputs[1])
    if product is None or weight is None or weight.ndim != 2 or product.inputs[0].type.rank != 3:
        return None
    if bias is not None and bias.size != weight.shape[1]:
        return None
    return _Projected(product.inputs[0], weight, bias, nodes, product.inputs[1])


def _heads(r: Raiser, value: Value, axes: tuple[int, ...]) -> _Projected | None:
    """Heads that were projected and turned by ``axes``: each by a layer of its own, or a part of one for all."""
    turned = r.inner(value, "transpose")
    if turned is None or _axes(turned) != axes:
        return None
    heads = turned.inputs[0]
    split, shaped = r.producer(heads, "split"), r.inner(heads, "reshape")
    nodes, start = [turned], 0
    width = heads.type.size if heads.type.rank != 4 else heads.type.shape[2] * heads.type.shape[3]
    if split is not None:
        if _attribute(split, "axis") != 2 or not all(map(r.alone, split.outputs)) or heads.type.rank != 4:
            return None
        before = sum(_attribute(split, "sizes")[: split.outputs.index(heads)])
        start, shaped = before * heads.type.shape[3], r.inner(split.inputs[0], "reshape")
        nodes.append(split)
    source = None if shaped is None else shaped.inputs[0]
    last = None if source is None else r.inner(source, "add", "matmul")
    found = None if last is None else _projection(r, last)
    if found is None or shaped is None or not isinstance(width, int):
        return None
    columns = slice(start, start + width)
    bias = None if found.bias is None else found.bias[columns]
    return _Projected(found.source, found.weight[:, columns], bias, [*nodes, shaped, *found.nodes], found.name)


def _scores(
    r: Raiser, value: Value, nodes: list[Node]
) -> tuple[tuple[_Projected, _Projected], list[Value], bool] | None:
    """Queries and keys of scores [N, H, T, S], the mask upon them, and whether they are causal."""
    masks: list[Value] = []
    causal = False
    while (added := r.inner(value, "add")) is not None:
        nodes.append(added)
        found = [(_mask(r, shown, nodes), other) for other, shown in (added.inputs, added.inputs[::-1])]
        what, inner = next((pair for pair in found if pair[0] is not None), (None, value))
        if what is None:
            return None
        causal |= what == "causal"
        masks += [what] if isinstance(what, Value) else []
        value = inner
    scale, value = _scaled(r, value, nodes)
    product = r.inner(value, "matmul")
    if product is None or len(masks) > 1:
        return None
    nodes.append(product)
    (own, left), (other, right) = (_scaled(r, item, nodes) for item in product.inputs)
    queries, keys = _heads(r, left, _HEADS_FIRST), _heads(r, right, _KEYS)
    width = left.type.shape[3]
    if queries is None or keys is None or not isinstance(width, int):
        return None
    # The layer divides by the root of the width; whatever else there is becomes a part of the queries.
    rest = scale * own * other * sqrt(width)
    if not isclose(rest, 1, rel_tol=1e-5):
        queries.weight = np.asarray(queries.weight * rest, queries.weight.dtype)
        queries.bias = None if queries.bias is None else np.asarray(queries.bias * rest, queries.bias.dtype)
    return (queries, keys), masks, causal


def _scaled(r: Raiser, value: Value, nodes: list[Node]) -> tuple[float, Value]:
    """The number that a value is multiplied by, 1 where it is by none, and what is multiplied."""
    factor = r.inner(value, "mul", "div")
    number = None if factor is None else r.scalar(factor.inputs[1])
    if factor is None or number is None or not number:
        return 1.0, value
    nodes.append(factor)
    return number if factor.operation.opcode == "mul" else 1 / number, factor.inputs[0]


def _mask(r: Raiser, value: Value, nodes: list[Node]) -> Value | str | None:
    """What is added to scores as a mask of the language: ``causal``, or truth values [N, S] or [N, T, S]."""
    shown = r.producer(value, "select")
    if shown is None:
        return None
    condition, then, otherwise = shown.inputs
    low = r.scalar(otherwise)
    if r.scalar(then) != 0 or low is None or low > _HIDDEN:
        return None
    if _is_causal(r, condition):
        _take_unread(r, shown, nodes)
        return "causal"
    shaped = r.producer(condition, "reshape")
    if shaped is None or condition.type.rank != 4 or condition.type.shape[1] != 1:
        return None
    if shaped.inputs[0].type.rank not in (2, 3) or shaped.inputs[0].type.dtype is not condition.type.dtype:
        return None
    _take_unread(r, shown, nodes)
    return shaped.inputs[0]


def _is_causal(r: Raiser, condition: Value) -> bool:
    compared = r.producer(condition, "less_equal", "greater_equal")
    if compared is None or condition.type.rank != 2:
        return False
    key, query = compared.inputs if compared.operation.opcode == "less_equal" else compared.inputs[::-1]
    steps = r.producer(key, "arange")
    column = r.producer(query, "reshape")
    return steps is not None and column is not None and r.producer(column.inputs[0], "arange") is not None


def _take_unread(r: Raiser, node: Node, nodes: list[Node]) -> None:
    """Let go of what only masks were made of; it is left where something else reads it."""
    if not all(user in nodes or user in r.taken for value in node.outputs for user in r.graph.users[value]):
        return
    nodes.append(node)
    for value in node.inputs:
        made = r.producer(value, "less_equal", "greater_equal", "reshape", "arange")
        if made is not None:
            _take_unread(r, made, nodes)


def _axes(node: Node) -> tuple[int, ...]:
    return tuple(_attribute(node, "permutation"))


def _attribute(node: Node, name: str) -> Any:
    return getattr(node.operation, name)
