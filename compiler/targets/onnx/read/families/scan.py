"""Scan, where its steps are those of a plain recurrent layer: products with states, added to what is scanned."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx

from compiler.ir.graph import Value
from compiler.ops.elementwise import Add
from compiler.ops.emit import Emit
from compiler.ops.matmul import MatMul
from compiler.ops.recurrent import Direction, is_zero, state_of, together, units_of
from compiler.ops.rnn import Rnn
from compiler.ops.rnn_onnx import Activation
from compiler.targets.onnx.read.node import Node, Results, reads
from compiler.targets.onnx.read.tensors import Unsupported

_ACTIVATIONS: dict[str, Activation] = {"Tanh": "tanh", "Relu": "relu"}
_DIRECTIONS: dict[tuple[int, ...], Direction] = {(0,): "forward", (1,): "reverse", (0, 1): "both"}
_AXES = ("scan_input_axes", "scan_output_axes")


class _Inputs(NamedTuple):
    """What is scanned, ``x @ weight + bias``, taken apart."""

    x: Value
    weight: Value
    bias: Value | None


class _Step(NamedTuple):
    """The step of one direction, ``activation(state @ weight + what is scanned)``: the name of the weight in the file,
    and whether it is turned."""

    activation: Activation
    weight: str
    turned: bool


@reads("Scan")
def scan(n: Node) -> Results:
    body: onnx.GraphProto = n.attribute("body")
    count: int = n.attribute("num_scan_inputs")
    steps = [_step_of(body, count, place) for place in range(count)]
    inputs = [_inputs_of(n.b, n.value(count + place)) for place in range(count)]
    direction = _direction(n, body, count)
    alike = all(
        step.activation == steps[0].activation
        and part.x is inputs[0].x
        and (part.bias is None) == (inputs[0].bias is None)
        for step, part in zip(steps, inputs, strict=True)
    )
    if not alike:
        raise _no_layer()
    operands = [inputs[0].x]
    for step, part in zip(steps, inputs, strict=True):
        hidden = n.around(step.weight)
        operands += [n.b.transpose(part.weight, (1, 0)), hidden if step.turned else n.b.transpose(hidden, (1, 0))]
        operands += [] if part.bias is None else [part.bias, _nothing(n.b, part.bias)]
    firsts = [n.value(place) for place in range(count)]
    begins = not all(is_zero(n.b, first) for first in firsts)
    operands += [together(n.b, firsts)] if begins else []
    made = Rnn(direction, inputs[0].bias is not None, begins, False, steps[0].activation)
    y, last = n.b.add_node(made, tuple(operands))
    units = firsts[0].type.shape[1]
    return [
        *(state_of(n.b, last, place) for place in range(count)),
        *(units_of(n.b, y, place, units) for place in range(count)),
    ]


def _step_of(body: onnx.GraphProto, count: int, place: int) -> _Step:
    """The step of one direction. Raises Unsupported for any other."""
    makers = {name: node for node in body.node for name in node.output}
    results = [makers.get(output.name) for output in body.output[place::count]]
    last = results[0]
    product = makers.get(last.input[0]) if last is not None and last.op_type in _ACTIVATIONS else None
    if last is None or product is None or product.op_type != "Gemm" or len(product.input) < 3:
        raise _no_layer()
    # What is kept of a step has a name of its own.
    copies = [
        node is last or (node is not None and node.op_type == "Identity" and node.input[0] == last.output[0])
        for node in results
    ]
    settings = {item.name: onnx.helper.get_attribute_value(item) for item in product.attribute}
    turned = bool(settings.pop("transB", 0))
    plain = all(value == (0 if name == "transA" else 1) for name, value in settings.items())
    reads = [product.input[0], product.input[2]] == [body.input[place].name, body.input[count + place].name]
    if not (reads and plain and all(copies)) or product.input[1] in makers:
        raise _no_layer()
    return _Step(_ACTIVATIONS[last.op_type], product.input[1], turned)


def _inputs_of(b: Emit, scanned: Value) -> _Inputs:
    """The parts of a value that is scanned. Raises Unsupported for one that is no product with a matrix."""
    node, bias = b.producer(scanned), None
    if node is not None and isinstance(node.operation, Add):
        product, bias = node.inputs
        node = b.producer(product)
    if node is None or not isinstance(node.operation, MatMul) or node.inputs[1].type.rank != 2:
        raise _no_layer()
    x, weight = node.inputs
    if x.type.rank != 3 or (bias is not None and bias.type.shape != weight.type.shape[1:]):
        raise _no_layer()
    return _Inputs(x, weight, bias)


def _direction(n: Node, body: onnx.GraphProto, count: int) -> Direction:
    ways = tuple(n.attribute("scan_input_directions", [0] * count))
    back = tuple(n.attribute("scan_output_directions", [0] * (len(body.output) - count)))
    if ways not in _DIRECTIONS or back not in ((), ways) or any(any(n.attribute(name, [])) for name in _AXES):
        raise _no_layer()
    return _DIRECTIONS[ways]


def _nothing(b: Emit, bias: Value) -> Value:
    """The second bias, as PyTorch has two: 0, as the sum of both is the first one here."""
    return b.constant(np.zeros([dim for dim in bias.type.shape if isinstance(dim, int)], bias.type.dtype.numpy))


def _no_layer() -> Unsupported:
    return Unsupported("its steps are not those of a plain recurrent layer")
