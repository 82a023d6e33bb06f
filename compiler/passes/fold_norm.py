"""Batch norm folded into what comes before it: its factors go into the kernel, its shift into the bias."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from compiler.ir.dims import Dim
from compiler.ir.graph import Node, Value
from compiler.ops.conv import Conv, ConvTranspose
from compiler.ops.elementwise import Add, Multiply
from compiler.ops.emit import Emit
from compiler.ops.matmul import MatMul
from compiler.ops.running_norm import RunningNorm
from compiler.passes.pattern import Made, Match, made
from compiler.passes.rewrite import RewritePass, Rule


def _has_fixed_kernel(m: Match) -> str | None:
    kernel = m["kernel"]
    if kernel.type.symbols:
        return f"{kernel} is {kernel.type}, which is no weight"
    operation = m.nodes[-1].operation
    if isinstance(operation, MatMul) and m.type.rank != 2:
        return f"the channels of {m.type} are not the columns of a product"
    if isinstance(operation, ConvTranspose) and operation.groups != 1:
        return "the channels of a transposed convolution in groups do not lie along one axis of its kernels"
    return None


def _along_kernel(linear: Node, factor: Value) -> tuple[Dim, ...]:
    """The shape in which one factor to a channel of the result broadcasts against the kernel."""
    (channels,), rank = factor.type.shape, linear.inputs[1].type.rank
    if isinstance(linear.operation, MatMul):
        return (channels,)
    if isinstance(linear.operation, ConvTranspose):
        return (channels, *(1,) * (rank - 2))
    return (channels, *(1,) * (rank - 1))


def _folded(b: Emit, m: Match) -> Value:
    norm, linear = m.operation, m.nodes[-1]
    assert isinstance(norm, RunningNorm)
    kernel, bias = m["kernel"], m.values.get("bias")
    factor, shift = norm.factors(b, *m.inputs[1:])
    stem = kernel.name.removesuffix("weight")
    with b.at(linear.origin):
        # Named, so that a file shows what its weights come from.
        shaped = b.reshape(factor, _along_kernel(linear, factor))
        scaled = b.add_node(Multiply(), (kernel, shaped), (f"{kernel.name}.folded",))
        if bias is not None:
            shift = b.add_node(Add(), (b.mul(bias, factor), shift), (f"{stem}bias.folded",))[0]
        if isinstance(linear.operation, MatMul):
            return b.add(b.matmul(m["x"], *scaled), shift)
        return b.add(linear.operation, m["x"], *scaled, shift)


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
