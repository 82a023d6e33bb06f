"""The only way to make a graph: infers every type, checks every operand and stamps where nodes came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from compiler.ir.graph import NOWHERE, Graph, Input, Node, Operation, Origin, Output, Role, Value
from compiler.ir.types import TensorType


class Builder:
    """Collects inputs, nodes and outputs, then :meth:`finish` gives the graph.

    Nodes get the origin that is current: ``with builder.at(origin): …``. A mistake of the caller (a value of another
    graph, a name taken) is a ValueError; operands that do not fit raise TypeMismatch.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._inputs: list[Input] = []
        self._nodes: list[Node] = []
        self._outputs: dict[str, Output] = {}
        self._origins: dict[Value, Origin] = {}
        self._producers: dict[Value, Node] = {}
        self._names: set[str] = set()
        self._next = 0
        self._origin = NOWHERE

    @property
    def origin(self) -> Origin:
        return self._origin

    @contextmanager
    def at(self, origin: Origin) -> Iterator[None]:
        """Stamp ``origin`` on what is added inside."""
        before, self._origin = self._origin, origin
        try:
            yield
        finally:
            self._origin = before

    def input(self, name: str, type: TensorType, role: Role = Role.DATA) -> Value:
        """A new input of the graph."""
        value = self._value(type, name)
        self._inputs.append(Input(value, role))
        return value

    def add(self, operation: Operation, *inputs: Value) -> Value:
        """Add a node with one result and give that result."""
        outputs = self.add_node(operation, inputs)
        if len(outputs) != 1:
            raise ValueError(f"{operation.opcode} has {len(outputs)} results: use add_node")
        return outputs[0]

    def add_node(
        self,
        operation: Operation,
        inputs: tuple[Value, ...],
        names: tuple[str, ...] = (),
        types: tuple[TensorType, ...] | None = None,
    ) -> tuple[Value, ...]:
        """Add a node and give its results, named ``names`` where given and free, numbered otherwise.

        ``types`` are those of the results, where they have been inferred from operands of these types before.
        """
        for value in inputs:
            if value not in self._origins:
                raise ValueError(f"{value} is not a value of graph {self.name}")
        if types is None:
            types = operation.infer(tuple(value.type for value in inputs))
        wanted = names or ("",) * len(types)
        outputs = tuple(
            self._value(type, name if name not in self._names else "") for type, name in zip(types, wanted, strict=True)
        )
        node = Node(operation, inputs, outputs, self._origin)
        self._nodes.append(node)
        self._producers.update((value, node) for value in outputs)
        return outputs

    def copy(self, node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...]:
        """Add ``node`` again on other inputs; its names and its origin are kept."""
        same = [value.type for value in inputs] == [value.type for value in node.inputs]
        types = tuple(value.type for value in node.outputs) if same else None
        before, self._origin = self._origin, node.origin
        try:
            return self.add_node(node.operation, inputs, tuple(value.name for value in node.outputs), types)
        finally:
            self._origin = before

    def reserve(self, graph: Graph) -> None:
        """Keep the names of ``graph`` for copies of its values, so that a rewrite renames nothing it keeps."""
        numbers = (int(v.name[1:]) for v in graph.values() if v.name[:1] == "t" and v.name[1:].isdecimal())
        self._next = max(self._next, max(numbers, default=-1) + 1)

    def number_after(self, other: Builder) -> None:
        """Keep the names of values that ``other`` has numbered for copies of these."""
        self._next = max(self._next, other._next)

    def output(self, name: str, value: Value, updates: str | None = None) -> None:
        """Name ``value`` as a result of the graph."""
        if value not in self._origins:
            raise ValueError(f"{value} is not a value of graph {self.name}")
        if name in self._outputs:
            raise ValueError(f"graph {self.name} has an output {name} already")
        self._outputs[name] = Output(name, value, updates)

    def origin_of(self, value: Value) -> Origin:
        """Where ``value`` was made."""
        return self._origins[value]

    def producer(self, value: Value) -> Node | None:
        """The node that made ``value``; None for an input."""
        return self._producers.get(value)

    @property
    def nodes(self) -> Sequence[Node]:
        """The nodes added so far, in order."""
        return self._nodes

    def finish(self) -> Graph:
        """The graph as built so far."""
        origins = {item.name: self._origins[item.value] for item in self._inputs}
        return Graph(self.name, tuple(self._inputs), tuple(self._nodes), tuple(self._outputs.values()), origins)

    def _value(self, type: TensorType, name: str) -> Value:
        if name in self._names:
            raise ValueError(f"graph {self.name} has a value {name} already")
        while not name or name in self._names:
            name, self._next = f"t{self._next}", self._next + 1
        value = Value(name, type)
        self._names.add(name)
        self._origins[value] = self._origin
        return value
