"""Activations: those that have an operation here, and those made of others."""

from __future__ import annotations

from collections.abc import Callable

from compiler.ir.dims import product
from compiler.ir.graph import Value
from compiler.ir.types import DType
from compiler.ops.emit import Emit
from compiler.targets.onnx.read.node import Node, normal, reads

_SELU = (1.67326319217681884765625, 1.05070102214813232421875)
_SINGLE: dict[str, Callable[[Emit, Value], Value]] = {
    "HardSwish": lambda b, x: b.mul(x, b.hard_sigmoid(x)),
    "Mish": lambda b, x: b.mul(x, b.tanh(b.softplus(x))),
    "Sigmoid": lambda b, x: b.sigmoid(x),
    "Softplus": lambda b, x: b.softplus(x),
    "Softsign": lambda b, x: b.softsign(x),
    "Tanh": lambda b, x: b.tanh(x),
}


def _single(function: Callable[[Emit, Value], Value]) -> Callable[[Node], Value]:
    return lambda n: function(n.b, n.value(0))


for _kind in _SINGLE:
    reads(_kind)(_single(_SINGLE[_kind]))


@reads("Relu")
def relu(n: Node) -> Value:
    x = n.value(0)
    return n.b.relu(x) if x.type.dtype.is_float else n.b.maximum(x, 0)


@reads("LeakyRelu")
def leaky_relu(n: Node) -> Value:
    return n.b.leaky_relu(n.value(0), n.attribute("alpha", 0.01))


@reads("Elu")
def elu(n: Node) -> Value:
    return n.b.elu(n.value(0), n.attribute("alpha", 1.0))


@reads("Celu")
def celu(n: Node) -> Value:
    x, alpha = n.value(0), n.attribute("alpha", 1.0)
    below = n.b.mul(n.b.expm1(n.b.mul(x, 1 / alpha)), alpha)
    return n.b.add(n.b.maximum(x, 0), n.b.minimum(below, 0))


@reads("Selu")
def selu(n: Node) -> Value:
    x, alpha, gamma = n.value(0), n.attribute("alpha", _SELU[0]), n.attribute("gamma", _SELU[1])
    if (alpha, gamma) == _SELU:
        return n.b.selu(x)
    return n.b.mul(n.b.select(n.b.greater(x, 0), x, n.b.mul(n.b.expm1(x), alpha)), gamma)


@reads("Gelu")
def gelu(n: Node) -> Value:
    return n.b.gelu(n.value(0), n.attribute("approximate", "none"))


@reads("HardSigmoid")
def hard_sigmoid(n: Node) -> Value:
    scaled = n.b.mul(n.value(0), n.attribute("alpha", 0.2))
    return n.b.clip(n.b.add(scaled, n.attribute("beta", 0.5)), 0, 1)


@reads("Swish")
def swish(n: Node) -> Value:
    x, alpha = n.value(0), n.attribute("alpha", 1.0)
    return n.b.silu(x) if alpha == 1 else n.b.mul(x, n.b.sigmoid(n.b.mul(x, alpha)))


@reads("PRelu")
def prelu(n: Node) -> Value:
    x, slope = n.value(0), n.value(1)
    if x.type.dtype.is_float:
        return n.b.prelu(x, slope)
    return n.b.select(n.b.less(x, 0), n.b.mul(x, slope), x)


@reads("ThresholdedRelu")
def thresholded_relu(n: Node) -> Value:
    x = n.value(0)
    return n.b.select(n.b.greater(x, n.attribute("alpha", 1.0)), x, 0)


@reads("Shrink")
def shrink(n: Node) -> Value:
    x, bias, limit = n.value(0), n.attribute("bias", 0.0), n.attribute("lambd", 0.5)
    inner = n.b.select(n.b.greater(x, limit), n.b.sub(x, bias), 0)
    return n.b.select(n.b.less(x, -limit), n.b.add(x, bias), inner)


@reads("Softmax", "LogSoftmax", "Hardmax")
def along_axis(n: Node) -> Value:
    """Before opset 13 all axes from the given one on are one."""
    x = n.value(0)
    old = n.opset < 13
    axis = normal(n.attribute("axis", 1 if old else -1), x.type.rank)
    if not old:
        return _normalised(n, x, axis)
    shape = x.type.shape
    flat = n.b.reshape(x, (product(shape[:axis]), product(shape[axis:])))
    return n.b.reshape(_normalised(n, flat, 1), shape)


def _normalised(n: Node, x: Value, axis: int) -> Value:
    if n.kind == "Softmax":
        return n.b.softmax(x, axis)
    if n.kind == "LogSoftmax":
        return n.b.log_softmax(x, axis)
    size = x.type.shape[axis]
    chosen = n.b.argmax(x, axis)
    shape = [1] * x.type.rank
    shape[axis] = -1
    places = n.b.reshape(n.b.arange(size), [size if part == -1 else part for part in shape])
    kept = [1 if place == axis else dim for place, dim in enumerate(x.type.shape)]
    return n.b.cast(n.b.equal(n.b.reshape(chosen, kept), places), DType(x.type.dtype))
