"""How a plain recurrent layer becomes ONNX nodes: RNN, or a Scan over its steps.

ONNX Runtime's RNN calls a function for every element of every step, where a Scan starts two kernels for a step, which
take many elements at a time. The more elements a step has, the more the Scan gains: with 128 units and tanh it takes as
long as RNN for a single sequence, and a fifth of that for 64 of them (benchmarks/recurrent.py). How many there will be
is seldom known before, so that the file has both then, and an If; most of their weights are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from compiler.ir.dims import bounds
from compiler.ir.types import DType
from compiler.ops.base import OnnxLowering
from compiler.ops.recurrent import Recurrent
from compiler.ops.relayed import branch

Activation: TypeAlias = Literal["tanh", "relu"]

# Elements of a step up to which RNN is the faster one, and the most sequences for which it is worth an If.
_FEW_ELEMENTS: dict[Activation, int] = {"tanh": 128, "relu": 384}
_MOST_ASKED = 63


class _Direction(NamedTuple):
    """What one direction of a Scan reads: the weights of the inputs, turned [F, H], those of the state, which RNN reads
    as well, and the sum of the biases, or ""."""

    weight_ih: str
    weight_hh: str
    bias: str


def lower_rnn(op: Recurrent, c: OnnxLowering, activation: Activation) -> None:
    """Write the layer as RNN, as Scan, or as both."""
    rows, most = c.input_types[0].shape[1], _most_rows(op, c, activation)
    least, largest = bounds(rows)
    if largest <= most:
        Recurrent.onnx(op, c)
        return
    weights = op.named(c.inputs).weights
    # What is made of weights alone is worked out while exporting, but not inside a branch.
    directions = [
        _Direction(
            c.node("Transpose", (each.weight_ih,), perm=(1, 0)),
            each.weight_hh,
            c.node("Add", each.biases) if each.biases else "",
        )
        for each in weights
    ]
    if least > most:
        _scan(op, c, activation, directions)
        return
    packed = op.onnx_weights(c)

    def as_scan(inner: OnnxLowering) -> None:
        _, weight_hh, _ = packed
        taken = [inner.node("Gather", (weight_hh, inner.constant(np.array(place)))) for place in range(len(weights))]
        _scan(op, inner, activation, [each._replace(weight_hh=hh) for each, hh in zip(directions, taken, strict=True)])

    many = c.node("Greater", (c.shape((rows,)), c.constant(np.array([most]))))
    c.node(
        "If",
        (many,),
        [name for index, name in enumerate(c.outputs) if c.is_read(index)],
        then_branch=branch(c, "many sequences", as_scan),
        else_branch=branch(c, "few sequences", lambda inner: op.onnx_layer(inner, packed)),
    )


def _most_rows(op: Recurrent, c: OnnxLowering, activation: Activation) -> float:
    """The number of sequences up to which the layer is to be an RNN."""
    if op.lengths:
        return np.inf
    if c.input_types[0].dtype is DType.F64:
        return 0  # ONNX Runtime has no RNN for it
    if c.device == "cuda":
        return np.inf  # its RNN takes all steps at once there, by cuDNN
    units = c.input_types[2].shape[1]
    assert isinstance(units, int), "weights have fixed sizes"
    most = _FEW_ELEMENTS[activation] // units
    return most if most <= _MOST_ASKED else np.inf


def _scan(op: Recurrent, c: OnnxLowering, activation: Activation, directions: Sequence[_Direction]) -> None:
    """The products with the inputs for all steps at once, and a Scan that adds those with the states."""
    given, count, reads_steps = op.named(c.inputs), len(directions), c.is_read(0)
    operands = [_first(op, c, given.states, place) for place in range(count)]
    operands += [_input_sums(c, given.x, direction) for direction in directions]

    def write(inner: OnnxLowering) -> None:
        for place, direction in enumerate(directions):
            total = inner.node(
                "Gemm", (inner.inputs[place], direction.weight_hh, inner.inputs[count + place]), transB=1
            )
            state, *step = inner.outputs[place::count]
            inner.node(activation.capitalize(), (total,), (state,))
            for name in step:
                inner.node("Identity", (state,), (name,))

    state = c.input_types[0].with_shape((c.input_types[0].shape[1], c.input_types[2].shape[1]))
    attributes: dict[str, Any] = {"num_scan_inputs": count}
    if any(op.reversals):
        ways = [int(reverse) for reverse in op.reversals]
        attributes |= {"scan_input_directions": ways, **({"scan_output_directions": ways} if reads_steps else {})}
    body = c.graph("step", [state] * 2 * count, [state] * (1 + reads_steps) * count, write)
    ends = c.outputs[1:] if count == 1 and c.is_read(1) else [c.name("Y_h") for _ in directions]
    steps = c.outputs[:1] if count == 1 else [c.name("Y") for _ in directions]
    c.node("Scan", operands, (*ends, *steps[: reads_steps * count]), body=body, **attributes)
    if count == 2:
        _join(c, ends, steps)


def _join(c: OnnxLowering, ends: Sequence[str], steps: Sequence[str]) -> None:
    """The results of both directions as one."""
    if c.is_read(0):
        c.node("Concat", steps, c.outputs[:1], axis=2)
    if c.is_read(1):
        shape = np.array([0, 2, c.output_types[1].shape[2]], np.int64)
        c.node("Reshape", (c.node("Concat", ends, axis=1), c.constant(shape)), c.outputs[1:])


def _input_sums(c: OnnxLowering, x: str, direction: _Direction) -> str:
    """The products of all steps with the weights of the inputs [T, N, H], and the biases."""
    product = c.node("MatMul", (x, direction.weight_ih))
    return c.node("Add", (product, direction.bias)) if direction.bias else product


def _first(op: Recurrent, c: OnnxLowering, states: Sequence[str], place: int) -> str:
    """What the state [N, H] of one direction begins as."""
    type = c.input_types[0]
    if not states:
        # Put together here, as a branch that is not taken has no need of it.
        rows, units = (c.shape((dim,)) for dim in (type.shape[1], c.input_types[2].shape[1]))
        shape = c.node("Concat", (rows, units), axis=0)
        return c.node("ConstantOfShape", (shape,), value=np.zeros(1, type.dtype.numpy))
    return states[0] if len(op.reversals) == 1 else c.node("Gather", (states[0], c.constant(np.array(place))), axis=1)
