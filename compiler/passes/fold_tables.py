"""What layers do to the rows of a table done to the table: an embedding that holds what the layer behind it makes of
it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from compiler.ir.dims import equal
from compiler.ir.graph import Node, Value
from compiler.ops.base import Op
from compiler.ops.elementwise import Add, Divide, Multiply, Subtract
from compiler.ops.emit import Emit
from compiler.ops.gather import Gather
from compiler.ops.linear import Linear
from compiler.ops.matmul import MatMul
from compiler.ops.shape import Reshape
from compiler.ops.slice import Concat, Slice
from compiler.passes.pattern import Made, Match, Numeral, made
from compiler.passes.rewrite import RewritePass, Rule

# A table may become larger than what it is made of by so many elements.
_FEW = 64
_ROWS = made(Gather, "table", "indices", once=True)


def _lookup(m: Match, value: Value) -> Node | None:
    """The node that picks ``value`` as rows of a table, where nothing else reads the rows or the table."""
    node = m.builder.producer(value)
    if node is None or not isinstance(node.operation, Gather) or not m.is_used_once(value):
        return None
    table = node.inputs[0]
    first = node.operation.axis % table.type.rank == 0
    return node if first and not table.type.symbols and m.is_used_once(table) else None


def _is_no_lookup(m: Match, value: Value) -> str | None:
    return None if _lookup(m, value) else f"{value} is not rows of a table that nothing else reads"


def _changed(b: Emit, operation: Op, *weights: Value) -> Value:
    """A table made of weights, under a name that shows what it comes from."""
    name = f"{weights[0].name}.folded"
    return b.add_node(operation, weights, (name,))[0]


# Rows laid out anew


def _keeps_rows(m: Match, value: Value) -> str | None:
    """Whether the result has the rows of ``value`` with only what is in a row laid out anew."""
    if reason := _is_no_lookup(m, value):
        return reason
    node = m.builder.producer(value)
    assert node is not None
    indices, shape = node.inputs[1].type.shape, m.type.shape
    if len(shape) < len(indices) or not all(map(equal, indices, shape)):
        return f"{m.type} has not the rows of {value.type}"
    return None


def _laid_out(b: Emit, m: Match) -> Value:
    table, indices = m["table"], m["indices"]
    row = m.type.shape[indices.type.rank :]
    return b.gather(_changed(b, Reshape((table.type.shape[0], *row)), table), indices)


def _keep_rows(m: Match) -> str | None:
    if m["a"].type != m["b"].type:
        return f"{m['a'].type} and {m['b'].type} differ"
    return _keeps_rows(m, m["a"]) or _keeps_rows(m, m["b"])


def _laid_out_apart(b: Emit, m: Match) -> Value:
    return b.add(b.reshape(m["a"], m.type.shape), b.reshape(m["b"], m.type.shape))


# Numbers and biases


def _is_plain(m: Match) -> str | None:
    """A number that meets each element of the rows."""
    rows = m.inputs[0] if m.inputs[1] is m["number"] else m.inputs[1]
    if rows.type != m.type or not m.type.dtype.is_float:
        return f"{m['number']} makes {m.type} of {rows.type}"
    return _is_no_lookup(m, rows)


def _with_number(b: Emit, m: Match) -> Value:
    assert isinstance(m.operation, Op)
    number = b.scalar(m.number("number"), m.type.dtype)
    return b.gather(_changed(b, m.operation, m["table"], number), m["indices"])


def _with_bias(b: Emit, m: Match) -> Value:
    rows = b.gather(_changed(b, Add(), m["table"], m["bias"]), m["indices"])
    return b.add(rows, m["rest"]) if "rest" in m.values else rows


def _has_bias(m: Match) -> str | None:
    bias, rows = m["bias"], m.nodes[-1].outputs[0]
    if bias.type.symbols or not m.is_used_once(bias) or bias.type.shape != m["table"].type.shape[-1:]:
        return f"{bias} is not one number of its own for each column of {m['table'].type}"
    if rows.type != m.type:
        return f"{rows.type} becomes {m.type}"
    return _is_no_lookup(m, rows)


def _takes_number(m: Match) -> str | None:
    """Whether a number that was added to ``x`` can go into a table that is in the sum ``y``."""
    if m["x"].type != m.nodes[0].outputs[0].type:
        return f"{m['number']} makes more of {m['x'].type}"
    return None if _summand(m) else f"{m['y']} has no rows of a table that nothing else reads"


def _summand(m: Match) -> Value | None:
    """``y``, or what is added in ``y``, where those are rows of a table."""
    y = m["y"]
    node = m.builder.producer(y)
    if node is not None and isinstance(node.operation, Add) and m.is_used_once(y):
        return next((value for value in node.inputs if value.type == y.type and _lookup(m, value)), None)
    return y if _lookup(m, y) else None


def _passed_on(b: Emit, m: Match) -> Value:
    """``(x + number) + (rows + z)`` as ``x + ((rows + number) + z)``."""
    y, rows = m["y"], _summand(m)
    assert rows is not None
    total = b.add(rows, m.number("number"))
    if rows is not y:
        node = b.producer(y)
        assert node is not None
        total = b.add(total, node.inputs[1] if node.inputs[0] is rows else node.inputs[0])
    return b.add(m["x"], total)


# Products


def _grows(m: Match, table: Value, columns: object) -> str | None:
    """Whether a table of so many ``columns`` in place of ``table`` and its part of the kernel makes the file larger."""
    rows, width = table.type.shape if table.type.rank == 2 else (0, 0)
    if m["kernel"].type.rank != 2 or m["kernel"].type.symbols or not m.is_used_once(m["kernel"]):
        return f"{m['kernel']} is not one matrix of weights of its own"
    if not isinstance(rows, int) or not isinstance(width, int) or not isinstance(columns, int) or not rows:
        return f"{table} is {table.type}, not rows of numbers"
    if rows * columns > width * columns + rows * width + _FEW:
        return f"{rows} rows of {columns} are more than what they are made of"
    return None


def _is_dense(m: Match) -> str | None:
    return _is_no_lookup(m, m.inputs[0]) or _grows(m, m["table"], m["kernel"].type.shape[-1])


def _multiplied(b: Emit, m: Match) -> Value:
    return b.gather(_changed(b, MatMul(), m["table"], m["kernel"]), m["indices"])


def _known_part(m: Match) -> int | None:
    """Which of the parts that stand side by side are rows of a table that can be multiplied beforehand."""
    kernel = m["kernel"]
    for place, part in enumerate(m.nodes[0].inputs):
        node = _lookup(m, part)
        if node is not None and part.type.rank == 2 and not _grows(m, node.inputs[0], kernel.type.shape[-1]):
            return place
    return None


def _has_known_part(m: Match) -> str | None:
    joined = m.nodes[0]
    assert isinstance(joined.operation, Concat)
    if m.type.rank != 2 or joined.operation.axis % 2 != 1 or len(joined.inputs) < 2:
        return f"{joined.outputs[0]} is not columns side by side"
    return None if _known_part(m) is not None else "no part is rows of a table of its own, few enough"


def _part_beforehand(b: Emit, m: Match) -> Value:
    """``concat(x, table[indices]) @ kernel`` as ``x @ upper + (table @ lower)[indices]``."""
    parts, place, kernel = m.nodes[0].inputs, _known_part(m), m["kernel"]
    assert place is not None
    lookup = b.producer(parts[place])
    assert lookup is not None
    columns, stops = kernel.type.shape[1], list(accumulate(part.type.shape[1] for part in parts))
    rows = [
        b.add_node(Slice((start, 0), (stop, columns), (1, 1)), (kernel,), (f"{kernel.name}.part_{number}",))[0]
        for number, (start, stop) in enumerate(zip((0, *stops), stops, strict=False), 1)
    ]
    known = b.gather(_changed(b, MatMul(), lookup.inputs[0], rows.pop(place)), lookup.inputs[1])
    rest = [part for index, part in enumerate(parts) if index != place]
    return b.add(Linear(), _side_by_side(b, rest, 1), _side_by_side(b, rows, 0), known)


def _is_sum_of_rows(m: Match) -> str | None:
    if m.operation != Linear() or m["rest"].type != m.type:
        return f"{m['rest']} is not added to a product, element by element"
    return _is_dense(m)


def _has_bias_beside(m: Match) -> str | None:
    linear, bias = m.nodes[0].operation, m["bias"]
    assert isinstance(linear, Linear)
    if linear.activation is not None or bias.type.symbols or bias.type.shape != m.type.shape[-1:]:
        return f"{bias} is not one number for each column of a product"
    return _is_no_lookup(m, m["rows"])


def _side_by_side(b: Emit, parts: Sequence[Value], axis: int) -> Value:
    return parts[0] if len(parts) == 1 else b.concat(parts, axis)


def _rules() -> Iterator[Rule]:
    yield Rule("table-rows", made(Reshape, _ROWS), _laid_out, lambda m: _keeps_rows(m, m.inputs[0]))
    yield Rule("table-sum", made(Reshape, made(Add, "a", "b", once=True)), _laid_out_apart, _keep_rows)
    yield Rule(
        "table-number", made((Add, Subtract, Multiply, Divide), _ROWS, Numeral("number")), _with_number, _is_plain
    )
    yield Rule("table-bias", made(Add, _ROWS, "bias"), _with_bias, _has_bias)
    yield Rule("table-bias", made(Add, made(Add, _ROWS, "rest", once=True), "bias"), _with_bias, _has_bias)
    added = made(Add, "x", Numeral("number"), once=True)
    yield Rule("pass-on-number", made(Add, added, "y"), _passed_on, _takes_number)
    yield Rule("table-product", made(MatMul, _ROWS, "kernel"), _multiplied, _is_dense)
    yield Rule(
        "table-product",
        made(Linear, _ROWS, "kernel", "rest"),
        lambda b, m: b.add(_multiplied(b, m), m["rest"]),
        _is_sum_of_rows,
    )
    joined = Made((Concat,), None, once=True, reads=(Gather,))
    yield Rule("table-part", made(MatMul, joined, "kernel"), _part_beforehand, _has_known_part)
    yield Rule(
        "table-bias",
        made(Add, made(Linear, "x", "kernel", "rows", once=True), "bias"),
        lambda b, m: b.add(Linear(), m["x"], m["kernel"], b.add(m["rows"], m["bias"])),
        _has_bias_beside,
    )


@dataclass(frozen=True)
class FoldTables(RewritePass):
    """Works out beforehand what becomes of the rows of a table: numbers and biases that are added, factors, the layout
    of a row, and the product with a matrix where the table does not grow by it. What is computed of weights alone an
    export works out."""

    name = "fold-tables"
    rules = tuple(_rules())
