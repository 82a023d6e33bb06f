"""Identities of operations that change the shape but no element, and of what is computed behind them."""

from __future__ import annotations

from dataclasses import replace

from compiler.ir.graph import Operation, Value
from compiler.ir.types import TensorType, TypeMismatch
from compiler.ops.along import ScatterAlong
from compiler.ops.base import registry
from compiler.ops.chain import ElementwiseChain
from compiler.ops.emit import Emit
from compiler.ops.reduce import Max, Mean, Min, Reduction, Sum
from compiler.ops.shape import Expand, Reshape, Transpose
from compiler.ops.slice import Concat, Pad, Slice
from compiler.passes.pattern import Match, any_of, made
from compiler.passes.rewrite import Rule


def _x(b: Emit, m: Match) -> Value:
    return m["x"]


def _keeps_type(m: Match) -> str | None:
    return None if m["x"].type == m.type else f"{m['x'].type} becomes {m.type}"


# Transposes.


def _places(operation: Operation, type: TensorType) -> tuple[int, ...]:
    """Where each axis of a transpose's result was in an operand of this type."""
    assert isinstance(operation, Transpose)
    return tuple(axis % type.rank for axis in operation.permutation)


def _nothing_moves(m: Match) -> str | None:
    places = _places(m.operation, m["x"].type)
    return None if places == tuple(range(len(places))) else "axes change their places"


def _only_ones_move(m: Match) -> str | None:
    type = m["x"].type
    moved = [place for place in _places(m.operation, type) if type.shape[place] != 1]
    return None if moved == sorted(moved) else "axes of more than one element change their places"


def _composed_transpose(b: Emit, m: Match) -> Value:
    outer, inner = (_places(operation, m.type) for operation in (m.operation, m.nodes[0].operation))
    return b.transpose(m["x"], tuple(inner[place] for place in outer))


# Slices and padding.


def _composed_slice(m: Match) -> Slice:
    outer, inner = m.operation, m.nodes[0].operation
    assert isinstance(outer, Slice)
    assert isinstance(inner, Slice)
    starts = tuple(start + first for start, first in zip(outer.starts, inner.starts, strict=True))
    stops = tuple(stop + first for stop, first in zip(outer.stops, inner.starts, strict=True))
    return Slice(starts, stops, outer.steps)


def _one_slice_does(m: Match) -> str | None:
    inner = m.nodes[0].operation
    assert isinstance(inner, Slice)
    if any(step != 1 for step in inner.steps):
        return "the inner slice leaves elements out"
    try:
        composed = _composed_slice(m).infer((m["x"].type,))
    except TypeMismatch as mismatch:
        return str(mismatch)
    return None if composed == (m.type,) else f"one slice would give {composed[0]}"


def _composed_pad(m: Match) -> Pad:
    outer, inner = m.operation, m.nodes[0].operation
    assert isinstance(outer, Pad)
    assert isinstance(inner, Pad)
    before, after = (
        tuple(one + other for one, other in zip(*sides, strict=True))
        for sides in ((outer.before, inner.before), (outer.after, inner.after))
    )
    return replace(outer, before=before, after=after)


def _one_value(m: Match) -> str | None:
    outer, inner = m.operation, m.nodes[0].operation
    assert isinstance(outer, Pad)
    assert isinstance(inner, Pad)
    return None if outer.value == inner.value else f"one pads with {outer.value:g}, the other with {inner.value:g}"


# Reductions.


def _axes_of_one(m: Match) -> str | None:
    operation, type = m.operation, m["x"].type
    assert isinstance(operation, Reduction)
    longer = [axis for axis in operation.axes if type.shape[axis] != 1]
    return f"axis {longer[0]} has {type.shape[longer[0]]} elements" if longer else None


def _sums_what_was_scattered(m: Match) -> str | None:
    total, scatter = m.operation, m.nodes[0].operation
    assert isinstance(total, Sum)
    assert isinstance(scatter, ScatterAlong)
    axes = tuple(axis % len(scatter.shape) for axis in total.axes)
    return None if axes == (scatter.axis,) else f"the sum goes over the axes {axes}, not {scatter.axis} alone"


# Repeated elements.


def _is_single(m: Match) -> str | None:
    return None if m["x"].type.size == 1 else f"{m['x']} has more than one element"


def _is_short_single(m: Match) -> str | None:
    fits = m["x"].type.rank <= m.type.rank
    return _is_single(m) if fits else f"{m['x']} has more axes than {m.type}"


def _repeat_single(b: Emit, m: Match) -> Value:
    x = m["x"] if m["x"].type.rank <= m.type.rank else b.reshape(m["x"], ())
    return b.expand(x, m.type.shape)


def _unrepeated(b: Emit, value: Value) -> Value:
    """What ``value`` repeats, or else itself."""
    node = b.producer(value)
    return node.inputs[0] if node is not None and isinstance(node.operation, Expand) else value


def _compute_then_repeat(b: Emit, m: Match) -> Value:
    return b.expand(b.add(m.operation, *(_unrepeated(b, value) for value in m.inputs)), m.type.shape)


_ELEMENTWISE = tuple(cls for cls in registry().values() if cls.elementwise and cls is not ElementwiseChain)

TRANSPOSES = (
    Rule("transpose-nothing", made(Transpose, "x"), _x, _nothing_moves),
    Rule("transpose-twice", made(Transpose, made(Transpose, "x")), _composed_transpose),
    Rule("transpose-ones", made(Transpose, "x"), lambda b, m: b.reshape(m["x"], m.type.shape), _only_ones_move),
)

VIEWS = (
    Rule("reshape-to-own-shape", made(Reshape, "x"), _x, _keeps_type),
    Rule("reshape-twice", made(Reshape, made(Reshape, "x")), lambda b, m: b.reshape(m["x"], m.type.shape)),
    Rule("expand-to-own-shape", made(Expand, "x"), _x, _keeps_type),
    Rule("expand-twice", made(Expand, made(Expand, "x")), lambda b, m: b.expand(m["x"], m.type.shape)),
    Rule("expand-single", made(Expand, made(Reshape, "x")), _repeat_single, _is_short_single),
    Rule("view-of-repeated", made((Reshape, Transpose, Slice), made(Expand, "x")), _repeat_single, _is_single),
    *TRANSPOSES,
    Rule("slice-whole", made(Slice, "x"), _x, _keeps_type),
    Rule("slice-twice", made(Slice, made(Slice, "x")), lambda b, m: b.add(_composed_slice(m), m["x"]), _one_slice_does),
    Rule("pad-nothing", made(Pad, "x"), _x, _keeps_type),
    Rule("pad-twice", made(Pad, made(Pad, "x")), lambda b, m: b.add(_composed_pad(m), m["x"]), _one_value),
    Rule("concat-one", made(Concat, "x"), _x),
    Rule(
        "reduce-ones",
        made((Sum, Mean, Max, Min), "x"),
        lambda b, m: b.reshape(m["x"], m.type.shape),
        _axes_of_one,
    ),
    Rule(
        "sum-of-scattered",
        made(Sum, made(ScatterAlong, "i", "x")),
        lambda b, m: b.add(m.operation, m["x"]),
        _sums_what_was_scattered,
    ),
    Rule("compute-then-repeat", any_of(_ELEMENTWISE, Expand), _compute_then_repeat),
)
