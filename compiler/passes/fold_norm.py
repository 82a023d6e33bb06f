"""Batch norm folded into what comes before it: its factors go into the kernel, its shift into the bias."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from compiler.ir.dims import floor_divide, product
from compiler.ir.graph import Node, Value
from compiler.ops.conv import Conv, ConvTranspose
from compiler.ops.elementwise import Add, Multiply
from compiler.ops.emit import Emit
from compiler.ops.matmul import MatMul
from compiler.ops.running_norm import RunningNorm
from compiler.ops.shape import Reshape
from compiler.passes.pattern import Made, Match, made
from compiler.passes.rewrite import RewritePass, Rule


def _has_fixed_kernel(m: Match) -> str | None:
    kernel = m["kernel"]
    if kernel.type.symbols:
        return f"{kernel} is {kernel.type}, which is no weight"
    operation = m.nodes[-1].operation
    if isinstance(operation, MatMul) and m.type.rank != 2:
        return f"the channels of {m.type} are not the columns of a product"
    return None


def _scaled(b: Emit, linear: Node, factor: Value) -> Value:
    """The kernel with one factor to a channel of the result, under a name that shows what it comes from."""
    kernel, name = linear.inputs[1], f"{linear.inputs[1].name}.folded"
    (channels,), rank = factor.type.shape, kernel.type.rank
    if isinstance(linear.operation, ConvTranspose):
        # [inputs, outputs / groups, …], and the inputs of a group stand one behind the other, as its outputs do.
        groups, (inputs, outputs, *sizes) = linear.operation.groups, kernel.type.shape
        apart = b.reshape(kernel, (groups, floor_divide(inputs, groups), outputs, *sizes))
        scaled = b.mul(apart, b.reshape(factor, (groups, 1, outputs, *(1,) * len(sizes))))
        return b.add_node(Reshape(kernel.type.shape), (scaled,), (name,))[0]
    along = (channels,) if isinstance(linear.operation, MatMul) else (channels, *(1,) * (rank - 1))
    return b.add_node(Multiply(), (kernel, b.reshape(factor, along)), (name,))[0]


def _folded(b: Emit, m: Match) -> Value:
    norm, linear = m.operation, m.nodes[-1]
    assert isinstance(norm, RunningNorm)
    kernel, bias = m["kernel"], m.values.get("bias")
    factor, shift = norm.factors(b, *m.inputs[1:])
    stem = kernel.name.removesuffix("weight")
    with b.at(linear.origin):
        scaled = _scaled(b, linear, factor)
        if bias is not None:
            shift = b.add_node(Add(), (b.mul(bias, factor), shift), (f"{stem}bias.folded",))[0]
        if isinstance(linear.operation, MatMul):
            return b.add(b.matmul(m["x"], scaled), shift)
        return b.add(linear.operation, m["x"], scaled, shift)


def _has_channels(m: Match) -> str | None:
    """Whether the columns of a product are laid out as channels and places, for each sample."""
    kernel, columns, samples = m["kernel"], m["kernel"].type.shape[-1], m["x"].type.shape[0]
    if kernel.type.symbols or kernel.type.rank != 2 or m["x"].type.rank != 2:
        return f"{kernel} is {kernel.type}, which is no matrix of weights"
    if m.type.shape[0] != samples or product(m.type.shape[1:]) != columns:
        return f"{m.type} is not the {columns} columns of each of the {samples} samples"
    return None


def _folded_apart(b: Emit, m: Match) -> Value:
    """The same for channels that the columns of a product are made into."""
    norm, linear, kernel, bias = m.operation, m.nodes[-1], m["kernel"], m.values.get("bias")
    assert isinstance(norm, RunningNorm)
    channels, places = m.type.shape[1], product(m.type.shape[2:])
    inputs, columns = kernel.type.shape
    stem = kernel.name.removesuffix("weight")
    with b.at(linear.origin):
        factor, shift = (b.reshape(value, (channels, 1)) for value in norm.factors(b, *m.inputs[1:]))
        scaled = b.mul(b.reshape(kernel, (inputs, channels, places)), factor)
        (folded,) = b.add_node(Reshape((inputs, columns)), (scaled,), (f"{kernel.name}.folded",))
        if bias is not None:
            apart = b.mul(b.reshape(bias, (channels, places)), factor)
        else:
            apart = b.constant(np.zeros([int(str(channels)), int(str(places))], kernel.type.dtype.numpy))
        (added,) = b.add_node(Reshape((columns,)), (b.add(apart, shift),), (f"{stem}bias.folded",))
        return b.reshape(b.add(b.matmul(m["x"], folded), added), m.type.shape)


def _rules() -> Iterator[Rule]:
    def rule(
        before: Callable[..., Made],
        replace: Callable[[Emit, Match], Value] = _folded,
        condition: Callable[[Match], str | None] = _has_fixed_kernel,
    ) -> Iterator[Rule]:
        for parameters in ((), ("scale", "offset")):
            for bias in ((), ("bias",)):
                pattern = made(RunningNorm, before(*bias), "mean", "variance", *parameters)
                yield Rule("fold-norm", pattern, replace, condition)

    def dense(*bias: str) -> Made:
        result = made(MatMul, "x", "kernel", once=True)
        return made(Add, result, *bias, once=True) if bias else result

    yield from rule(lambda *bias: made((Conv, ConvTranspose), "x", "kernel", *bias, once=True))
    yield from rule(dense)
    yield from rule(lambda *bias: made(Reshape, dense(*bias), once=True), _folded_apart, _has_channels)


@dataclass(frozen=True)
class FoldNorm(RewritePass):
    """Makes convolutions and dense layers with a batch norm behind them, where nothing else reads what is in between,
    such without one. What is computed of weights alone an export works out."""

    name = "fold-norm"
    rules = tuple(_rules())
