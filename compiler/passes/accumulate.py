"""Gradients added up over the batches of a step, before one update is made of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compiler.ir.dims import Dim, as_symbol, substitute, symbols
from compiler.ir.graph import Graph, Node, Role, Value
from compiler.ir.types import DType, TensorType
from compiler.ops.emit import Emit
from compiler.ops.random import Random
from compiler.passes.base import Pass
from compiler.passes.copying import Copy

# States of a batch that is one of several in its step: which share of the step's samples it has, f64[], and how many of
# them come before its own, i64[].
SHARE, BEFORE = "batch.share", "batch.before"
_GRADIENT = "gradient:"


def sum_name(weight: str) -> str:
    """The state that holds the sum of a weight's gradients: 0 before the first batch of a step."""
    return f"{weight}.gradient"


def sum_type(weight: TensorType) -> TensorType:
    """The type of a sum of gradients: numbers of 16 bits would lose what later batches add."""
    return weight.with_dtype(DType.F32) if weight.dtype.bytes < DType.F32.bytes else weight


@dataclass(frozen=True)
class Accumulate(Pass):
    """Outputs ``gradient:NAME`` become updates of sums, which take each gradient in by the share of the samples that it
    is of; what is random is what it is for these samples in a batch with all samples of the step.

    So the sums are the gradients of that batch, where a loss is a mean over samples each of which stands for itself.
    """

    wrt: tuple[str, ...]
    symbol: str

    name = "accumulate"
    after = ("gradient",)
    keeps_signature = False

    def apply(self, graph: Graph) -> Graph:
        copy = Copy(graph)
        b, drawn = copy.b, _Drawn(copy, self.symbol)
        for node in graph.nodes:
            if isinstance(node.operation, Random):
                drawn.node(node)
            else:
                copy.node(node)
        for output in graph.outputs:
            if not output.name.startswith(_GRADIENT):
                b.output(output.name, copy.values[output.value], output.updates)
        weights = {item.name: copy.values[item.value] for item in graph.inputs}
        share = b.input(SHARE, TensorType(DType.F64), Role.STATE)
        for name in self.wrt:
            gradient = copy.values[graph.output(f"{_GRADIENT}{name}")]
            with b.at(b.origin_of(weights[name]).through("update")):
                before = b.input(sum_name(name), sum_type(gradient.type), Role.STATE)
                dtype = before.type.dtype
                part = b.mul(b.cast(gradient, dtype), b.cast(share, dtype))
                b.output(before.name, b.add(before, part), updates=before.name)
        return b.finish()


class _Drawn:
    """Copies operations that draw random numbers, so that the samples of a batch draw those of their own places among
    all of the step."""

    def __init__(self, copy: Copy, symbol: str) -> None:
        self._copy, self._symbol = copy, symbol
        self._before: Value | None = None

    def node(self, node: Node) -> None:
        copy, b = self._copy, self._copy.b
        each = self._per_sample(node.output.type)
        if each is None:
            copy.node(node)
            return
        if self._before is None:
            self._before = b.input(BEFORE, TensorType(DType.I64), Role.STATE)
        with b.at(node.origin):
            start = b.mul(self._before, b.size(each))
        copy.replace(node, b.copy(node, (*copy.operands(node), start)))

    def _per_sample(self, type: TensorType) -> Dim | None:
        """The elements that each sample has; None where they do not depend on how many samples there are."""
        carriers = [dim for dim in type.shape if any(found.name == self._symbol for found in symbols(dim))]
        if not carriers:
            return None
        alone = len(carriers) == 1 and as_symbol(carriers[0]) is not None
        # Of others, as [N, N], no order fits; all that matters is that other samples draw other numbers.
        return substitute(type.size, {self._symbol: 1}) if alone else type.size


def gradients_graph(name: str, losses: Graph, wrt: Iterable[str]) -> Graph:
    """A graph with the sums of gradients as outputs ``gradient:NAME``, of which an update can be made.

    ``losses`` is a graph with the weights ``wrt`` as inputs."""
    b = Emit(name)
    given = {item.name: item.value for item in losses.inputs}
    for weight in wrt:
        origin, type = losses.origin_of(given[weight]), given[weight].type
        with b.at(origin):
            b.input(weight, type, Role.WEIGHT)
            total = b.input(sum_name(weight), sum_type(type), Role.STATE)
        with b.at(origin.through("update")):
            b.output(f"{_GRADIENT}{weight}", b.cast(total, type.dtype))
    return b.finish()
