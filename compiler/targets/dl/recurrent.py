"""Rules for recurrent layers, whose operations have the steps of sequences first and their samples second."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.ir.graph import Node, Value
from compiler.targets.dl.raiser import Raiser, raises
from compiler.targets.dl.step import Argument, Operand, Step, flag, plain

_KINDS = ("lstm", "gru", "rnn")
_TURN = (1, 0, 2)


@raises("transpose")
def turned_sequence(r: Raiser, node: Node) -> bool:
    """The result of a recurrent layer with its samples first, which is what the language's layer gives."""
    (value,), attributes = node.inputs, _fields(node)
    made = r.producer(value, *_KINDS)
    if made is None or tuple(attributes.permutation) != _TURN or value is not made.outputs[0]:
        return False
    if value in r.batch_first:
        return False
    r.batch_first[value] = node.output
    r.needed.add(value)
    r.taken.add(node)
    return True


@raises(*_KINDS)
def recurrent(r: Raiser, node: Node) -> bool:
    attributes: Any = node.operation
    if attributes.direction == "reverse":
        return False
    x, *others = node.inputs
    count = (2 if attributes.direction == "both" else 1) * (4 if attributes.bias else 2)
    arrays = [array for value in others[:count] if (array := r.array(value)) is not None]
    if len(arrays) < count:
        return False
    rest = others[count:]
    lengths = rest.pop() if attributes.lengths else None
    states = [] if all(_is_zero(r, state) for state in rest) else rest
    if len(states) > 1 or any(state.type.rank > 2 for state in states):
        return False  # a pair of states needs a name of its own
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: 4 if attributes.bias else 2]
    places = ["_l0", "_l0_reverse"][: 2 if attributes.direction == "both" else 1]
    weights = tuple(zip((f"{name}{place}" for place in places for name in names), arrays, strict=True))
    arguments = [plain("units", arrays[1].shape[1]), *flag("bidirectional", len(places) == 2, False)]
    arguments += flag("bias", attributes.bias, True)
    if node.operation.opcode == "rnn" and attributes.activation != "tanh":
        arguments.append(Argument("activation", attributes.activation))
    given, turn = _batch_first(r, x)
    operands: list[Operand] = [given]
    keywords = [""]
    for name, value in (("state", states[0] if states else None), ("lengths", lengths)):
        if value is not None:
            operands.append(value)
            keywords.append(name)
    result = _result(r, node, arguments)
    if result is None:
        return False
    place = r.path(*others[:count], node=node)
    step = Step(
        node.operation.opcode, tuple(operands), (result,), tuple(arguments), weights, place, keywords=tuple(keywords)
    )
    r.add(step, node)
    return turn is None or r.add(turn)


def _result(r: Raiser, node: Node, arguments: list[Argument]) -> Value | None:
    """What the layer gives as the language has it: the sequence, or the last state. None where both are read."""
    y, hidden = node.outputs[:2]
    read = [value for value in node.outputs if value in r.needed]
    if read == [hidden]:
        if hidden.type.rank == 2:
            return hidden
        joined = r.value(hidden.type.with_shape((hidden.type.shape[0], y.type.shape[2])))
        shape = (plain("size", 2), plain("size", hidden.type.shape[2]))
        r.add(Step("reshape", (joined,), (hidden,), shape, path=r.path(node=node)))
        return joined
    if read != [y]:
        return None
    arguments.append(Argument("sequence", "true"))
    given = r.batch_first.get(y) or r.value(y.type.with_shape(y.type.shape[axis] for axis in _TURN))
    r.batch_first[y] = given
    if y in r.graph.output_values or any(y in step.values for step in r.steps):
        turned = tuple(plain("axis", axis) for axis in _TURN)
        r.add(Step("transpose", (given,), (y,), turned, path=r.path(node=node)))
    return given


def _batch_first(r: Raiser, x: Value) -> tuple[Value, Step | None]:
    """The sequence with its samples first, and where there is none in the graph, what makes it: a step to be added, as
    those before come after, behind the layer's."""
    turned = r.inner(x, "transpose")
    if turned is not None and tuple(_fields(turned).permutation) == _TURN:
        r.taken.add(turned)
        return turned.inputs[0], None
    made = r.producer(x, *_KINDS)
    known = r.batch_first.get(x)
    r.needed.add(x)
    if known is None:
        known = r.value(x.type.with_shape(x.type.shape[axis] for axis in _TURN))
        r.batch_first[x] = known
        if made is None or x is not made.outputs[0]:
            return known, Step("transpose", (x,), (known,), tuple(plain("axis", axis) for axis in _TURN))
    return known, None


def _is_zero(r: Raiser, state: Value) -> bool:
    while (node := r.producer(state, "expand", "reshape")) is not None:
        state = node.inputs[0]
    array = r.array(state)
    return array is not None and not np.any(array)


def _fields(node: Node) -> Any:
    return node.operation
