"""Normalisations, as they are when a network is used."""

from __future__ import annotations

from compiler.ir.dims import Dim
from compiler.ir.graph import Value
from compiler.ir.types import DType
from compiler.ops.batch_norm import trained
from compiler.ops.emit import Emit
from compiler.ops.group_norm import GroupNorm
from compiler.ops.layer_norm import LayerNorm, RmsNorm
from compiler.ops.running_norm import RunningNorm
from compiler.targets.onnx.read.node import Node, Results, normal, reads
from compiler.targets.onnx.read.tensors import Unsupported


@reads("BatchNormalization")
def batch_norm(n: Node) -> Value:
    """With the statistics that the file has, but where they are to follow the data; ``spatial`` of opsets 7 and 8 is
    always 1."""
    if n.attribute("training_mode", 0):
        raise Unsupported("it is a batch norm that is training: export the network for inference")
    if not n.attribute("spatial", 1):
        raise Unsupported("it has statistics for each place")
    n.refuse_results(1, "a batch norm that is not training has one result")
    x, scale, bias = n.value(0), n.value(1), n.value(2)
    dtype, epsilon = x.type.dtype, n.attribute("epsilon", 1e-5)
    found = (n.statistic(3), n.statistic(4))
    names, statistics = [name for name, _ in found], [value for _, value in found]
    scale, bias = n.b.cast(scale, dtype), n.b.cast(bias, dtype)
    plain = all(value.type.dtype is dtype for value in statistics)
    if n.host and n.host.training and all(names) and plain and not any(map(n.host.is_frozen, names)):
        share = 1.0 - n.attribute("momentum", 0.9)  # of the batch; ONNX says that of the past
        result, *followed = trained(n.b, x, statistics, (scale, bias), epsilon, share)
        for name, value in zip(names, followed, strict=True):
            n.host.update(name, value, result)
        return result
    mean, variance = (n.b.cast(value, dtype) for value in statistics)
    return n.b.add(RunningNorm(epsilon), x, mean, variance, scale, bias)


@reads("InstanceNormalization")
def instance_norm(n: Node) -> Value:
    x, scale, bias = n.values()
    return n.b.add(GroupNorm(_number(x.type.shape[1]), n.attribute("epsilon", 1e-5)), x, scale, bias)


@reads("GroupNormalization")
def group_norm(n: Node) -> Value:
    """With a scale and a bias for each channel since opset 21, for each group before."""
    x, scale, bias = n.values()
    groups = n.attribute("num_groups")
    if n.opset < 21:
        each = _number(x.type.shape[1]) // groups
        scale, bias = (_for_channels(n.b, value, groups, each) for value in (scale, bias))
    return n.b.add(GroupNorm(groups, n.attribute("epsilon", 1e-5)), x, scale, bias)


def _for_channels(b: Emit, value: Value, groups: int, each: int) -> Value:
    return b.reshape(b.expand(b.reshape(value, (groups, 1)), (groups, each)), (groups * each,))


def _number(size: Dim) -> int:
    if isinstance(size, int):
        return size
    raise Unsupported(f"the number of its channels, {size}, is not known")


@reads("LayerNormalization", "RMSNormalization")
def layer_norm(n: Node) -> Results:
    x, scale = n.value(0), n.value(1)
    axis, epsilon = normal(n.attribute("axis", -1), x.type.rank), n.attribute("epsilon", 1e-5)
    shape = x.type.shape[axis:]
    wide = n.attribute("stash_type", 1) == 1 and x.type.dtype in (DType.F16, DType.BF16)
    if wide or n.kind == "RMSNormalization":
        return _spelled(n, x, scale, axis, epsilon)
    bias = n.optional(2)
    scale = n.b.expand(scale, shape)
    bias = n.b.expand(n.b.scalar(0, x.type.dtype), shape) if bias is None else n.b.expand(bias, shape)
    found = n.b.add(LayerNorm(axis, epsilon), x, scale, bias)
    return [found, *_statistics(n, x, axis, epsilon)]


def _statistics(n: Node, x: Value, axis: int, epsilon: float) -> list[Value | None]:
    """The mean and the inverse of the deviation, where the file reads them."""
    axes = range(axis, x.type.rank)
    mean = n.b.mean(x, axes, True) if n.reads(1) or n.reads(2) else None
    if mean is None or not n.reads(2):
        return [mean]
    variance = n.b.mean(n.b.square(n.b.sub(x, mean)), axes, True)
    return [mean, n.b.reciprocal(n.b.sqrt(n.b.add(variance, epsilon)))]


def _spelled(n: Node, x: Value, scale: Value, axis: int, epsilon: float) -> Results:
    dtype = x.type.dtype
    x = n.b.cast(x, DType.F32) if dtype in (DType.F16, DType.BF16) else x
    if n.kind == "RMSNormalization":
        if scale.type.shape == x.type.shape[axis:] and dtype is x.type.dtype is scale.type.dtype:
            return n.b.add(RmsNorm(axis, epsilon), x, scale)
        root = n.b.sqrt(n.b.add(n.b.mean(n.b.square(x), range(axis, x.type.rank), True), epsilon))
        return _scaled(n, n.b.cast(n.b.div(x, root), dtype), scale)
    mean, inverse = _moments(n.b, x, axis, epsilon)
    found = n.b.cast(n.b.mul(n.b.sub(x, mean), inverse), dtype)
    found = _scaled(n, found, scale)
    bias = n.optional(2)
    return [found if bias is None else n.b.add(found, n.b.cast(bias, found.type.dtype)), mean, inverse]


def _moments(b: Emit, x: Value, axis: int, epsilon: float) -> tuple[Value, Value]:
    axes = range(axis, x.type.rank)
    mean = b.mean(x, axes, True)
    variance = b.mean(b.square(b.sub(x, mean)), axes, True)
    return mean, b.reciprocal(b.sqrt(b.add(variance, epsilon)))


def _scaled(n: Node, x: Value, scale: Value) -> Value:
    """The product, in the type of the scale."""
    return n.b.mul(n.b.cast(x, scale.type.dtype), scale)


@reads("LpNormalization")
def lp_norm(n: Node) -> Value:
    """Where the norm is 0 the result is 0."""
    x = n.value(0)
    axis, power = normal(n.attribute("axis", -1), x.type.rank), n.attribute("p", 2)
    total = n.b.sum(n.b.abs(x) if power == 1 else n.b.square(x), [axis], True)
    size = total if power == 1 else n.b.sqrt(total)
    none = n.b.equal(size, 0)
    return n.b.select(none, 0, n.b.div(x, n.b.select(none, 1, size)))
