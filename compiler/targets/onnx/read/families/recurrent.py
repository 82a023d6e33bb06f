"""LSTM, GRU and RNN: gates brought into the order they have here, axes into that of time, batch, features."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.graph import Value
from compiler.ops.emit import Emit
from compiler.ops.gru import Gru
from compiler.ops.lstm import Lstm
from compiler.ops.recurrent import Direction, Recurrent
from compiler.ops.rnn import Rnn
from compiler.targets.onnx.read.node import Node, Results, reads
from compiler.targets.onnx.read.tensors import Unsupported

_CLASSES: dict[str, type[Recurrent]] = {"GRU": Gru, "LSTM": Lstm, "RNN": Rnn}
_DIRECTIONS: dict[str, Direction] = {"forward": "forward", "reverse": "reverse", "bidirectional": "both"}
_ACTIVATIONS = {"GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"], "RNN": ["tanh"]}


@reads("LSTM", "GRU", "RNN")
def recurrent(n: Node) -> Results:
    operation = _CLASSES[n.kind]
    x = n.value(0)
    batch_first = bool(n.attribute("layout", 0))
    x = n.b.transpose(x, (1, 0, 2)) if batch_first else x
    direction = _DIRECTIONS[n.attribute("direction", "forward")]
    count = 2 if direction == "both" else 1
    bias, lengths = n.optional(3), n.optional(4)
    states = [n.value(place) for place in range(5, 5 + operation.state_count) if n.has(place)]
    activation = _activation(n, count)
    if states and len(states) < operation.state_count:
        missing = n.b.expand(n.b.scalar(0, x.type.dtype), states[0].type.shape)
        states.append(missing)
    if not states and operation.state_count == 2 and n.has(6):
        states = [n.b.expand(n.b.scalar(0, x.type.dtype), n.type(6).shape), n.value(6)]
    operands = [x]
    for place in range(count):
        operands += _weights(n.b, n.value(1), n.value(2), bias, place, operation.gate_order)
    operands += [_state(n.b, state, count, batch_first) for state in states]
    operands += [] if lengths is None else [lengths]
    settings = {"activation": activation} if n.kind == "RNN" else {}
    made = operation(direction, bias is not None, bool(states), lengths is not None, **settings)
    y, *last = n.b.add_node(made, tuple(operands))
    return [_sequence(n.b, y, count, batch_first), *(_last(n.b, state, count, batch_first) for state in last)]


def _activation(n: Node, count: int) -> str:
    """The activation of an RNN. Raises Unsupported where anything but the usual is asked for."""
    named = [name.lower() for name in map(_text, n.attribute("activations", []))]
    if n.kind == "RNN" and named in (["relu"] * count, ["tanh"] * count):
        return str(named[0])
    if named and named != _ACTIVATIONS[n.kind] * count:
        raise Unsupported(f"its activations are {', '.join(named)}")
    if n.attribute("clip") is not None or n.attribute("input_forget", 0):
        raise Unsupported("it clips its gates, or has one gate for input and forgetting")
    if n.has(7):
        raise Unsupported("it has peepholes")
    if n.kind == "GRU" and not n.attribute("linear_before_reset", 0):
        raise Unsupported("its reset gate stands before the product (linear_before_reset=0)")
    return "tanh"


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _weights(b: Emit, into: Value, over: Value, bias: Value | None, place: int, order: Sequence[int]) -> list[Value]:
    """The operands of one direction."""
    found = [_gates(b, _row(b, weight, place), order) for weight in (into, over)]
    if bias is not None:
        both = _row(b, bias, place)
        found += [_gates(b, part, order) for part in _parts(b, both, 2)]
    return found


def _row(b: Emit, value: Value, place: int) -> Value:
    """``value[place]``."""
    shape = value.type.shape
    if shape[0] != 1:
        value = b.slice(value, (place, *[0] * (len(shape) - 1)), (place + 1, *shape[1:]))
    return b.reshape(value, shape[1:])


def _gates(b: Emit, value: Value, order: Sequence[int]) -> Value:
    """The gates along the first axis, in the order they have here: ONNX's gate i is here at ``order[i]``."""
    if len(order) == 1:
        return value
    parts = _parts(b, value, len(order))
    return b.concat([parts[list(order).index(place)] for place in range(len(order))], 0)


def _parts(b: Emit, value: Value, count: int) -> list[Value]:
    """Equal parts along the first axis, each by itself, as parts of weights are worked out when a file is written."""
    first, *others = value.type.shape
    each, rest = first // count, [0] * len(others)
    return [b.slice(value, (place * each, *rest), ((place + 1) * each, *others)) for place in range(count)]


def _state(b: Emit, state: Value, count: int, batch_first: bool) -> Value:
    """[directions, batch, units] as [batch, units], or [batch, 2, units]."""
    state = state if batch_first else b.transpose(state, (1, 0, 2))
    batch, _, units = state.type.shape
    return b.reshape(state, (batch, units)) if count == 1 else state


def _sequence(b: Emit, y: Value, count: int, batch_first: bool) -> Value:
    """[time, batch, directions * units] as [time, directions, batch, units], or [batch, time, directions, units]."""
    steps, batch, units = y.type.shape
    y = b.reshape(y, (steps, batch, count, units // count))
    return b.transpose(y, (1, 0, 2, 3) if batch_first else (0, 2, 1, 3))


def _last(b: Emit, state: Value, count: int, batch_first: bool) -> Value:
    batch, units = state.type.shape[0], state.type.shape[-1]
    state = b.reshape(state, (batch, count, units))
    return state if batch_first else b.transpose(state, (1, 0, 2))
