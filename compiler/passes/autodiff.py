"""Reverse-mode differentiation: a graph in, the same graph with the gradients of its loss out.

Each operation says how a gradient flows back through it. What is common to all of them happens here, once:
contributions are added up, and a gradient of a broadcast operand is summed back to the operand's shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from compiler.ir.graph import Graph, Node, Origin, Value
from compiler.ir.live import live_nodes
from compiler.ir.types import TensorType
from compiler.ops.base import FacetError, Op
from compiler.ops.convert import StopGradient
from compiler.ops.emit import Emit
from compiler.passes.base import Pass
from compiler.passes.copying import Copy, unfused

STEP = "gradient"


class NotDifferentiable(Exception):
    """No gradient of the loss can be made: ``title`` says what is wrong, ``reason`` why, ``origin`` where."""

    def __init__(self, title: str, reason: str, origin: Origin) -> None:
        super().__init__(f"{title}: {reason}")
        self.title, self.reason, self.origin = title, reason, origin


@dataclass(frozen=True)
class Gradient(Pass):
    """Adds the gradients of the output ``loss`` by the inputs ``wrt``; see :func:`gradient`."""

    loss: str
    wrt: tuple[str, ...]

    name = STEP
    keeps_signature = False

    def apply(self, graph: Graph) -> Graph:
        return gradient(graph, self.loss, self.wrt)


def gradient(graph: Graph, loss: str, wrt: Sequence[str], prefix: str = "gradient:") -> Graph:
    """``graph`` with an output ``gradient:NAME``, d(loss)/d(NAME), for each input named in ``wrt``.

    An input that the loss does not depend on has the gradient 0. The gradients' names begin with ``prefix``: one to be
    differentiated again takes another one the second time. Raises NotDifferentiable where the loss is not a
    floating-point scalar, where an operation between an input and the loss has no gradient, or where none of the
    inputs is reached because of operations, such as comparisons, through which no gradient flows; and ValueError for
    an input that there is not, or whose elements are not floats.
    """
    graph = unfused(graph)
    inputs = _inputs(graph, wrt)
    backward = _Backward(graph, graph.output(loss), inputs)
    backward.run()
    copy = backward.copy
    copy.outputs()
    for value in inputs:
        with copy.b.at(graph.origin_of(value).through(STEP)):
            found = backward.gradients.get(value) or _zeros(copy.b, value.type)
        copy.b.output(f"{prefix}{value.name}", found)
    result = copy.b.finish()
    # Operations give the gradients of all of their operands at once, and not all of them were wanted.
    return replace(result, nodes=live_nodes(result))


def reached(graph: Graph, loss: str, wrt: Sequence[str]) -> set[str]:
    """Those of the inputs named in ``wrt`` that the loss depends on, by which it can be differentiated. Raises as
    :func:`gradient` does."""
    graph = unfused(graph)
    inputs = _inputs(graph, wrt)
    walk = _Reach(graph, graph.output(loss), inputs)
    walk.run()
    return {value.name for value in inputs if value in walk.gradients}


def _inputs(graph: Graph, wrt: Sequence[str]) -> list[Value]:
    """The inputs of these names."""
    inputs = {item.name: item.value for item in graph.inputs}
    for name in wrt:
        if name not in inputs or not inputs[name].type.dtype.is_float:
            raise ValueError(f"graph {graph.name} has no input {name} of floats to differentiate by")
    return [inputs[name] for name in wrt]


class _Walk(ABC):
    """One walk from a loss back to the inputs ``wanted``. ``gradients`` has what was found so far, by the values of the
    graph."""

    def __init__(self, graph: Graph, loss: Value, wanted: Sequence[Value]) -> None:
        self.graph, self.loss, self.wanted = graph, loss, wanted
        self.active = _dependent(graph, wanted)
        self.gradients: dict[Value, Value] = {}
        # The nodes that a gradient came to and did not get beyond, stop_gradient aside.
        self.dead_ends: list[Node] = []

    def run(self) -> None:
        graph = self.graph
        if self.loss.type.rank or not self.loss.type.dtype.is_float:
            reason = "it has to be one floating-point number"
            raise NotDifferentiable(f"the loss is {self.loss.type}", reason, graph.origin_of(self.loss))
        if self.loss in self.active:
            self.gradients[self.loss] = self._first()
        for node in reversed(graph.nodes):
            if not self.gradients.keys().isdisjoint(node.outputs):
                self._pass_through(node)
        if self.dead_ends and self.gradients.keys().isdisjoint(self.wanted):
            raise self._nothing_reached()

    @abstractmethod
    def _first(self) -> Value:
        """What the loss has for a gradient."""

    @abstractmethod
    def _contributions(self, node: Node) -> Sequence[Value | None]:
        """What the gradients of a node's results contribute to those of its operands. Raises FacetError."""

    @abstractmethod
    def _add(self, operand: Value, contribution: Value) -> None:
        """Note one more contribution to the gradient of ``operand``."""

    def _pass_through(self, node: Node) -> None:
        """Add what the gradients of a node's results contribute to those of its operands."""
        if self.active.isdisjoint(node.inputs) or isinstance(node.operation, StopGradient):
            return
        try:
            contributions = self._contributions(node)
        except FacetError as error:
            raise NotDifferentiable(f"{node.operation.opcode} has no gradient", str(error), node.origin) from None
        ended = True
        for operand, contribution in zip(node.inputs, contributions, strict=True):
            if contribution is not None and operand in self.active and operand.type.dtype.is_float:
                self._add(operand, contribution)
                ended = False
        if ended:
            self.dead_ends.append(node)

    def _nothing_reached(self) -> NotDifferentiable:
        """The error for a loss with no gradient at all, at the node where floats became something else."""
        node = self.dead_ends[-1]
        while (operand := self._operand_without_gradient(node)) is not None:
            node = self.graph.producers[operand]
        reason = f"it gives {node.outputs[0].type}, through which no gradient flows"
        return NotDifferentiable(f"{node.operation.opcode} has no gradient", reason, node.origin)

    def _operand_without_gradient(self, node: Node) -> Value | None:
        found = (value for value in node.inputs if value in self.active and not value.type.dtype.is_float)
        return next((value for value in found if value in self.graph.producers), None)


class _Backward(_Walk):
    """The walk that makes the gradients, behind a copy of the graph."""

    def __init__(self, graph: Graph, loss: Value, wanted: Sequence[Value]) -> None:
        super().__init__(graph, loss, wanted)
        self.copy = Copy(graph)
        for node in graph.nodes:
            self.copy.node(node)

    def _first(self) -> Value:
        with self.copy.b.at(self.graph.origin_of(self.loss).through(STEP)):
            return self.copy.b.scalar(1, self.loss.type.dtype)

    def _pass_through(self, node: Node) -> None:
        with self.copy.b.at(node.origin.through(STEP)):
            super()._pass_through(node)

    def _contributions(self, node: Node) -> Sequence[Value | None]:
        operation, b, values = node.operation, self.copy.b, self.copy.values
        assert isinstance(operation, Op)
        received = tuple(self.gradients.get(value) or _zeros(b, value.type) for value in node.outputs)
        results = tuple(values[value] for value in node.outputs)
        return operation.gradient(b, self.copy.operands(node), results, received)

    def _add(self, operand: Value, contribution: Value) -> None:
        b = self.copy.b
        fitted = b.sum_to(contribution, operand.type.shape)
        assert fitted.type == operand.type, f"a gradient of {operand.type} is {fitted.type}"
        before = self.gradients.get(operand)
        self.gradients[operand] = fitted if before is None else b.add(before, fitted)


class _Reach(_Walk):
    """The walk that finds out what gradients come to: of each kind of node it makes only one's, and keeps none."""

    def __init__(self, graph: Graph, loss: Value, wanted: Sequence[Value]) -> None:
        super().__init__(graph, loss, wanted)
        self._known: dict[Hashable, Sequence[Value | None]] = {}

    def _first(self) -> Value:
        return self.loss

    def _contributions(self, node: Node) -> Sequence[Value | None]:
        operation = node.operation
        assert isinstance(operation, Op)
        key = type(operation), operation, tuple([value.type for value in node.inputs])
        if key not in self._known:
            b = Emit("trial")
            inputs = tuple(b.input(f"x{index}", value.type) for index, value in enumerate(node.inputs))
            results = b.add_node(operation, inputs)
            received = tuple(_zeros(b, value.type) for value in results)
            self._known[key] = operation.gradient(b, inputs, results, received)
        return self._known[key]

    def _add(self, operand: Value, contribution: Value) -> None:
        self.gradients[operand] = contribution


def _dependent(graph: Graph, values: Iterable[Value]) -> set[Value]:
    """``values`` and every value computed from them."""
    found = set(values)
    for node in graph.nodes:
        if not found.isdisjoint(node.inputs):
            found.update(node.outputs)
    return found


def _zeros(b: Emit, type: TensorType) -> Value:
    return b.expand(b.scalar(0, type.dtype), type.shape)
