"""Batch norm folded into what comes before it: its factors go into the kernel, its shift into the bias."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from compiler.ir.dims import floor_divide
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


def _rules() -> Iterator[Rule]:
    def rule(before: Callable[..., Made]) -> Iterator[Rule]:
        for parameters in ((), ("scale", "offset")):
            for bias in ((), ("bias",)):
                pattern = made(RunningNorm, before(*bias), "mean", "variance", *parameters)
                yield Rule("fold-norm", pattern, _folded, _has_fixed_kernel)

    def product(*bias: str) -> Made:
        result = made(MatMul, "x", "kernel", once=True)
        return made(Add, result, *bias, once=True) if bias else result

    yield from rule(lambda *bias: made((Conv, ConvTranspose), "x", "kernel", *bias, once=True))
    yield from rule(product)


@dataclass(frozen=True)
class FoldNorm(RewritePass):
    """Makes convolutions and dense layers with a batch norm behind them, where nothing else reads what is in between,
    such without one. What is computed of weights alone an export works out."""

    name = "fold-norm"
    rules = tuple(_rules())
